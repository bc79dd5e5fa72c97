"""Home: an introduction, the demo, and links to the pages."""

from pathlib import Path

import streamlit as st

from pages.ui.session import loading, routes, shell

shell.require_app()
introduction, picture = st.columns([1, 1.1], gap="large", vertical_alignment="center")
with introduction:
    st.title("What if the scanner took only 20 pictures?", anchor=False)
    st.markdown(
        "A CT scanner takes about a thousand X-ray pictures (views) and computes a volume from them. Fewer "
        "views mean less dose and less time, but the standard formula then fails. In TomoPatch you scan a "
        "phantom, or a CT volume of your own, with as few views as you like, and reconstruct it with several "
        "methods. You can watch them work and see what each gets right and wrong."
    )
    with st.container(gap="xsmall"):
        shell.demo_button("primary")
        st.caption(
            "A chest phantom, 20 views, three methods side by side. The first picture appears within "
            "seconds; right after the installation it takes half a minute."
        )
with picture, st.container(gap="xsmall"):
    st.image(
        str(Path(__file__).parent / "ui" / "home.png"),
        width="stretch",
        alt="One axial slice of a chest four times: sharp; full of streaks; smooth; nearly as sharp as the "
        "first",
    )
    st.caption(
        "A slice of a chest phantom, and its reconstructions with three methods from the same 20 views."
    )

DESCRIPTIONS = {
    routes.ACQUIRE: "Choose a CT volume, set scanner, views, angle range and dose, and watch the scan in 3D.",
    routes.RECONSTRUCT: "Choose a method and follow it slice by slice; stop early with the current volume.",
    routes.COMPARE: "Linked slices, differences, line profiles and metrics; downloads and a report.",
    routes.WHAT_IF: "Many scans of one volume: image quality against views, angle range or dose.",
    routes.LEARN: "Sixteen short lessons, and two challenges: find or keep a lesion with the least dose.",
    routes.PRIOR: "What the diffusion prior has learned: let it invent a volume or denoise one.",
}
with st.container(key="cards", gap="small"):  # page.css gives all cards in a row the same height
    for row in (list(DESCRIPTIONS)[:3], list(DESCRIPTIONS)[3:]):
        for column, page in zip(st.columns(3), row, strict=True):
            with column, st.container(border=True, height="stretch", gap="xsmall"):
                st.page_link(page, label=f"**{routes.TITLES[page]}**", icon=":material/arrow_forward:")
                st.caption(DESCRIPTIONS[page])

with st.expander("Open an experiment that was saved on Compare"):
    loading.engine()
    from pages.ui.session import experiment_files  # imports the engine: after the page is drawn

    experiment_files.upload()
