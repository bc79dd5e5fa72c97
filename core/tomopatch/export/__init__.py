"""Export of runs and volumes: files, pictures, animations, reports, notebooks."""
