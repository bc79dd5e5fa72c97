"""Training the diffusion prior: simulated pairs, the patch source, the trainer, validation and
calibration.
"""
