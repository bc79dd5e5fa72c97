"""Detector: blur, faults and photon noise."""
