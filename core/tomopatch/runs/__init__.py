"""One run: its configuration, preparation, resource estimate and provenance."""
