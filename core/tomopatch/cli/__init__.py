"""The `tomopatch` command."""
