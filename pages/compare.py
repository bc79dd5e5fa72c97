"""Compare: several runs and the reference side by side."""

import streamlit as st

from pages.ui import compare_files, compare_gallery, comparison, engine, share, shell

shell.guard()
shell.heading("Compare", "The same slice of every reconstruction, beside the volume that was scanned.")

scan = shell.needed_scan()
runs = comparison.comparable(scan)
comparison.failures()
if not runs:
    shell.missing(
        "**This scan has not been reconstructed yet.** Run one method or more first.", shell.RECONSTRUCT
    )

chosen = comparison.choose(scan, runs)
if not chosen:
    shell.missing(
        "**This scan has not been reconstructed yet**; choose runs of other scans above, or run a method.",
        shell.RECONSTRUCT,
    )
comparison.comparison(scan, chosen)
compare_gallery.gallery(scan, runs, chosen)
with st.expander("Download"):
    compare_files.downloads(scan, [engine.known_run(run.id) or run for run in chosen])
    share.downloads(scan, chosen)
