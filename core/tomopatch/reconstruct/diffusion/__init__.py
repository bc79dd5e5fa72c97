"""Reconstruction with the diffusion prior: the method and its plan, sampling, data consistency, constants."""
