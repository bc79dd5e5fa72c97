"""Views of runs: progress, volumes, replays, sweeps, and the table of all runs."""
