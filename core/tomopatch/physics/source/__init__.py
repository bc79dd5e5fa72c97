"""Source of a scan: spectrum of the tube, photons and air kerma."""
