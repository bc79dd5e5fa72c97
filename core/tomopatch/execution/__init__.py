"""Execution of runs: the queue, its worker processes, and their progress reports."""
