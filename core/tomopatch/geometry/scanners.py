"""Presets of scanner classes. Each states whether its distances are published or typical."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from tomopatch.geometry.beams import ConeBeam, ParallelBeam
from tomopatch.volume import VolumeGeometry


@dataclass(frozen=True)
class Scanner:
    """A class of scanners. Lengths in mm, angles in rad.

    Attributes
    ----------
    label : str
    beam : "parallel" or "cone"
    src_orig_dist, src_det_dist : float or None
    det_shape : (v, u) or None
        Detector of the real device, binned to about 1 mm at the axis where it is finer; None = fitted to the
        volume.
    pixel_size : (v, u) or None
    det_offset : (v, u)
    angle_range : float
        Usual angular range.
    num_views : int
        Usual number of views. A full scan has `tomopatch.physics.measurement.full_scan_views`.
    source : str
        Source of the distances, or a note that they describe no single device.
    """

    label: str
    beam: str
    src_orig_dist: float | None
    src_det_dist: float | None
    angle_range: float
    num_views: int
    source: str
    det_shape: tuple[int, int] | None = None
    pixel_size: tuple[float, float] | None = None
    det_offset: tuple[float, float] = (0.0, 0.0)

    def geometry(
        self, vg: VolumeGeometry, *, num_views: int | None = None, angle_range: float | None = None
    ) -> ParallelBeam | ConeBeam:
        """Scan geometry of this scanner for a volume.

        A volume that reaches the source's orbit (a chest in a micro-CT) is refused by `ConeBeam.circular`.
        """
        scan: dict[str, Any] = {
            "num_views": self.num_views if num_views is None else num_views,
            "angle_range": self.angle_range if angle_range is None else angle_range,
            "det_shape": self.det_shape,
            "pixel_size": self.pixel_size,
            "det_offset": self.det_offset,
        }
        if self.beam == "parallel":
            return ParallelBeam.circular(vg, **scan)
        assert self.src_orig_dist is not None
        assert self.src_det_dist is not None
        return ConeBeam.circular(vg, src_orig_dist=self.src_orig_dist, src_det_dist=self.src_det_dist, **scan)


SCANNERS: dict[str, Scanner] = {
    "parallel": Scanner(
        "Parallel beam (textbook)",
        "parallel",
        None,
        None,
        math.pi,
        360,
        "No device: the idealisation that most of the literature uses.",
    ),
    "cone": Scanner(
        "Cone beam (laboratory)",
        "cone",
        800.0,
        1200.0,
        2 * math.pi,
        360,
        "No single device: a generic flat-panel set-up of 800 and 1200 mm.",
    ),
    "diagnostic": Scanner(
        "Diagnostic CT",
        "cone",
        595.0,
        1085.6,
        2 * math.pi,
        984,
        "Siemens SOMATOM Definition, 595 and 1085.6 mm: Moen et al. 2021, Low-dose CT image and projection"
        " dataset, Med. Phys. 48(2). Its detector is curved, this one flat.",
    ),
    "c-arm": Scanner(
        "Interventional C-arm",
        "cone",
        785.0,
        1200.0,
        math.radians(200),
        396,
        "Siemens Artis zee, 785 and 1200 mm, 200 degrees, 30 x 40 cm panel: Strobel et al. 2009, 3D imaging"
        " with flat-detector C-arm systems, in Multislice CT, Springer.",
        det_shape=(192, 248),
        pixel_size=(1.54, 1.54),
    ),
    "linac": Scanner(
        "Linac on-board CBCT, half fan",
        "cone",
        1000.0,
        1500.0,
        2 * math.pi,
        655,
        "Varian On-Board Imager, 1000 and 1500 mm, 40 x 30 cm panel shifted by 148 mm: Song et al. 2008, A"
        " dose comparison study between XVI and OBI CBCT systems, Med. Phys. 35(2).",
        det_shape=(192, 256),
        pixel_size=(1.552, 1.552),
        det_offset=(0.0, 148.0),
    ),
    "dental": Scanner(
        "Dental CBCT",
        "cone",
        500.0,
        700.0,
        2 * math.pi,
        360,
        "500 and 700 mm, 360 views over 360 degrees, as the dental scans in Liu et al. 2024, Geometry-aware"
        " attenuation learning for sparse-view CBCT reconstruction, IEEE Trans. Med. Imaging,"
        " doi:10.1109/TMI.2024.3473970.",
    ),
    "micro": Scanner(
        "Micro-CT",
        "cone",
        197.7,
        364.0,
        2 * math.pi,
        1200,
        "Bruker SkyScan 1173, 197.738 and 364 mm, 2240 x 2240 pixels of 0.05 mm: the instrument's log in the "
        "tomo-meta documentation of laboratory instruments.",
    ),
    "synchrotron": Scanner(
        "Synchrotron",
        "parallel",
        None,
        None,
        math.pi,
        1500,
        "Parallel beam over 180 degrees, as at beamline 2-BM: De Carlo et al. 2018, TomoBank, Meas. Sci."
        " Technol. 29(3).",
    ),
}
