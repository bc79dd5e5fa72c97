"""The store: runs on disk, their index, checkpoints and histories, and what is evicted when it is full."""
