"""Image quality: metrics, regions of interest, error statistics."""
