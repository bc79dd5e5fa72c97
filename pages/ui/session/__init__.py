"""Session state, address, page frame, and the shared engine."""
