"""Choosing the volume: a phantom, an upload, or one that was uploaded before; and the reconstruction grid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import streamlit as st

from pages.ui.session import engine, state, words
from tomopatch.io.dicom import list_series, read_dicom
from tomopatch.io.nifti import SUFFIXES, read_nifti
from tomopatch.io.slices import voxels_within
from tomopatch.io.units import UNITS, UnitsError
from tomopatch.notes import collected
from tomopatch.phantoms.catalogue import PHANTOMS, SEEDED
from tomopatch.runs.config import PHANTOM_GRID, ScanConfig
from tomopatch.runs.limits import memory_mb, read_only
from tomopatch.volume import Shape, Volume, body_box, centred, crop

GRIDS: dict[str, Shape | None] = {"S": PHANTOM_GRID, "M": (96, 192, 192), "Native": None}
OWN = "As it is"
"""The grid of a scan that came from elsewhere, a lesson or an address: to look at it must not change it."""
KINDS = {"phantom": "Phantom", "upload": "Upload", "stored": "Stored"}


def fill(scan: ScanConfig | None) -> None:
    """Give the form the scan's volume and grid, where it has no values yet."""
    kind, _, rest = (scan.source if scan else "phantom:thorax:0").partition(":")
    name, _, seed = rest.partition(":") if kind == "phantom" else ("thorax", "", "0")
    grid = next(
        (label for label, shape in GRIDS.items() if scan and shape == scan.grid), OWN if scan else "S"
    )
    stored = rest if kind == "volume" else None
    state.fill(
        {
            "kind": "stored" if stored else "phantom",
            "phantom": name if name in PHANTOMS else "thorax",
            "phantom_seed": int(seed) if seed.isdecimal() else 0,
            "stored": stored,
            "grid": grid,
            "grid.own": scan.grid if scan and grid == OWN else None,
            "crop": True,
        }
    )


def choose_source() -> str | None:
    """The name of the chosen volume, or None as long as there is none."""
    kind = st.segmented_control(
        "Volume",
        list(KINDS),
        format_func=lambda k: KINDS[k],
        key=state.field("kind"),
        required=True,
        help="What is scanned: a built-in digital patient or test object, or a CT volume of your own.",
    )
    if kind == "upload":
        return _upload()
    if kind == "stored":
        return _stored()
    left, right = st.columns([3, 2])
    name = left.selectbox(
        "Phantom",
        PHANTOMS,
        format_func=words.phantom_words,
        key=state.field("phantom"),
        help="The first three are digital patients with lesions; the others are test objects.",
    )
    if name not in SEEDED:
        right.number_input("No.", 0, 0, 0, disabled=True, help="This one looks the same each time.")
        return f"phantom:{name}"
    seed = right.number_input(
        "No.",
        0,
        9999,
        step=1,
        key=state.field("phantom_seed"),
        help="Each number is another patient, with other sizes, organs and lesions, or other solids.",
    )
    return f"phantom:{name}:{seed}"


def choose_grid(source: str) -> Shape:
    """The reconstruction grid (z, y, x)."""
    phantom = source.startswith("phantom:")
    native = None if phantom else engine.native_shape(source)

    own: Shape | None = state.value("grid.own")
    grids = GRIDS | {OWN: own} if own else GRIDS

    def shape(label: str) -> Shape:
        grid = grids[label] or native
        assert grid is not None  # Native is offered where there is a stored volume only
        if native is None:
            return grid
        return min(grid[0], native[0]), min(grid[1], native[1]), min(grid[2], native[2])

    offered = [label for label in grids if not (phantom and label == "Native")]
    # of a small volume the larger grids are the same: the first of them stands for all
    first = {shape(label): label for label in reversed(offered)}
    options = [label for label in offered if first[shape(label)] == label]
    wish = state.value("grid")
    if wish not in options:
        state.fill({"grid": first[shape(wish)] if wish in offered else "S"}, overwrite=True)

    label = st.segmented_control(
        "Reconstruction grid",
        options,
        key=state.field("grid"),
        required=True,
        format_func=lambda k: f"{'Native' if shape(k) == native else k} · {words.times(shape(k))}",
        help="Voxels (z × y × x) of the reconstruction. S answers fastest; M takes four to eight times as long. "
        "The scan itself is always simulated from the volume at its finer resolution.",
    )
    return shape(label or "S")


def _stored() -> str | None:
    known = {v.digest: v for v in engine.store().volumes()}
    if state.value("stored") not in (None, *known):
        st.warning(
            "**The volume of this scan is not stored here (any more).** Upload it again, or choose another."
        )
    if not known:
        st.info("No volume of yours is stored yet. Choose *Upload* and drop a scan there.")
        return None
    if state.value("stored") not in known:
        state.fill({"stored": next(iter(known))}, overwrite=True)
    digest = st.selectbox(
        "Stored volume",
        list(known),
        key=state.field("stored"),
        format_func=lambda d: f"{known[d].name} · {words.times(known[d].shape)}",
        help="Volumes that were uploaded on this machine, newest first.",
    )
    return f"volume:{digest}"


# ---- uploads ------------------------------------------------------------------------------------------


