"""Form for uploads: files of one CT volume, their series and units."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import streamlit as st

from pages.ui.session import engine, state
from pages.ui.texts import formatting, messages
from tomopatch.io.dicom import Series, list_series, read_dicom
from tomopatch.io.nifti import read_nifti
from tomopatch.io.slices import voxels_within
from tomopatch.io.units import UNITS, UnitsError
from tomopatch.library import kind_of
from tomopatch.notes import collected, note
from tomopatch.runs.limits import memory_mb, read_only
from tomopatch.volume import Volume, body_box, centred, crop
from tomopatch.volume.table import without_table


class Contents(NamedTuple):
    """Contents of uploaded files.

    Attributes
    ----------
    files : sorted ids of all files
    nifti : ids of the NIfTI files
    series : CT series, if there is no NIfTI file
    refusal : the reason why the files cannot be read, or ""
    """

    files: tuple[str, ...]
    nifti: tuple[str, ...]
    series: tuple[Series, ...] = ()
    refusal: str = ""


def choose_upload() -> str | None:
    """Draw the controls and return the name of the uploaded volume; None without one."""
    if read_only():
        st.info("**This server accepts no uploads.** Choose a *Phantom*, or a volume under *Stored*.")
        return None
    folder = st.toggle(
        "Choose a whole folder",
        key=state.field("folder"),
        help="Select a folder of DICOM files instead of single files.",
    )
    trim = st.checkbox(
        "Crop to the body",
        key=state.field("crop"),
        help="Remove the patient table and the air around the body, so that the body fills the grid.",
    )
    files = st.file_uploader(
        "DICOM files, a .zip of them, or a NIfTI file",
        key=state.field(f"files.{folder}"),
        accept_multiple_files="directory" if folder else True,
        help="The files are sent to this server only. Of DICOM files, it keeps only the "
        "pixels and their positions.",
    )
    if files:
        digest = _read(files, trim)
        if digest is not None:
            st.caption(_loaded(files))
            for text in state.value("upload_done")[2]:
                st.info(f"**Note.** {formatting.plain(formatting.sentence(text), 600)}")
            state.fill({"uploaded": digest}, overwrite=True)
            return f"volume:{digest}"
        return None
    digest = state.value("uploaded")
    if digest is None:
        st.info("Drop a CT volume here: DICOM slices in any order, a zip, or NIfTI (.nii, .nii.gz).")
        return None
    return f"volume:{digest}"


def _loaded(files: Sequence[Any]) -> str:
    """Return a sentence that names the loaded file and counts unused ones."""
    nifti = _nifti(files)
    if not nifti or len(files) == 1:
        return f"Loaded: {len(files)} file{'s' if len(files) > 1 else ''}."
    others = len(files) - 1
    was = "other file was" if others == 1 else "other files were"
    name = _chosen_nifti(nifti).name.replace("`", "'")
    return f"Loaded: `{name}`. {others} {was} not used."


def _examined(files: Sequence[Any]) -> Contents:
    """Return the contents of the files, by content and not by name. The same files are examined once."""
    ids = tuple(sorted(f.file_id for f in files))
    known = state.value("upload_contents")
    if known is not None and known.files == ids:
        return known
    found = Contents(ids, tuple(f.file_id for f in files if kind_of(f, f.name) == "NIfTI"))
    if not found.nifti:
        try:
            with collected():  # the reader repeats these notes
                listed = list_series(_named(files))
            found = found._replace(series=tuple(s for s in listed if s.modality == "CT"))
        except ValueError as error:
            found = found._replace(refusal=str(error))
    state.fill({"upload_contents": found}, overwrite=True)
    return found


def _nifti(files: Sequence[Any]) -> list[Any]:
    ids = _examined(files).nifti
    return [f for f in files if f.file_id in ids]


def _chosen_nifti(nifti: Sequence[Any]) -> Any:
    """Return the file that the user chose, or the first before a choice."""
    return _by_name(nifti).get(state.value("nifti"), nifti[0])


def _by_name(nifti: Sequence[Any]) -> dict[str, Any]:
    """Return the files by name; equal names are numbered."""
    found: dict[str, Any] = {}
    for k, file in enumerate(nifti, 1):
        found[f"{file.name} ({k})" if file.name in found else file.name] = file
    return found


def _choose_nifti(nifti: Sequence[Any]) -> None:
    """Let the user choose one of several NIfTI files."""
    names = list(_by_name(nifti))
    if state.value("nifti") not in names:
        state.fill({"nifti": names[0]}, overwrite=True)
    st.selectbox(
        f"NIfTI file ({len(nifti)} found)",
        names,
        key=state.field("nifti"),
        help="Each NIfTI file is a separate volume. Choose the one to scan.",
    )


def _read(files: Sequence[Any], trim: bool) -> str | None:
    """Return the digest of the stored volume; report errors and return None."""
    units = None
    try:
        nifti = _nifti(files)
        if len(nifti) > 1:
            _choose_nifti(nifti)
        uid = _chosen_nifti(nifti).file_id if nifti else _choose_series(_examined(files))
        which = (tuple(sorted(f.file_id for f in files)), uid)
        unclear = state.value("units_unclear")
        if unclear is not None and unclear[0] == which:
            units = _choose_units(unclear[1])
            if units is None:
                return None
        token = (*which, trim, units)
        refused = state.value("upload_refused")
        if refused is not None and refused[0] == token:
            st.error(refused[1])
            return None
        done = state.value("upload_done")
        if done is None or done[0] != token:  # read the same files only once
            with st.spinner("Reading the volume…"), collected() as notes:
                try:
                    volume = _volume(files, nifti, uid, units)
                except ValueError as error:
                    state.fill({"upload_refused": (token, _refusal(error))}, overwrite=True)
                    raise
                done = (token, engine.store().add_volume(_trimmed(volume) if trim else volume), tuple(notes))
            state.fill({"upload_done": done}, overwrite=True)
        return done[1]
    except UnitsError as error:
        if units is None:
            refusal = _without_flags(error)
            state.fill({"units_unclear": (which, refusal), "units": None}, overwrite=True)
            _choose_units(refusal)
        else:
            st.error(_refusal(error))
        return None
    except ValueError as error:
        st.error(_refusal(error))
        return None


def _refusal(error: ValueError) -> str:
    way = (
        "Choose other *Units of the file*."
        if isinstance(error, UnitsError)
        else "Remove the file (×) and choose another."
    )
    return f"**Nothing was loaded.** {messages.error_sentence(error)} {way}"


def _volume(files: Sequence[Any], nifti: Sequence[Any], uid: str | None, units: str | None) -> Volume:
    """Return the volume in the uploaded files; refuse it before decoding if it exceeds the memory limit."""
    most = voxels_within(memory_mb())
    if nifti:
        chosen = _chosen_nifti(nifti)
        return read_nifti(chosen, name=chosen.name, units=units, max_voxels=most)
    return read_dicom(_named(files), uid, units=units, max_voxels=most)


def _choose_units(refusal: str) -> str | None:
    """Return the units that the user chose for these files.

    Before a choice show the refusal and return None.
    """
    place = st.empty()
    units = st.selectbox(
        "Units of the file",
        list(UNITS),
        index=None,
        placeholder="Choose the units",
        key=state.field("units"),
        format_func=lambda name: formatting.sentence(UNITS[name]),
        help="The file does not state its units clearly. Its values are converted from the units you choose "
        "to Hounsfield units.",
    )
    if units is None:
        place.error(f"**Nothing was loaded yet.** {refusal} Choose the *Units of the file*.")
    return units


def _without_flags(error: UnitsError) -> str:
    """Return the refusal without the flags of the command."""
    return messages.error_sentence(error).replace(" (--units or units=, one of " + ", ".join(UNITS) + ")", "")


def _choose_series(contents: Contents) -> str:
    found = contents.series
    if contents.refusal:
        raise ValueError(contents.refusal)
    if not found:
        raise ValueError("these files hold no CT series; MR, X-ray and other images are not supported.")
    if len(found) == 1:
        return found[0].uid
    chosen = st.selectbox(
        f"Series ({len(found)} found)",
        found,
        key=state.field("series"),
        format_func=lambda s: f"{s.description or 'without a name'} · {s.num_slices} slices",
        help="These files contain several series. Choose the one to scan.",
    )
    return chosen.uid


def _named(files: Sequence[Any]) -> list[tuple[str, Any]]:
    return [(f.name, f) for f in files]


def _trimmed(volume: Volume) -> Volume:
    """Return the volume without the patient table, cropped to the body."""
    cleared = without_table(volume)
    if cleared is not volume:
        note("The patient table was removed: its voxels are now air.")
    cut = crop(cleared, body_box(cleared))
    return centred(cut) if math.prod(cut.shape) > 0 else cleared
