"""Forms for volumes, scans, lesions, methods, sweeps and the prior."""