def _upload() -> str | None:
    if read_only():
        st.info(
            "**This server takes no uploads.** Choose a *Phantom*, or under *Stored* a volume that is here already."
        )
        return None
    folder = st.toggle(
        "Choose a whole folder", key=state.field("folder"), help="For a folder of DICOM files."
    )
    trim = st.checkbox(
        "Crop to the body",
        key=state.field("crop"),
        help="Leaves the air around the patient out, so that the grid is spent on the patient.",
    )
    files = st.file_uploader(
        "DICOM files, a .zip of them, or a NIfTI file",
        key=state.field(f"files.{folder}"),
        accept_multiple_files="directory" if folder else True,
        help="Nothing leaves this machine. Of a DICOM file only the pixels and their positions are kept.",
    )
    if files:
        digest = _read(files, trim)
        if digest is not None:
            st.caption(_loaded(files))
            for text in state.value("upload_done")[2]:
                st.info(f"**Note.** {words.sentence(text)}")
            state.fill({"uploaded": digest}, overwrite=True)
            return f"volume:{digest}"
        return None
    digest = state.value("uploaded")
    if digest is None:
        st.info("Drop a CT here: DICOM slices in any order, a zip, or NIfTI (.nii, .nii.gz).")
        return None
    return f"volume:{digest}"


def _loaded(files: Sequence[Any]) -> str:
    """Which of the files the volume comes from."""
    nifti = _nifti(files)
    if not nifti or len(files) == 1:
        return f"Loaded: {len(files)} file{'s' if len(files) > 1 else ''}."
    others = len(files) - 1
    was = "other file was" if others == 1 else "other files were"
    name = _chosen_nifti(nifti).name.replace("`", "'")
    return f"Loaded: `{name}`. {others} {was} not used."


def _nifti(files: Sequence[Any]) -> list[Any]:
    return [f for f in files if f.name.lower().endswith(SUFFIXES)]


def _chosen_nifti(nifti: Sequence[Any]) -> Any:
    """The file that the user chose among several; the first until then."""
    return _by_name(nifti).get(state.value("nifti"), nifti[0])


def _by_name(nifti: Sequence[Any]) -> dict[str, Any]:
    """The files by their names, which are numbered where two have the same."""
    found: dict[str, Any] = {}
    for k, file in enumerate(nifti, 1):
        found[f"{file.name} ({k})" if file.name in found else file.name] = file
    return found


def _choose_nifti(nifti: Sequence[Any]) -> None:
    """Several volumes were dropped, and one is scanned: let the user choose."""
    names = list(_by_name(nifti))
    if state.value("nifti") not in names:
        state.fill({"nifti": names[0]}, overwrite=True)
    st.selectbox(
        f"NIfTI file ({len(nifti)} found)",
        names,
        key=state.field("nifti"),
        help="Each NIfTI file is a volume of its own; one is scanned.",
    )


def _read(files: Sequence[Any], trim: bool) -> str | None:
    """Digest of the stored volume; None after a sentence about what is wrong."""
    units = None
    try:
        nifti = _nifti(files)
        if len(nifti) > 1:
            _choose_nifti(nifti)
        uid = _chosen_nifti(nifti).file_id if nifti else _choose_series(files)
        which = (tuple(sorted(f.file_id for f in files)), uid)
        unclear = state.value("units_unclear")
        if unclear is not None and unclear[0] == which:
            units = _choose_units(unclear[1])
            if units is None:
                return None
        token = (*which, trim, units)
        done = state.value("upload_done")
        if done is None or done[0] != token:  # the same files are read once
            with st.spinner("Reading the volume…"), collected() as notes:
                volume = _volume(files, nifti, uid, units)
                done = (token, engine.store().add_volume(_trimmed(volume) if trim else volume), tuple(notes))
            state.fill({"upload_done": done}, overwrite=True)
        return done[1]
    except UnitsError as error:
        if units is None:
            refusal = _without_flags(error)
            state.fill({"units_unclear": (which, refusal), "units": None}, overwrite=True)
            _choose_units(refusal)
        else:
            st.error(f"**Nothing was loaded.** {words.plain(error)} Choose other *Units of the file*.")
        return None
    except ValueError as error:
        st.error(f"**Nothing was loaded.** {words.plain(error)} Take it out with × and choose another file.")
        return None


def _volume(files: Sequence[Any], nifti: Sequence[Any], uid: str | None, units: str | None) -> Volume:
    """Volume in the uploaded files, refused before it is decoded if it does not fit into the memory limit."""
    most = voxels_within(memory_mb())
    if nifti:
        chosen = _chosen_nifti(nifti)
        return read_nifti(chosen, name=chosen.name, units=units, max_voxels=most)
    return read_dicom(_named(files), uid, units=units, max_voxels=most)


def _choose_units(refusal: str) -> str | None:
    """Units that the user chose for these files; None, with the refusal on the page, until there is a choice."""
    place = st.empty()
    units = st.selectbox(
        "Units of the file",
        list(UNITS),
        index=None,
        placeholder="Choose the units",
        key=state.field("units"),
        format_func=lambda name: words.sentence(UNITS[name]),
        help="The numbers alone do not show their units. The volume is converted to Hounsfield units from those you choose.",
    )
    if units is None:
        place.error(f"**Nothing was loaded yet.** {refusal} Choose under *Units of the file*.")
    return units


def _without_flags(error: UnitsError) -> str:
    """The refusal without the flags of the command."""
    return words.plain(error).replace(" (--units or units=, one of " + ", ".join(UNITS) + ")", "")


def _choose_series(files: Sequence[Any]) -> str:
    found = [s for s in list_series(_named(files)) if s.modality == "CT"]
    if not found:
        raise ValueError("these files hold no CT series; MR, X-ray and other images are not supported.")
    if len(found) == 1:
        return found[0].uid
    chosen = st.selectbox(
        f"Series ({len(found)} found)",
        found,
        key=state.field("series"),
        format_func=lambda s: f"{s.description or 'without a name'} · {s.num_slices} slices",
        help="Several series were found in these files; one is scanned.",
    )
    return chosen.uid


def _named(files: Sequence[Any]) -> list[tuple[str, Any]]:
    return [(f.name, f) for f in files]


def _trimmed(volume: Volume) -> Volume:
    cut = crop(volume, body_box(volume))
    return centred(cut) if math.prod(cut.shape) > 0 else volume
