"""Execution of runs: the queue, its worker processes, and what they report."""
