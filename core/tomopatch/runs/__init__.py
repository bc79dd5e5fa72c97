"""One run: its configuration, preparation, resource estimate, and the provenance of its result."""
