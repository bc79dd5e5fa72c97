"""Pictures of a scan on a free orbit: the sinogram of the middle row and the middle view."""

from __future__ import annotations

import numpy as np
import streamlit as st
import torch

from pages.ui.session.scan_preview import grey_picture
from tomopatch.geometry.views import Views
from tomopatch.physics.measurement import simulate
from tomopatch.projector import Projector
from tomopatch.runs.config import ScanConfig
from tomopatch.volume import Volume


def free_orbit(scan: ScanConfig, volume: Volume, views: Views) -> None:
    """Show the projections of a volume on the reconstruction grid."""
    sinogram, projection = _pictures(scan.digest(), scan, volume, views)
    left, right = st.columns(2)
    left.image(sinogram, caption="Sinogram of the middle row: a line per view", width="stretch")
    right.image(projection, caption="Projection of the middle view: bright is dense", width="stretch")
    st.caption("The linked pictures in space show circular and helical orbits only.")


@st.cache_data(max_entries=8, show_spinner="Scanning…")
def _pictures(
    digest: str, _scan: ScanConfig, _volume: Volume, _views: Views
) -> tuple[np.ndarray, np.ndarray]:
    y = simulate(
        _volume,
        Projector(_volume.geometry, _views),
        photon_count=_scan.photons,
        generator=torch.Generator().manual_seed(_scan.seed),
        supersample=1,
        effects=_scan.effects,
    ).projections.numpy()
    return grey_picture(y[y.shape[0] // 2]), grey_picture(y[::-1, y.shape[1] // 2])
