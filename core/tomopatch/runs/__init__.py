"""One run: its configuration, preparation and resource estimate, and the versions that made its result."""
