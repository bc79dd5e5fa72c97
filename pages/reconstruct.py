"""Reconstruct: choose a method and watch it work."""

import streamlit as st

from pages.ui.forms import method_form
from pages.ui.runs import linked_runs, live
from pages.ui.runs.scan_warnings import scan_warnings
from pages.ui.session import engine, routes, shell, state, volume_cache
from pages.ui.texts import labels
from tomopatch.execution.queue import FAST_METHODS
from tomopatch.runs.config import RunConfig

shell.require_app()
shell.heading("Reconstruct", "Choose a method and watch the volume emerge from the measured projections.")

scan = shell.require_scan()
pg = volume_cache.scan_geometry(scan)
run = engine.known_run(state.run_id())
volume_cache.prepare_worker(scan)  # a worker prepares the measurement while you choose the method
linked = state.linked_runs().get(state.run_id() or "")
method_form.fill(run.config if run else linked)

# on a phone page.css puts the pictures before the parameters
controls, pictures = st.container(key="pictures_first").columns([1, 3], gap="large")
with controls:
    method = method_form.choose(pg)
    actions = st.container()  # above the parameters, which can extend below the screen
    with st.container(key="parameters"):
        method_form.presets(method)
        prior_place = st.container()  # the available priors depend on the mode, which is drawn below
        params = method_form.choose_params(method)
        with prior_place:
            prior = method_form.choose_prior(method, params)
with actions:
    config = RunConfig(scan, method, params, prior)
    if method in FAST_METHODS:
        st.caption("Updates automatically.")
        live.submit(config)
    elif st.button(
        "Run",
        type="primary",
        key="start",
        width="stretch",
        help="Add this run to the queue. It continues when you leave the page.",
    ):
        state.add_compared(live.submit(config))
    run = engine.known_run(state.run_id())
    if st.button(
        "Compare runs",
        key="to_compare",
        width="stretch",
        disabled=run is None,  # always drawn, so that nothing moves when a run appears
        help="Open Compare with the runs of this scan side by side.",
    ):
        st.switch_page(routes.COMPARE)

with pictures:
    if run is None and state.run_id():
        linked_runs.offer([state.run_id() or ""])
    if run is None:
        with st.container(border=True, height=live.HEIGHT):
            st.markdown(
                f"**Ready.** Press *Run* and watch {labels.method_label(method)} work, slice by slice."
            )
    else:
        live.run_view(run)
    scan_warnings(scan)  # below everything, so that nothing moves when the reference is ready
