"""Reconstruct: choose a method, watch it work, keep what it made."""

import streamlit as st

from pages.ui.forms import method_form
from pages.ui.runs import live
from pages.ui.session import engine, routes, shell, state, words
from tomopatch.execution.queue import FAST_METHODS
from tomopatch.runs.config import RunConfig

shell.guard()
shell.heading("Reconstruct", "Choose a method and watch the volume emerge from the projections.")

scan = shell.needed_scan()
pg = scan.geometry(engine.geometry(scan))
run = engine.known_run(state.run_id())
engine.expect(scan)  # volume and scan are prepared while the method is chosen
method_form.fill(run.config if run else None)

# on a telephone page.css puts the pictures before the parameters
controls, pictures = st.container(key="pictures_first").columns([1, 3], gap="large")
with controls:
    method = method_form.choose(pg)
    actions = st.container()  # above the parameters, of which a small screen does not show the last
    with st.container(key="parameters"):
        method_form.presets(method)
        above = st.container()  # the prior, which depends on the mode below it
        params = method_form.choose_params(method)
        with above:
            prior = method_form.choose_prior(method, params)
with actions:
    config = RunConfig(scan, method, params, prior)
    if method in FAST_METHODS:
        st.caption("Quick enough to follow every change at once.")
        live.submit(config)
    elif st.button(
        "Run",
        type="primary",
        key="start",
        width="stretch",
        help="Queue this run. It goes on when you leave the page.",
    ):
        state.add_compared(live.submit(config))
    run = engine.known_run(state.run_id())
    if st.button(
        "Compare runs",
        key="to_compare",
        width="stretch",
        disabled=run is None,  # there all the same, so that nothing moves once there is a run
        help="All runs of this scan side by side.",
    ):
        st.switch_page(routes.COMPARE)

with pictures:
    if run is None:
        with st.container(border=True, height=live.HEIGHT):
            st.markdown(f"**Ready.** Press *Run* to see {words.method_label(method)} work, slice by slice.")
    else:
        live.run_view(run)
