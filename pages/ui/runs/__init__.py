"""Runs in the app: live views, tables, replays."""
