"""Measurement physics: photon noise and dose."""
