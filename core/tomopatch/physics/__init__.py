"""Measurement physics: effects of a scan along the beam, and their corrections.

`effects` has the records of all effects, `chain` their order, `measurement` the simulated measurement. Each
effect is in the subpackage of its place: `source`, `materials`, `rays`, `transmission`, `detector`.
"""
