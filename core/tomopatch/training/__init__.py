"""Training of the diffusion prior: simulated pairs, patch source, trainer, validation, calibration."""
