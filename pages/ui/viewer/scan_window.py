"""Initial display window of the volumes of a scan, and the limit between air and its object."""

from __future__ import annotations

from pages.ui.session import scan_preview
from pages.ui.viewer.slice_viewer import DEFAULTS, Window, default_window
from tomopatch.runs.config import Scan
from tomopatch.runs.measured_scan import MeasuredScan
from tomopatch.volume import MU_WATER

BRIGHTEST = 1.8
"""Upper end of the window of a measured scan, relative to the typical attenuation of its object."""


def window_of(scan: Scan) -> Window:
    """Return the initial window: a preset for a simulated scan, from air to the object for a measured one."""
    if not isinstance(scan, MeasuredScan):
        return default_window(scan.source)
    high = BRIGHTEST * 1000 * scan_preview.preview(scan).typical / MU_WATER  # above air
    if not high > 0:
        return default_window("")
    return (round(high / 2 - 1000), max(1, round(high)))


def air_of(scan: Scan) -> float:
    """Return the HU up to which a voxel may be air around the object: half the way from air to the object."""
    if not isinstance(scan, MeasuredScan):
        return DEFAULTS.air
    attenuation = 1000 * scan_preview.preview(scan).typical / MU_WATER
    return attenuation / 2 - 1000 if attenuation > 0 else DEFAULTS.air


def shared_view(scan: Scan, key: str) -> str:
    """Return the name under which viewers share position and window: measured scans have their own."""
    return f"{key}.{scan.source}" if isinstance(scan, MeasuredScan) else key
