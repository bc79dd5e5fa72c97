"""Lessons and challenges."""
