"""Configuration of a run: a scan of a volume and a method, as plain values with a JSON form and a digest."""

from __future__ import annotations

import math
from dataclasses import asdict, fields, replace
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, Discriminator, Field, Tag

from tomopatch.geometry.beams import ConeBeam, Geometry, ParallelBeam
from tomopatch.geometry.orbits import views_from_rows
from tomopatch.io.units import known_units
from tomopatch.library import current_source
from tomopatch.phantoms.scene import Lesion
from tomopatch.physics.corrections.settings import Corrections
from tomopatch.physics.effects import Effects
from tomopatch.physics.measurement import FEWEST, MOST
from tomopatch.prior.files import DEFAULT, NAME, default_prior
from tomopatch.reconstruct.methods import METHODS, make_params
from tomopatch.reconstruct.params import DiffusionParams, migrated
from tomopatch.runs.measured_scan import PREFIX, MeasuredScan
from tomopatch.runs.values import Grid, Length, digest_of
from tomopatch.runs.weights import weights_digest
from tomopatch.schema import Count, Flag, Real, Seed, Whole, read, record
from tomopatch.volume import Shape, VolumeGeometry

PHANTOM_GRID: Shape = (64, 128, 128)
MAX_RAYS = 2**31
MAX_LESIONS = 20


LATER_FIELDS = ("lesions", "units", "effects", "corrections", "angles", "vectors")
"""Fields that are left out of the JSON at their default, so that digests equal those of earlier versions."""


Beam = Literal["parallel", "cone"]
Vector = Annotated[tuple[Real, ...], Field(min_length=12, max_length=12)]
MAX_VIEWS = 10_000


@record
class ScanConfig:
    """A simulated scan, in the units of forms and flags: lengths in mm, angles in degrees.

    Attributes
    ----------
    source : str
        `phantom:NAME[:SEED]`, `volume:DIGEST` for a volume in the store, or a path.
    grid : (z, y, x) or None
        Reconstruction grid; None = the volume's own (phantoms: 64 x 128 x 128).
    beam : "parallel" or "cone"
    num_views : int
    angle_range, start : float
        Range of the views, and angle of the first one.
    src_orig_dist, src_det_dist : float
        Distances from the source to the axis and to the detector; cone beam only.
    pixel_size, det_shape : (v, u) or None
        None = chosen to cover the volume.
    det_offset, tilt, pitch
        See `tomopatch.geometry.beams`.
    photons : float or None
        Photons per ray; None = no noise.
    seed : int
        Seed of the noise.
    same_grid : bool
        Simulate on the reconstruction grid: the literature's easier protocol.
    lesions : tuple of (centre (z, y, x) [mm], radius [mm], HU)
        Balls that are inserted into the volume before the scan.
    units : "HU", "1/mm", "1/cm" or None
        Units of the values in the source file; None = detected (see `tomopatch.io.units`).
    effects : Effects
        Differences from an ideal scan; none by default.
    corrections : Corrections
        Corrections before the reconstruction; none by default.
    angles : tuple of float
        Angle of each view, in any order; empty = `num_views` evenly spaced views over `angle_range`.
    vectors : tuple of 12 numbers per view
        A free orbit, as in ASTRA's vector geometries: x, y, z of the source (parallel beam: of the ray
        direction), of the detector's centre, of the step to the next column and of the step to the next row.
        It replaces angles, distances, pixel size, shift, tilt and pitch, and needs `det_shape`.
    """

    source: Annotated[
        str,
        Field(min_length=1, title="source, a path, phantom:NAME or volume:DIGEST,"),
        AfterValidator(current_source),
    ]
    grid: Annotated[Grid | None, Field(title="grid (z, y, x)")] = None
    beam: Beam = "parallel"
    num_views: Annotated[Whole, Field(ge=1, le=MAX_VIEWS, title="number of views")] = 20
    angle_range: Annotated[Real, Field(gt=0, le=36_000, title="angle range in degrees")] = 180.0
    start: Real = 0.0
    src_orig_dist: Real = 800.0
    src_det_dist: Real = 1200.0
    pixel_size: Annotated[tuple[Length, Length] | None, Field(title="pixel size in mm")] = None
    det_shape: Annotated[tuple[Count, Count] | None, Field(title="detector's rows and columns")] = None
    det_offset: tuple[Real, Real] = (0.0, 0.0)
    tilt: Annotated[Real, Field(gt=-90, lt=90, title="tilt in degrees")] = 0.0
    pitch: Real = 0.0
    photons: Annotated[
        Annotated[Real, Field(ge=FEWEST, le=MOST)] | None, Field(title="number of photons per ray")
    ] = None
    seed: Seed = 0
    same_grid: Flag = False
    lesions: Annotated[tuple[Lesion, ...], Field(max_length=MAX_LESIONS)] = ()
    units: Annotated[str | None, AfterValidator(known_units)] = None
    effects: Effects = Effects()
    corrections: Corrections = Corrections()
    angles: Annotated[tuple[Real, ...], Field(max_length=MAX_VIEWS, title="list of angles")] = ()
    vectors: Annotated[tuple[Vector, ...], Field(max_length=MAX_VIEWS, title="table of vectors")] = ()

    def __post_init__(self) -> None:
        listed = self.angles or self.vectors
        if self.angles and self.vectors:
            raise ValueError("a scan has either a list of angles or a table of vectors; leave one out.")
        if listed and self.num_views != len(listed):
            raise ValueError(
                f"the scan lists {len(listed)} views, but the number of views is {self.num_views}; make them"
                " equal."
            )
        if self.vectors and self.det_shape is None:
            raise ValueError("a table of vectors needs the detector's rows and columns.")

    def geometry(self, vg: VolumeGeometry) -> Geometry:
        """Return the geometry of this scan for a volume on the grid `vg`.

        Raises
        ------
        ValueError
            If the combination is impossible.
        """
        common: dict[str, Any] = {
            "num_views": self.num_views,
            "angle_range": math.radians(self.angle_range),
            "start": math.radians(self.start),
            "pixel_size": self.pixel_size,
            "det_shape": self.det_shape,
            "det_offset": self.det_offset,
            "tilt": math.radians(self.tilt),
        }
        pg: Geometry
        if self.vectors:
            assert self.det_shape is not None  # checked in __post_init__
            pg = views_from_rows(np.asarray(self.vectors), self.det_shape, cone=self.beam == "cone")
        elif self.beam == "parallel":
            if self.pitch:
                raise ValueError(
                    "a helical pitch needs a cone beam; set the pitch to 0 or choose the cone beam."
                )
            pg = ParallelBeam.circular(vg, **common)
        else:
            pg = ConeBeam.circular(
                vg,
                src_orig_dist=self.src_orig_dist,
                src_det_dist=self.src_det_dist,
                pitch=self.pitch,
                **common,
            )
        if self.angles and isinstance(pg, ParallelBeam | ConeBeam):
            if isinstance(pg, ConeBeam) and pg.pitch:
                raise ValueError(
                    "a helix has evenly spaced views; leave out the pitch or the list of angles."
                )
            pg = replace(pg, angles=tuple(math.radians(a) for a in self.angles))
        rays = math.prod(pg.det_shape) * pg.num_views
        if rays > MAX_RAYS:
            raise ValueError(
                f"the scan has {min(rays, 10**18) / 1e9:.1f} billion rays "
                f"({pg.num_views} views of {pg.det_shape[0]} x {pg.det_shape[1]} pixels); "
                "use fewer views or larger pixels."
            )
        return pg

    @property
    def object(self) -> tuple[Any, ...]:
        """Identity of the scanned object; reconstructions of the same object can be compared."""
        return self.source, self.same_grid, self.lesions, self.units, self.effects.inserts

    def to_json(self) -> dict[str, Any]:
        stored = asdict(self)
        for f in fields(self):
            if f.name in LATER_FIELDS and getattr(self, f.name) == f.default:
                del stored[f.name]
        return stored

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> ScanConfig:
        return read(cls, stored)

    def digest(self) -> str:
        """Digest of all values: equal scans have equal digests."""
        return digest_of(self.to_json())


