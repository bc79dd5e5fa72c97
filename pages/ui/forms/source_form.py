"""Form of the CT volume, a phantom, an upload or a stored volume, and of the reconstruction grid."""

from __future__ import annotations

import streamlit as st

from pages.ui.forms import upload_form
from pages.ui.forms.grids import isotropic_in_plane, of_voxel_size
from pages.ui.session import engine, state, volume_cache
from pages.ui.texts import formatting, labels
from tomopatch.library import MAX_SEED_DIGITS
from tomopatch.phantoms.catalogue import PHANTOMS, SEEDED
from tomopatch.runs.config import PHANTOM_GRID, Scan, ScanConfig
from tomopatch.runs.measured_scan import MeasuredScan
from tomopatch.runs.resource_estimate import native_geometry
from tomopatch.volume import Shape

GRIDS: dict[str, Shape | None] = {"S": PHANTOM_GRID, "M": (96, 192, 192), "Native": None}
OWN = "Own"
"""Label of a grid of typed voxel sizes, a lesson or a link; opening the form must not change it."""
MOST_VOXELS = 1024
"""Largest number of voxels along an axis of a phantom's grid; the memory may allow fewer."""
LEAST_VOXELS = 4
KINDS = {"phantom": "Phantom", "upload": "Upload", "stored": "Stored", "measured": "Measured"}


def simulated(scan: Scan | None) -> ScanConfig | None:
    """Return the scan if it is simulated, else None."""
    return None if isinstance(scan, MeasuredScan) else scan


def fill(chosen: Scan | None) -> None:
    """Set fields without a value to the scan's volume and grid."""
    if isinstance(chosen, MeasuredScan):
        state.fill({"kind": "measured"})
    scan = simulated(chosen)
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
            "phantom_seed": int(seed) if seed.isdecimal() and len(seed) <= MAX_SEED_DIGITS else 0,
            "stored": stored,
            "grid": grid,
            "grid.own": scan.grid if scan and grid == OWN else None,
            "crop": True,
        }
    )


def is_measured() -> bool:
    """Whether a measured scan is chosen instead of a volume."""
    return bool(state.value("kind") == "measured")


def choose_kind() -> str:
    """Draw the control and return the kind of source: a name in KINDS."""
    kind = st.segmented_control(
        "Volume",
        list(KINDS),
        format_func=lambda k: KINDS[k],
        key=state.field("kind"),
        required=True,
        help="The scanned volume, a built-in phantom or a CT volume of your own; or the projections of a "
        "real scan.",
    )
    return kind or "phantom"


def choose_source(kind: str) -> str | None:
    """Draw the controls and return the name of the chosen volume; None without one."""
    if kind == "upload":
        return upload_form.choose_upload()
    if kind == "stored":
        return _stored()
    left, right = st.columns([3, 2])
    name = left.selectbox(
        "Phantom",
        PHANTOMS,
        format_func=labels.phantom_label,
        key=state.field("phantom"),
        help="The first three are bodies with lesions; the others are test objects.",
    )
    if name not in SEEDED:
        right.number_input("No.", 0, 0, 0, disabled=True, help="This phantom has no variants.")
        return f"phantom:{name}"
    seed = right.number_input(
        "No.",
        0,
        max(9999, state.value("phantom_seed")),
        step=1,
        key=state.field("phantom_seed"),
        help="Each number gives a different body, with other sizes, organs and lesions, or different "
        "geometric objects.",
    )
    return f"phantom:{name}:{seed}"


def choose_grid(source: str) -> Shape:
    """Draw the control and return the reconstruction grid (z, y, x)."""
    phantom = source.startswith("phantom:")
    native = None if phantom else volume_cache.native_shape(source)

    own: Shape | None = state.value("grid.own")
    grids = GRIDS | {OWN: own} if own else GRIDS

    def shape(label: str) -> Shape:
        grid = grids[label] or native
        assert grid is not None  # Native is offered for stored volumes only
        if native is None:
            return grid
        if grid in (own, native):
            return min(grid[0], native[0]), min(grid[1], native[1]), min(grid[2], native[2])
        return isotropic_in_plane(grid, volume_cache.native_geometry_of(source))

    offered = [label for label in grids if not (phantom and label == "Native")]
    # grids larger than a small volume are equal: only the first is offered
    first = {shape(label): label for label in reversed(offered)}
    options = [label for label in offered if first[shape(label)] == label]
    current = state.value("grid")
    if current not in options:
        state.fill({"grid": first[shape(current)] if current in offered else "S"}, overwrite=True)

    label = st.segmented_control(
        "Reconstruction grid",
        options,
        key=state.field("grid"),
        required=True,
        format_func=lambda k: f"{'Native' if shape(k) == native else k} · {formatting.times(shape(k))}",
        help="Number of voxels (z, y, x). M takes four to eight times as long as S. The measurement is "
        "simulated at the volume's resolution.",
    )
    grid = shape(label or "S")
    _voxel_size(source, grid, native)
    return grid


def _voxel_size(source: str, grid: Shape, native: Shape | None) -> None:
    """Draw the fields of the voxel size. They follow the grid; a typed size selects another grid."""
    extent = native_geometry(source, engine.store())
    assert extent is not None  # the form offers phantoms and stored volumes only
    along, _, across = (s / n for s, n in zip(extent.size, grid, strict=True))
    state.fill({"voxel.across": round(across, 3), "voxel.along": round(along, 3)}, overwrite=True)

    def take() -> None:
        sizes = state.value("voxel.across"), state.value("voxel.along")
        typed = of_voxel_size(extent, *sizes, finest=native)
        state.fill({"grid": OWN, "grid.own": typed}, overwrite=True)

    left, right = st.columns(2)
    for place, name, label, axis in (
        (left, "voxel.across", "Voxel in x and y [mm]", 2),
        (right, "voxel.along", "Voxel along z [mm]", 0),
    ):
        size = extent.size[axis]
        place.number_input(
            label,
            min_value=round(
                min(size / (native[axis] if native else MOST_VOXELS), size / grid[axis]) - 5e-4, 3
            ),
            max_value=round(max(size / LEAST_VOXELS, size / grid[axis]) + 5e-4, 3),
            key=state.field(name),
            format="%.3g",
            step=0.25,
            on_change=take,
            help="Size of a voxel. The extent stays, so the size is adapted to a whole number of voxels. "
            "Never finer than the volume.",
        )


def _stored() -> str | None:
    known = {v.digest: v for v in engine.store().volumes()}
    if state.value("stored") not in (None, *known):
        st.warning(
            "**The volume of this scan is not stored here.** Upload it again, or choose another volume."
        )
    if not known:
        st.info("No volume is stored yet. Choose *Upload* and drop a CT volume there.")
        return None
    if state.value("stored") not in known:
        state.fill({"stored": next(iter(known))}, overwrite=True)
    digest = st.selectbox(
        "Stored volume",
        list(known),
        key=state.field("stored"),
        format_func=lambda d: f"{known[d].name} · {formatting.times(known[d].shape)}",
        help="Volumes uploaded to this server, newest first.",
    )
    return f"volume:{digest}"
