"""Runs: everything that was made here."""

from pages.ui.runs import runs_view
from pages.ui.session import shell

shell.guard()
shell.heading("Runs", "All that was made here: open it, name it, keep it, or make room.")
runs_view.view()
