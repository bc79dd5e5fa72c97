"""Prior: the diffusion prior without any measurement."""

import streamlit as st

from pages.ui.forms import prior_form
from pages.ui.runs import prior_view
from pages.ui.session import shell

shell.require_app()
shell.heading(
    "Prior", "What the diffusion prior has learned about CT volumes: let it invent a volume or denoise one."
)

prior_form.fill()
controls, pictures = st.columns([1, 3], gap="large")
with controls:
    kind = prior_form.choose_kind()
    configs = prior_form.generate_configs() if kind == "generate" else prior_form.denoise_configs()
    label = {"generate": "Generate a volume", "denoise": "Denoise"}[kind]
    hint = "Add this run to the queue. It continues when you leave the page."
    if st.button(label, type="primary", key="prior_start", width="stretch", help=hint, disabled=not configs):
        prior_view.submit(configs)

with pictures:
    runs = prior_view.current_runs(kind)
    if not runs:
        prior_view.show_ready(kind)
    elif kind == "generate":
        prior_view.show_generation(runs[0])
    else:
        prior_view.show_denoising(runs)
