"""Home: what this is, and one button that shows it."""

from pathlib import Path

import streamlit as st

from pages.ui import demo, loading, shell

shell.guard()
words, picture = st.columns([1, 1.35], gap="large", vertical_alignment="center")
with words:
    st.title("What if the scanner took only 20 pictures?", anchor=False)
    st.markdown(
        "A CT scanner takes about a thousand X-ray pictures and computes a volume from them. Fewer pictures mean "
        "less dose and less time, but the simple formula then fails. TomoPatch lets you scan a digital patient, or "
        "a CT of your own, as sparsely as you like, reconstruct it with several methods, watch them work and see "
        "what each of them gets right and wrong."
    )
    if st.button(
        "Run the demo",
        type="primary",
        key="demo",
        help="Scans a thorax from 20 directions and reconstructs it three ways.",
    ):
        demo.start()
    st.caption("A thorax, 20 views, three methods side by side. The first picture comes within seconds.")
with picture:
    st.image(
        str(Path(__file__).parent / "ui" / "home.png"),
        width="stretch",
        alt="Three axial slices of a chest: sharp, full of streaks, and smooth with blurred edges",
    )
    st.caption(
        "The same slice of a digital patient from 20 views: the truth, the simple formula, an iterative "
        "method."
    )

st.divider()
for column, (page, text) in zip(
    st.columns(3, gap="large"),
    {
        shell.ACQUIRE: "**1. Acquire.** Choose a volume and a scanner; set views, angle range and dose, and watch the "
        "scan turn in 3D.",
        shell.RECONSTRUCT: "**2. Reconstruct.** Choose a method and follow it slice by slice; stop early and keep what "
        "is there.",
        shell.COMPARE: "**3. Compare.** Linked slices, differences, line profiles and numbers; download what you made.",
    }.items(),
    strict=True,
):
    with column:
        st.page_link(page, label=f"Open {shell.TABLE[page]}", icon=":material/arrow_forward:")
        st.markdown(text)  # below: the links stand in one row, however long the texts are

with st.expander("Open an experiment"):
    loading.engine()
    from pages.ui import share  # with it comes the whole engine: after the page is on the screen

    share.upload()
