"""Forms: volume, acquisition, lesions, methods."""
