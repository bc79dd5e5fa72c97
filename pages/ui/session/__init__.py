"""The session: state, server resources, page frame and texts."""
