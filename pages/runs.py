"""Runs: all runs in the store."""

from pages.ui.runs import runs_view
from pages.ui.session import shell

shell.require_app()
shell.heading("Runs", "All runs on this server. Open, compare, name, keep or delete them.")
runs_view.view()
