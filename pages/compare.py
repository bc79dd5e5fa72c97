"""Compare: runs and the reference side by side."""

import streamlit as st

from pages.ui.compare import comparison, downloads, gallery
from pages.ui.session import engine, experiment_files, routes, shell, state

shell.require_app()
current = state.scan()
shell.heading(
    "Compare",
    "The same slice of every reconstruction and of the one from all views, a stand-in for a reference."
    if current is not None and current.source.startswith("scan:")
    else "The same slice of every reconstruction and of the reference, the volume that was scanned.",
)

scan = shell.require_scan()
runs = comparison.comparable(scan)
comparison.failures()
if not runs:
    shell.show_missing(
        "**This scan has not been reconstructed yet.** Run a method on Reconstruct first.", routes.RECONSTRUCT
    )

chosen = comparison.choose(scan, runs)
if not chosen:
    shell.show_missing(
        "**This scan has not been reconstructed yet.** Choose runs of other scans under *Runs*, or run a "
        "method.",
        routes.RECONSTRUCT,
    )
comparison.comparison(scan, chosen)
gallery.gallery(scan, runs, chosen)
with st.expander("Download"):
    downloads.downloads(scan, [engine.known_run(run.id) or run for run in chosen])
    experiment_files.downloads(scan, chosen)
