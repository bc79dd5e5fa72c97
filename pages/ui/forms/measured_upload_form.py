"""Form of a measured scan's file: an upload with its geometry file, or a stored scan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from pages.ui.session import engine, state, visitor
from pages.ui.texts import formatting, messages
from tomopatch.io.projections import (
    QUANTITIES,
    Projections,
    QuantityError,
    read_geometry_file,
    read_projections,
)
from tomopatch.io.projections.mrc import TILTS
from tomopatch.notes import collected
from tomopatch.runs.limits import memory_mb, read_only, shared
from tomopatch.runs.measured_scan import PREFIX, MeasuredScan

CHOSEN = "measured.file"
_DONE, _REFUSED, _UNCLEAR, _QUANTITY, _WHITE = (
    "measured.done",
    "measured.refused",
    "measured.unclear",
    "measured.quantity",
    "measured.white",
)
QUANTITY_LABELS = {
    "counts": "Detector counts",
    "transmission": "Transmission (0 to 1)",
    "line_integrals": "Line integrals",
    "intensity": "Intensity above a background (HAADF-STEM)",
}


def fill(scan: MeasuredScan | None) -> None:
    """Set fields without a value to the scan's file."""
    state.fill({CHOSEN: scan.file_digest if scan else None, _QUANTITY: None, _WHITE: None})


def choose_file() -> str | None:
    """Draw the controls and return the source of the chosen scan; None without one."""
    if read_only():
        st.info("**This server accepts no uploads.** Choose one of its scans below.")
    else:
        _upload()
    return _stored()


def _upload() -> None:
    files = st.file_uploader(
        "Projections, and optionally a geometry file (.json)",
        key=state.field("files.measured"),
        accept_multiple_files=True,
        help="NPZ, HDF5, MATLAB, a .zip of TIFF images, or MRC with its .tlt or .rawtlt. The files are sent "
        "to this server only.",
    )
    if not files:
        return
    token = tuple(sorted(f.file_id for f in files))
    unclear = state.value(_UNCLEAR) == token
    given = _choose_quantity() if unclear else {}
    if unclear and not given:
        return
    key = (token, given)
    if state.value(_DONE) != key:  # read the same files only once
        try:
            with st.spinner("Reading the scan…"), collected():  # the scan keeps the notes
                digest = engine.store().add_scan(_read(files, key))
        except QuantityError:
            state.fill({_UNCLEAR: token, _QUANTITY: None, _WHITE: None}, overwrite=True)
            _choose_quantity()
            return
        except ValueError as error:
            st.error(
                f"**Nothing was loaded.** {messages.error_sentence(error)} Remove the file (×) and choose "
                "another, or add a geometry file."
            )
            return
        state.fill({_DONE: key, CHOSEN: digest}, overwrite=True)


def _read(files: Sequence[Any], key: tuple[tuple[str, ...], dict[str, Any]]) -> Projections:
    """Read the scan. `key` is the ids of the files and what was chosen; a refusal is remembered for it."""
    refused = state.value(_REFUSED)
    if refused is not None and refused[0] == key:
        raise ValueError(refused[1])
    try:
        return _projections(files, key[1])
    except QuantityError:
        raise
    except ValueError as error:
        state.fill({_REFUSED: (key, str(error))}, overwrite=True)
        raise


def _projections(files: Sequence[Any], given: dict[str, Any]) -> Projections:
    """Read the scan; a .json among the files is its geometry file."""
    sides = [f for f in files if f.name.lower().endswith(".json")]
    # the first file names the scan
    data = sorted((f for f in files if f not in sides), key=lambda f: f.name.lower().endswith(TILTS))
    if not data:
        raise ValueError("these files hold a geometry but no projections; add the file of the scan.")
    if len(sides) > 1:
        raise ValueError(f"there are {len(sides)} .json files; expected one geometry file.")
    keys = read_geometry_file(sides[0].getvalue()) if sides else {}
    return read_projections([(f.name, f) for f in data], geometry={**keys, **given}, max_mb=memory_mb())


def _choose_quantity() -> dict[str, Any]:
    """Return the quantity that the user chose for these files; empty before a choice."""
    place = st.empty()
    quantity = st.selectbox(
        "Quantity of the values",
        list(QUANTITIES),
        index=None,
        placeholder="Choose the quantity",
        key=state.field(_QUANTITY),
        format_func=QUANTITY_LABELS.__getitem__,
        help="Counts and transmissions need a logarithm; line integrals are used as they are.",
    )
    if quantity is None:
        place.error(
            "**Nothing was loaded yet.** The file does not state what its values are. Choose their quantity."
        )
        return {}
    if quantity != "counts":
        return {"quantity": quantity}
    white = st.number_input(
        "Counts without object",
        min_value=0.0,
        value=None,
        key=state.field(_WHITE),
        placeholder="e.g. 60000",
        help="Level of the unattenuated beam, because the file has no flat frames.",
    )
    if not white:
        place.error("**Nothing was loaded yet.** Enter the *Counts without object*.")
        return {}
    return {"quantity": quantity, "white_level": float(white)}


def _stored() -> str | None:
    known = {s.digest: s for s in engine.store().scans()}
    chosen = state.value(CHOSEN)
    if chosen is not None and chosen not in known:
        st.warning("**This measured scan is not stored here.** Upload it again, or choose another scan.")
    if not known:
        st.info("No measured scan is stored yet. Drop its file above.")
        return None
    if chosen not in known:
        state.fill({CHOSEN: next(iter(known))}, overwrite=True)

    def label(digest: str) -> str:
        v, n, u = known[digest].shape
        return f"{known[digest].name} · {formatting.plural(n, 'view')} of {v} × {u}"

    digest = st.selectbox(
        "Measured scan",
        list(known),
        key=state.field(CHOSEN),
        format_func=label,
        help="Scans uploaded to this server, newest first.",
    )
    if not shared() or visitor.is_administrator():
        with st.popover("Delete", help="Delete this scan from the server."):
            st.markdown("Delete this scan for good? Its runs stay, but cannot be repeated.")
            st.button(
                "Delete for good",
                key="measured_delete",
                type="primary",
                on_click=_delete,
                args=(digest,),
                help="Removes the file of this scan from the server.",
            )
    return f"{PREFIX}{digest}"


def _delete(digest: str) -> None:
    engine.store().delete_scan(digest)
    state.fill({CHOSEN: None, _DONE: None}, overwrite=True)
    st.toast("Deleted.")