def _kind(value: Any) -> str:
    source = value.get("source") if isinstance(value, dict) else getattr(value, "source", None)
    return "<measured>" if isinstance(source, str) and source.startswith(PREFIX) else "<simulated>"


Scan = ScanConfig | MeasuredScan
AnyScan = Annotated[
    Annotated[ScanConfig, Tag("<simulated>")] | Annotated[MeasuredScan, Tag("<measured>")],
    Discriminator(_kind),
]
"""A simulated or a measured scan as a field of a record; its source decides."""


def scan_from_json(stored: Any) -> Scan:
    """Return the simulated or measured scan that a JSON value describes."""
    measured = _kind(stored) == "<measured>"
    return MeasuredScan.from_json(stored) if measured else ScanConfig.from_json(stored)


@record
class RunConfig:
    """A scan and the method that reconstructs it.

    Attributes
    ----------
    prior : str
        Name of a prior in `pretrained/`, for methods that need one; empty for the others. Its existence is
        checked when the run begins.
    """

    scan: AnyScan
    method: str
    params: dict[str, Any] = Field(default_factory=dict)
    prior: str = ""

    def __post_init__(self) -> None:
        # with all defaults, so that a run with an explicit default value has the same digest
        object.__setattr__(
            self, "params", asdict(make_params(self.method, migrated(self.method, self.params)))
        )
        if not NAME.fullmatch(self.prior or DEFAULT):
            raise ValueError(f"a prior is named by letters, digits, - and _; got {self.prior[:80]!r}.")
        object.__setattr__(self, "prior", self._prior() if METHODS[self.method].needs_prior else "")

    def _prior(self) -> str:
        """The given prior, or the default one of the mode."""
        return self.prior or self._default_prior()

    def _default_prior(self) -> str:
        params = make_params(self.method, self.params)
        if not isinstance(params, DiffusionParams):
            return DEFAULT
        return default_prior(params.trained_mode, sampling=params.sampling)

    def to_json(self) -> dict[str, Any]:
        stored = {"scan": self.scan.to_json(), "method": self.method, "params": self.params}
        # left out where it was left out by versions without a choice, so that the digest equals theirs
        if self.prior and (self.prior != DEFAULT or self._default_prior() != DEFAULT):
            stored["prior"] = self.prior
        return stored

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> RunConfig:
        return read(cls, stored)

    def digest(self) -> str:
        """Digest of scan, method, parameters and the weights of the prior: equal runs have equal digests."""
        weights = {"weights": weights_digest(self.prior)} if self.prior else {}
        return digest_of(self.to_json() | weights)
