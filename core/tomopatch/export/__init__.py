"""Runs and volumes for other programs and for people: files, pictures, animations, reports, notebooks."""
