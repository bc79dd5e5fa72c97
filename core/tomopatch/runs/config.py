"""Configuration of a run: a scan of a volume and a method, as plain values with a JSON form and a digest."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import Any

from tomopatch.geometry.beams import ConeBeam, ParallelBeam
from tomopatch.io.units import known_units
from tomopatch.phantoms.scene import Lesion
from tomopatch.physics.measurement import FEWEST, MOST
from tomopatch.prior.files import DEFAULT, NAME, default_prior
from tomopatch.reconstruct.methods import METHODS, make_params
from tomopatch.reconstruct.params import DiffusionParams, migrated
from tomopatch.runs.weights import weights_digest
from tomopatch.volume import Shape, VolumeGeometry, finite

PHANTOM_GRID: Shape = (64, 128, 128)
MAX_GRID_VOXELS = 2**28
MAX_RAYS = 2**31
MAX_LESIONS = 20


@dataclass(frozen=True)
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
        Photons a ray; None = no noise.
    seed : int
        Seed of the noise.
    same_grid : bool
        Simulate on the reconstruction grid: the literature's easier protocol.
    lesions : tuple of (centre (z, y, x) [mm], radius [mm], HU)
        Balls that are inserted into the volume before the scan.
    units : "HU", "1/mm", "1/cm" or None
        Units of the values in the source file; None = detected (see `tomopatch.io.units`).
    """

    source: str
    grid: tuple[int, int, int] | None = None
    beam: str = "parallel"
    num_views: int = 20
    angle_range: float = 180.0
    start: float = 0.0
    src_orig_dist: float = 800.0
    src_det_dist: float = 1200.0
    pixel_size: tuple[float, float] | None = None
    det_shape: tuple[int, int] | None = None
    det_offset: tuple[float, float] = (0.0, 0.0)
    tilt: float = 0.0
    pitch: float = 0.0
    photons: float | None = None
    seed: int = 0
    same_grid: bool = False
    lesions: tuple[Lesion, ...] = ()
    units: str | None = None

    def __post_init__(self) -> None:
        for name, count in (("grid", 3), ("pixel_size", 2), ("det_shape", 2), ("det_offset", 2)):
            value = getattr(self, name)
            if value is None and name != "det_offset":
                continue
            if not isinstance(value, (tuple, list)) or len(value) != count or not all(map(_number, value)):
                raise ValueError(f"{name} must be {count} numbers, got {_shown(value)}.")
            object.__setattr__(self, name, tuple(value))
        for name in ("start", "src_orig_dist", "src_det_dist", "tilt", "pitch"):
            if not _number(getattr(self, name)):
                raise ValueError(f"{name} must be a number, got {_shown(getattr(self, name))!r}.")
        if not abs(self.tilt) < 90:
            raise ValueError(f"the tilt must lie between -90 and 90 degrees, got {self.tilt:g}.")
        if self.pixel_size is not None and not all(p > 0 for p in self.pixel_size):
            raise ValueError(f"pixel_size must be two lengths (v, u) in mm above 0, got {self.pixel_size}.")
        if self.det_shape is not None and not all(_count(n, 1, MAX_RAYS) for n in self.det_shape):
            raise ValueError(
                "det_shape must be two counts (v, u) of at least 1, within the supported number of rays, "
                f"got {_shown(self.det_shape)}."
            )
        if not isinstance(self.same_grid, bool):
            raise ValueError(f"same_grid must be true or false, got {_shown(self.same_grid)!r}.")
        if not isinstance(self.source, str) or not self.source:
            raise ValueError(
                f"the source must name a volume (a path, phantom:NAME or volume:DIGEST), "
                f"got {_shown(self.source)!r}."
            )
        if self.beam not in ("parallel", "cone"):
            raise ValueError(f"beam must be 'parallel' or 'cone', got {_shown(self.beam)!r}.")
        if not _count(self.num_views, 1, 10_000):
            raise ValueError(
                f"the number of views must be a whole number from 1 to 10000, got {_shown(self.num_views)}."
            )
        if not (_number(self.angle_range) and 0 < self.angle_range <= 36_000):
            raise ValueError(
                f"the angle range must lie above 0 and at most at 36000 degrees, "
                f"got {_shown(self.angle_range)}."
            )
        if self.photons is not None and not (_number(self.photons) and FEWEST <= self.photons <= MOST):
            raise ValueError(
                f"photons must lie between {FEWEST:g} and {MOST:g} a ray, or be left out; "
                f"got {_shown(self.photons)}."
            )
        if not _count(self.seed, 0, 2**31 - 1):
            raise ValueError(f"the seed must be a whole number from 0 to 2^31 - 1, got {_shown(self.seed)}.")
        object.__setattr__(self, "units", known_units(self.units))
        if not isinstance(self.lesions, (tuple, list)):
            raise ValueError(f"lesions must be a list, got {_shown(self.lesions)!r}.")
        object.__setattr__(self, "lesions", tuple(map(_lesion, self.lesions)))
        if len(self.lesions) > MAX_LESIONS:
            raise ValueError(f"at most {MAX_LESIONS} lesions can be inserted, got {len(self.lesions)}.")
        if self.grid is not None:
            if not all(_count(n, 1) for n in self.grid):
                raise ValueError(
                    f"the grid must be three counts (z, y, x) of at least 1, got {_shown(self.grid)}."
                )
            if math.prod(self.grid) > MAX_GRID_VOXELS:
                raise ValueError(
                    f"the grid {_shown(self.grid)} has {min(math.prod(self.grid), 10**18) / 1e6:.0f} million "
                    f"voxels; at most {MAX_GRID_VOXELS / 1e6:.0f} million are supported."
                )

    def geometry(self, vg: VolumeGeometry) -> ParallelBeam | ConeBeam:
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
        pg: ParallelBeam | ConeBeam
        if self.beam == "parallel":
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
        return self.source, self.same_grid, self.lesions, self.units

    def to_json(self) -> dict[str, Any]:
        stored = asdict(self)
        if not self.lesions:
            del stored["lesions"]  # so that the digest equals that of versions without lesions
        if self.units is None:
            del stored["units"]
        return stored

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> ScanConfig:
        return cls(**known_fields(cls, stored))

    def digest(self) -> str:
        return digest_of(self.to_json())


