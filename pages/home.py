"""Home: what this is, one button that shows it, and the ways in."""

from pathlib import Path

import streamlit as st

from pages.ui.session import loading, routes, shell

shell.guard()
words, picture = st.columns([1, 1.1], gap="large", vertical_alignment="center")
with words:
    st.title("What if the scanner took only 20 pictures?", anchor=False)
    st.markdown(
        "A CT scanner takes about a thousand X-ray pictures (views) and computes a volume from them. Fewer views mean "
        "less dose and less time, but the simple formula then fails. TomoPatch lets you scan a digital patient, or "
        "a CT of your own, as sparsely as you like, reconstruct it with several methods, watch them work and see "
        "what each of them gets right and wrong."
    )
    with st.container(gap="xsmall"):
        shell.demo_button("primary")
        st.caption("A chest, 20 views, three methods side by side. The first picture comes within seconds.")
with picture, st.container(gap="xsmall"):
    st.image(
        str(Path(__file__).parent / "ui" / "home.png"),
        width="stretch",
        alt="The same axial slice of a chest four times: sharp; full of streaks; smooth; nearly as sharp as the first",
    )
    st.caption("One slice of a digital patient, and what three methods make of the same 20 views of it.")

WAYS = {
    routes.ACQUIRE: "Choose a volume and a scanner; set views, angle range and dose, and watch the scan turn in 3D.",
    routes.RECONSTRUCT: "Choose a method and follow it slice by slice; stop early and keep what is there.",
    routes.COMPARE: "Linked slices, differences, line profiles and numbers; download what you made.",
    routes.WHAT_IF: "Many scans of the same volume at once: quality against views, angle range or dose.",
    routes.LEARN: "Nine short lessons that drive the app, and a challenge: find the lesion with the least dose.",
    routes.PRIOR: "What the learned prior knows without any scan: let it draw a volume, or clean a noisy one.",
}
with st.container(key="cards", gap="small"):  # page.css gives the cards of a row one height
    for row in (list(WAYS)[:3], list(WAYS)[3:]):
        for column, page in zip(st.columns(3), row, strict=True):
            with column, st.container(border=True, height="stretch", gap="xsmall"):
                st.page_link(page, label=f"**{routes.TABLE[page]}**", icon=":material/arrow_forward:")
                st.caption(WAYS[page])

with st.expander("Open an experiment that was saved on Compare"):
    loading.engine()
    from pages.ui.session import share  # with it comes the whole engine: after the page is on the screen

    share.upload()
