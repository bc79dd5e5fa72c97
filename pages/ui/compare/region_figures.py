"""Region around the crosshair on Compare: its controls, and the metrics of each volume within it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd
import streamlit as st

from pages.ui.charts.colours import Line
from pages.ui.session import state, volume_cache
from pages.ui.texts import formatting, labels, messages
from tomopatch.analysis.regions import SHELL, Region, region_quality
from tomopatch.runs.config import Scan
from tomopatch.runs.measured_scan import MeasuredScan
from tomopatch.volume import Triple, Volume, VolumeGeometry

KINDS = {"sphere": "Sphere", "box": "Box"}
_KIND, _SIZE = "region.kind", "region.size"


def chosen(geometry: VolumeGeometry, cursor: Triple) -> Region:
    """Return the region of the controls, which are drawn below the pictures that show it."""
    state.fill({_KIND: "sphere", _SIZE: _default_size(geometry)})
    return Region(
        state.value(_KIND) or "sphere", cursor, float(state.value(_SIZE) or _default_size(geometry))
    )


def controls() -> None:
    kind, size = st.columns([1.3, 1], vertical_alignment="bottom")
    kind.segmented_control(
        "Region about the crosshair",
        list(KINDS),
        format_func=KINDS.__getitem__,
        required=True,
        key=state.field(_KIND),
        help="Shape of the region. Click in a picture above to move it.",
    )
    size.number_input(
        "Size [mm]",
        min_value=0.1,
        max_value=1000.0,
        step=1.0,
        format="%.1f",
        key=state.field(_SIZE),
        help="Diameter of the sphere, or edge length of the box.",
    )


def table(scan: Scan, runs: Sequence[tuple[str, Line, str]], region: Region) -> None:
    """Show mean, standard deviation, CNR and PSNR of the reference and of each run (name, line, id)."""
    reference = volume_cache.reference(scan).result()
    volumes: list[tuple[str, Volume]] = [(labels.reference_name(scan), reference)]
    volumes += [(name, volume_cache.result_volume(run_id)) for name, _, run_id in runs]
    try:
        found = [(name, region_quality(reference, volume, region)) for name, volume in volumes]
    except ValueError as error:
        st.warning(messages.error_sentence(error))
        return
    with_psnr = not isinstance(scan, MeasuredScan)  # without a reference there is none
    rows = [
        {
            "Volume": name,
            "Mean": q.mean,
            "SD": q.std,
            "CNR": q.contrast_to_noise if math.isfinite(q.contrast_to_noise) else None,
            **({"PSNR": q.psnr if math.isfinite(q.psnr) else None} if with_psnr else {}),
        }
        for name, q in found
    ]
    column = st.column_config
    st.dataframe(
        pd.DataFrame(rows),
        hide_index=True,
        key="region_numbers",
        height="content",
        placeholder="–",
        column_config={
            "Mean": column.NumberColumn(format="%.0f HU", help="Mean of the voxels in the region."),
            "SD": column.NumberColumn(format="%.0f HU", help="Standard deviation of these voxels."),
            "CNR": column.NumberColumn(
                format="%.2f",
                help="Contrast-to-noise ratio: difference of the means of region and surrounding shell, over "
                "the shell's standard deviation.",
            ),
            "PSNR": column.NumberColumn(
                format="%.1f dB", help="Similarity to the reference within the region; higher is better."
            ),
        },
    )
    st.caption(
        f"{formatting.count(found[0][1].num_voxels)} voxels. The shell extends from {SHELL[0]:g} to "
        f"{SHELL[1]:g} times the size."
    )


def _default_size(geometry: VolumeGeometry) -> float:
    """Return a round size of about a twelfth of the volume and at least about three voxels."""
    target = max(min(geometry.size[1:]) / 12, 3 * max(geometry.voxel_size))
    unit = 10 ** math.floor(math.log10(target))
    return max(0.1, unit * max(step for step in (1, 2, 5) if step * unit <= target))
