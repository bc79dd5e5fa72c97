"""The store: runs on disk, their index, checkpoints and histories, and eviction."""
