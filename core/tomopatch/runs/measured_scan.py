"""Configuration of a measured scan: a stored scan file, its geometry, corrections and views."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import Field

from tomopatch.runs.values import Grid, Length, digest_of
from tomopatch.schema import Flag, Real, Whole, changed_values, read, record

PREFIX = "scan:"
"""Beginning of the source of a measured scan."""
HOLD_OUT = 10
"""By default every tenth view is held out."""


@record
class GivenGeometry:
    """Geometry that completes or replaces the metadata of the file; None = as in the file.

    Attributes
    ----------
    beam : "parallel", "cone" or None
        A fan beam is a cone beam with one row.
    angle_start, angle_step : float or None
        First angle of evenly spaced views, and the step between them [degrees].
    reverse : bool
        Opposite direction of rotation.
    transposed : bool
        The rotation axis runs along the rows of the pictures, not along their columns. The pixel size in the
        file is then exchanged too, and an axis in the file is ignored.
    pixel_size : (v, u) or None
        Edge lengths of a detector pixel [mm].
    src_orig_dist, src_det_dist : float or None
        Distances from the source to the axis and to the detector [mm].
    """

    beam: Literal["parallel", "cone"] | None = None
    angle_start: Real = 0.0
    angle_step: Annotated[Annotated[Real, Field(ge=-360, le=360)] | None, Field(title="angle step")] = None
    reverse: Flag = False
    transposed: Flag = False
    pixel_size: Annotated[tuple[Length, Length] | None, Field(title="pixel size in mm")] = None
    src_orig_dist: Annotated[Length | None, Field(title="distance from the source to the axis in mm")] = None
    src_det_dist: Annotated[Length | None, Field(title="distance from the source to the detector in mm")] = (
        None
    )


@record
class MeasuredScan:
    """A measured scan. Lengths in mm, angles in degrees.

    Attributes
    ----------
    source : str
        `scan:DIGEST` for a scan in the store.
    grid : (z, y, x) or None
        Reconstruction grid; None = one voxel per detector pixel.
    num_views : int or None
        Number of used views, spread evenly over the views that are not held out; None = all.
    angle_range : float or None
        Only views within this angle from the first view are used; None = all.
    hold_out : int or None
        Every `hold_out`-th view is predicted and not used; None = all views can be used.
    axis : float or None
        Column of the rotation axis before binning, counted from 0 at the centre of the first pixel; None =
        the column in the file, else the middle.
    roll : float
        Roll of the detector.
    stripes : bool or None
        Whether stripes are removed; None = if it suits the scan, see `prepare_projections`.
    bin : int
        Edge of the groups of pixels that are averaged.
    axisymmetric : int or None
        Number of views that repeat the single view of an axisymmetric object.
    given : GivenGeometry
    """

    source: Annotated[str, Field(pattern=r"^scan:[A-Za-z0-9_-]{1,80}$", title="source of a measured scan")]
    grid: Annotated[Grid | None, Field(title="grid (z, y, x)")] = None
    num_views: Annotated[Annotated[Whole, Field(ge=1, le=100_000)] | None, Field(title="number of views")] = (
        None
    )
    angle_range: Annotated[
        Annotated[Real, Field(gt=0, le=36_000)] | None, Field(title="angle range in degrees")
    ] = None
    hold_out: Annotated[Annotated[Whole, Field(ge=2)] | None, Field(title="step between held-out views")] = (
        HOLD_OUT
    )
    axis: Real | None = None
    roll: Annotated[Real, Field(gt=-45, lt=45, title="roll in degrees")] = 0.0
    stripes: Flag | None = None
    bin: Annotated[Whole, Field(ge=1, le=64, title="binning factor")] = 1
    axisymmetric: Annotated[
        Annotated[Whole, Field(ge=2, le=100_000)] | None, Field(title="number of repeated views")
    ] = None
    given: GivenGeometry = GivenGeometry()

    @property
    def object(self) -> tuple[Any, ...]:
        """Identity of the measured object; reconstructions of the same object can be compared."""
        others = replace(self, grid=None, num_views=None, angle_range=None)
        return self.source, others

    @property
    def all_views(self) -> MeasuredScan:
        """The same scan with all views that are not held out."""
        return replace(self, num_views=None, angle_range=None)

    @property
    def file_digest(self) -> str:
        """Digest of the stored scan file."""
        return self.source.removeprefix(PREFIX)

    def to_json(self) -> dict[str, Any]:
        """Return the values that differ from their defaults, so that later fields keep the digests."""
        return changed_values(self)

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> MeasuredScan:
        return read(cls, stored)

    def digest(self) -> str:
        return digest_of(self.to_json())
