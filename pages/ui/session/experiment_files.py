"""Files of an experiment: JSON that the app opens again, and a notebook of a run."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from pages.ui.session import engine, routes, state
from pages.ui.texts import labels, messages
from tomopatch.runs.config import Scan
from tomopatch.runs.limits import read_only
from tomopatch.runs.run import Run
from tomopatch.studies.experiment import Experiment
from tomopatch.studies.notebook import notebook


def downloads(scan: Scan, runs: Sequence[Run]) -> None:
    """Offer the experiment as JSON and the selected run as a notebook."""
    seen, sweep, plane = state.compare_view(), state.sweep(), state.plane()
    analysis = state.value(state.ANALYSIS) or ""

    def experiment() -> bytes:
        configs = tuple(run.config for run in runs)
        return Experiment(scan, configs, sweep, plane, seen.get("address", ""), analysis).to_bytes()

    left, right, _ = st.columns(3)
    names = engine.source_names()
    left.download_button(
        "Experiment (JSON)",
        experiment,
        f"{labels.scan_file_name(scan, 'experiment', names)}.json",
        "application/json",
        width="stretch",
        on_click="ignore",
        help="The scan, these runs, the visible slice and the values on What if, without volumes. Home opens "
        "it again.",
    )
    right.download_button(
        "Notebook",
        lambda: notebook(*(run.config for run in runs), name=labels.source_label(scan.source, names)),
        f"{labels.scan_file_name(scan, 'comparison', names)}.ipynb",
        "application/x-ipynb+json",
        width="stretch",
        on_click="ignore",
        help="Repeats all runs above, step by step, in Python.",
    )


def upload() -> None:
    """Open an experiment: its scan becomes the current one, and Compare shows its runs."""
    if read_only():
        st.info("**This server accepts no uploads.** Open an experiment by its link instead.")
        return
    file = st.file_uploader(
        "Experiment",
        type="json",
        key=state.field("files.experiment"),
        help="A JSON file downloaded from Compare. Runs that no longer exist are computed again.",
    )
    if file is None:
        return
    try:
        experiment = Experiment.from_bytes(file.getvalue())
        check_volumes(experiment)
    except ValueError as error:
        st.error(messages.error_sentence(error))
        return
    if st.button("Open it", type="primary", key="open_experiment", help="Replaces the current scan."):
        state.set_scan(experiment.scan)
        state.set_sweep(experiment.sweep)
        state.set_plane(experiment.plane)
        state.set_opened_view(experiment.view)
        if experiment.analysis:
            state.fill({state.ANALYSIS: experiment.analysis}, overwrite=True)
        queued = [engine.queue().submit(run) for run in experiment.runs]
        state.set_compared(queued)
        state.set_run(queued[0] if queued else None)
        st.switch_page(routes.COMPARE if queued else routes.ACQUIRE)


def check_volumes(experiment: Experiment) -> None:
    """Refuse volumes that are not stored here: a file must not make the server open other files."""
    stored = {f"volume:{v.digest}" for v in engine.store().volumes()}
    stored |= {f"scan:{s.digest}" for s in engine.store().scans()}
    for scan in (experiment.scan, *(run.scan for run in experiment.runs)):
        if scan.source not in stored and not scan.source.startswith("phantom:"):
            raise ValueError(
                "the experiment's volume or scan is not stored on this machine; upload it on Acquire first, "
                "then open this again."
            )
