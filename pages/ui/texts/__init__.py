"""Texts that several pages share: numbers, labels, messages and short names of runs."""