@dataclass(frozen=True)
class RunConfig:
    """A scan and the method that reconstructs it.

    Attributes
    ----------
    prior : str
        Name of a prior in `pretrained/`, for methods that need one; empty for the others. Its existence is
        checked when the run begins.
    """

    scan: ScanConfig
    method: str
    params: dict[str, Any] = field(default_factory=dict)
    prior: str = ""

    def __post_init__(self) -> None:
        # with all defaults, so that a run with an explicit default value has the same digest
        object.__setattr__(
            self, "params", asdict(make_params(self.method, migrated(self.method, self.params)))
        )
        if not isinstance(self.prior, str) or not NAME.fullmatch(self.prior or DEFAULT):
            raise ValueError(f"a prior is named by letters, digits, - and _; got {_shown(self.prior)!r}.")
        object.__setattr__(self, "prior", self._prior() if METHODS[self.method].needs_prior else "")

    def _prior(self) -> str:
        """The given prior, or the default one of the mode."""
        params = make_params(self.method, self.params)
        return self.prior or (
            default_prior(params.trained_mode) if isinstance(params, DiffusionParams) else DEFAULT
        )

    def to_json(self) -> dict[str, Any]:
        stored = {"scan": self.scan.to_json(), "method": self.method, "params": self.params}
        if self.prior not in ("", DEFAULT):  # so that the digest equals that of versions without a choice
            stored["prior"] = self.prior
        return stored

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> RunConfig:
        known = known_fields(cls, stored)
        if not isinstance(known.get("scan"), dict):
            raise ValueError("a run's JSON needs an object 'scan'; export one from the app to see the form.")
        return cls(**{"method": "", **known, "scan": ScanConfig.from_json(known["scan"])})

    def digest(self) -> str:
        weights = {"weights": weights_digest(self.prior)} if self.prior else {}
        return digest_of(self.to_json() | weights)


def _lesion(stored: Any) -> Lesion:
    """Return a lesion from its JSON form."""
    try:
        (z, y, x), radius, hu = stored
        if not all(map(_number, (z, y, x, radius, hu))):
            raise TypeError
        lesion = Lesion((float(z), float(y), float(x)), float(radius), float(hu))
    except (TypeError, ValueError, OverflowError):
        raise ValueError(
            f"a lesion is [[z, y, x] in mm, radius in mm, HU], got {_shown(stored)!r}."
        ) from None
    if not 0 < lesion.radius <= 200 or not -1024 <= lesion.hu <= 3071:
        raise ValueError(
            "a lesion must have a radius of up to 200 mm and -1024 to 3071 HU, "
            f"got {lesion.radius:g} mm and {lesion.hu:g} HU."
        )
    return lesion


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and finite(value)


def _count(value: Any, least: int, most: float = math.inf) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _shown(value: Any) -> str:
    """Return the beginning of a value for a message."""
    return str(value)[:80]


def known_fields(cls: type, stored: Any) -> dict[str, Any]:
    """Return the stored fields; refuse unknown fields and missing ones without a default."""
    if not isinstance(stored, dict):
        raise ValueError(f"expected a JSON object for {cls.__name__}, got {type(stored).__name__}.")
    known = {f.name for f in fields(cls)}
    needed = {f.name for f in fields(cls) if f.default is MISSING and f.default_factory is MISSING}
    if needed - set(stored):
        raise ValueError(f"{cls.__name__} needs the field {sorted(needed - set(stored))[0]!r}.")
    unknown = set(stored) - known
    if unknown:
        raise ValueError(
            f"{cls.__name__} has no field {_shown(sorted(unknown)[0])!r}; it has {', '.join(sorted(known))}."
        )
    return stored


def digest_of(value: Any) -> str:
    """Digest of JSON values."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
