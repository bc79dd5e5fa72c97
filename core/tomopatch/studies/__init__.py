"""Studies of several runs: compare, sweep, experiments, reproduction, benchmarks."""
