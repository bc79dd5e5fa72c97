"""Measurement physics: spectrum, noise, dose and other effects of a scan, and their corrections."""
