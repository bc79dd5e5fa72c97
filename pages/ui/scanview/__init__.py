"""The three-dimensional view of a scan."""
