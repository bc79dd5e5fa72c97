"""Handing an experiment on: as a file that the app opens again, and a run as a notebook."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from pages.ui.session import engine, routes, state, words
from tomopatch.runs.config import ScanConfig
from tomopatch.runs.limits import read_only
from tomopatch.runs.run import Run
from tomopatch.studies.experiment import Experiment, notebook


def downloads(scan: ScanConfig, runs: Sequence[Run]) -> None:
    """The experiment, and the chosen run as a notebook."""
    left, right, _ = st.columns(3)
    left.download_button(
        "Experiment (JSON)",
        lambda: Experiment(scan, tuple(run.config for run in runs), state.sweep(), state.plane()).to_bytes(),
        "tomopatch-experiment.json",
        "application/json",
        width="stretch",
        on_click="ignore",
        help="The scan, these runs and What if, without volumes; Home opens it again, here or elsewhere.",
    )
    by_id = {run.id: run for run in runs}
    chosen = by_id.get(state.download() or "", runs[0])
    name = words.source_words(scan.source, {v.digest: v.name for v in engine.store().volumes()})
    right.download_button(
        "Notebook",
        lambda: notebook(chosen.config, name=name),
        f"tomopatch-{chosen.config.method}.ipynb",
        "application/x-ipynb+json",
        width="stretch",
        on_click="ignore",
        help=f"Makes {words.run_words(chosen, scan)} again, step by step, through the engine.",
    )


def upload() -> None:
    """Open an experiment: its scan becomes the current one and its runs are compared."""
    if read_only():
        st.info("**This server takes no uploads.** Open an experiment by its address instead.")
        return
    file = st.file_uploader(
        "Experiment",
        type="json",
        key=state.field("files.experiment"),
        help="A .json of Compare's downloads. Runs that are not there any more are done again.",
    )
    if file is None:
        return
    try:
        experiment = Experiment.from_bytes(file.getvalue())
        _known(experiment)
    except ValueError as error:
        st.error(words.plain(error))
        return
    if st.button("Open it", type="primary", key="open_experiment", help="The current scan is replaced."):
        state.set_scan(experiment.scan)
        state.set_sweep(experiment.sweep)
        state.set_plane(experiment.plane)
        queued = [engine.queue().submit(run) for run in experiment.runs]
        state.set_compared(queued)
        state.set_run(queued[0] if queued else None)
        st.switch_page(routes.COMPARE if queued else routes.ACQUIRE)


def _known(experiment: Experiment) -> None:
    """Refuse volumes that are not here: a file must not make the server open others."""
    stored = {f"volume:{v.digest}" for v in engine.store().volumes()}
    for scan in (experiment.scan, *(run.scan for run in experiment.runs)):
        if scan.source not in stored and not scan.source.startswith("phantom:"):
            raise ValueError(
                "the experiment's volume is not stored on this machine; upload it on Acquire first, then open this again."
            )
