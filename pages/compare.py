"""Compare: several runs and the reference side by side."""

import streamlit as st

from pages.ui.compare import comparison, downloads, gallery
from pages.ui.session import engine, routes, share, shell

shell.guard()
shell.heading("Compare", "The same slice of every reconstruction, beside the volume that was scanned.")

scan = shell.needed_scan()
runs = comparison.comparable(scan)
comparison.failures()
if not runs:
    shell.missing(
        "**This scan has not been reconstructed yet.** Run one method or more first.", routes.RECONSTRUCT
    )

chosen = comparison.choose(scan, runs)
if not chosen:
    shell.missing(
        "**This scan has not been reconstructed yet**; choose runs of other scans above, or run a method.",
        routes.RECONSTRUCT,
    )
comparison.comparison(scan, chosen)
gallery.gallery(scan, runs, chosen)
with st.expander("Download"):
    downloads.downloads(scan, [engine.known_run(run.id) or run for run in chosen])
    share.downloads(scan, chosen)
