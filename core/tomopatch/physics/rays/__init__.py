"""Rays of a scan: finite pixels, misaligned scanners and moving objects."""
