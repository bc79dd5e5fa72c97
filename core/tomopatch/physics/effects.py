"""Differences between a real scan and an ideal one, as records. An effect that is None is off.

`tomopatch.physics.measurement.simulate` applies them in the order of the beam: tube, object, motion, blur,
scatter, detector. The geometry of the reconstruction stays the ideal one; `Misalignment` changes the scan
that is measured. The titles of the numbers are their labels in forms, sweeps and messages.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tomopatch.schema import Real, Seed, record

Share = Annotated[Real, Field(ge=0, le=1)]
Millimetres = Annotated[Real, Field(ge=-1000, le=1000)]
Degrees = Annotated[Real, Field(gt=-90, lt=90)]
Position = tuple[Millimetres, Millimetres, Millimetres]

METALS = ("titanium", "steel", "aluminium")
Material = Literal["titanium", "steel", "aluminium", "iodine", "cortical bone", "PMMA", "water", "air"]
"""Materials of inserts; iodine is a solution of 20 mg/ml in water."""


@record
class Tube:
    """Spectrum of the source and response of the detector.

    Attributes
    ----------
    kvp : float
        Tube voltage [kV].
    aluminium, copper, tin : float
        Filters [mm], in addition to the inherent filtration of 1 mm of aluminium.
    bowtie : bool
        A filter that is thicker towards the edges of the fan, so that all rays through a water cylinder of
        half the field of view are hardened equally.
    detector : "integrating" or "counting"
        The signal of a photon is its energy (integrating) or 1 (counting).
    mas : float or None
        Tube current times time of one view [mAs]. None = the scan sets the photons per ray.
    """

    kvp: Annotated[Real, Field(ge=40, le=150, title="tube voltage [kV]")] = 120.0
    aluminium: Annotated[Real, Field(ge=0, le=50, title="aluminium filter [mm]")] = 2.5
    copper: Annotated[Real, Field(ge=0, le=5, title="copper filter [mm]")] = 0.0
    tin: Annotated[Real, Field(ge=0, le=5, title="tin filter [mm]")] = 0.0
    bowtie: bool = False
    detector: Literal["integrating", "counting"] = "integrating"
    mas: Annotated[
        Annotated[Real, Field(gt=0, le=1000)] | None, Field(title="tube current-time product [mAs]")
    ] = None


@record
class Scatter:
    """Scattered radiation: a share of the primary signal, blurred over the detector.

    Attributes
    ----------
    ratio : float
        Scatter over primary signal, both summed over the detector of a view. The primary signal of a ray is
        weighted by the share that the object removes from the ray, so that air does not scatter.
    width : float
        Standard deviation of the Gaussian kernel, as a share of the detector's width.
    """

    ratio: Annotated[Real, Field(ge=0, le=10, title="scatter-to-primary ratio")] = 0.2
    width: Annotated[Real, Field(gt=0, le=2, title="scatter kernel width")] = 0.25


@record
class Blur:
    """Blur of the detector and of the focal spot.

    Attributes
    ----------
    detector : float
        Full width at half maximum of the detector's point spread [pixels].
    focal_spot : float
        Diameter of the focal spot [mm]; cone beam only.
    """

    detector: Annotated[Real, Field(ge=0, le=20, title="detector blur [pixels]")] = 1.0
    focal_spot: Annotated[Real, Field(ge=0, le=20, title="focal spot [mm]")] = 0.0


@record
class Misalignment:
    """Differences between the scan that is measured and the geometry that the reconstruction assumes.

    Attributes
    ----------
    axis_offset : float
        Shift of the detector along u [mm on the detector].
    vertical_offset : float
        Shift along v [mm on the detector].
    roll : float
        Rotation of the detector about its normal [degrees].
    distance : float
        True minus assumed distance from source to axis [mm]; cone beam only.
    jitter : float
        Standard deviation of the errors of the view angles [degrees].
    seed : int
        Seed of the jitter.
    """

    axis_offset: Annotated[Millimetres, Field(title="axis offset [mm]")] = 0.0
    vertical_offset: Annotated[Millimetres, Field(title="vertical offset [mm]")] = 0.0
    roll: Annotated[Degrees, Field(title="detector roll [°]")] = 0.0
    distance: Annotated[Millimetres, Field(title="distance error [mm]")] = 0.0
    jitter: Annotated[Real, Field(ge=0, le=30, title="angle jitter [°]")] = 0.0
    seed: Annotated[Seed, Field(title="seed of the angle jitter")] = 0


@record
class Motion:
    """Motion of the object during the scan; view i is measured at the time i / number of views.

    Attributes
    ----------
    kind : "drift", "jump" or "breathing"
        drift: the whole object moves at constant speed, by `amplitude` during the scan. jump: it moves by
        `amplitude` at the time `time`. breathing: it is stretched along z. The lower end of the volume moves
        by `amplitude`, the upper end does not move. The time course is 1 - cos, `cycles` times per scan.
    amplitude : (z, y, x) [mm]
        Breathing uses z alone.
    time : float
        Time of the jump, as a share of the scan.
    cycles : float
        Breaths during the scan.
    """

    kind: Literal["drift", "jump", "breathing"] = "breathing"
    amplitude: Position = (10.0, 0.0, 0.0)
    time: Annotated[Share, Field(title="time of the jump")] = 0.5
    cycles: Annotated[Real, Field(gt=0, le=100, title="number of breaths")] = 3.0


@record
class DetectorFaults:
    """Errors of the detector's pixels.

    Attributes
    ----------
    gain : float
        Standard deviation of the pixels' relative gain errors, constant in time; they cause rings.
    dead : float
        Share of dead pixels, which measure nothing.
    dead_columns : int
        Number of dead columns.
    lag : float
        Share of a view's signal that appears in the next view.
    saturation : float or None
        Largest signal, as a share of the unattenuated beam's; None = no saturation.
    seed : int
        Seed of the faults.
    """

    gain: Annotated[Real, Field(ge=0, le=1, title="gain error")] = 0.0
    dead: Annotated[Real, Field(ge=0, le=0.5, title="share of dead pixels")] = 0.0
    dead_columns: Annotated[int, Field(ge=0, le=100, title="number of dead columns")] = 0
    lag: Annotated[Real, Field(ge=0, lt=1, title="lag")] = 0.0
    saturation: Annotated[Annotated[Real, Field(gt=0, le=10)] | None, Field(title="saturation")] = None
    seed: Annotated[Seed, Field(title="seed of the detector faults")] = 0


@record
class Insert:
    """An object of one material that is inserted into the volume.

    Attributes
    ----------
    shape : "ball", "rod", "screw" or "plate"
        Rods and screws lie along `axis`; a plate is thin along `axis`. A screw is a rod with a head.
    material : str
    centre : (z, y, x) [mm]
    size : (float, float)
        Diameter and length of a rod, diameter of the shaft and total length of a screw, edge and thickness of
        a plate, diameter of a ball (the second is not used) [mm].
    axis : "z", "y" or "x"
    """

    shape: Literal["ball", "rod", "screw", "plate"] = "rod"
    material: Material = "titanium"
    centre: Position = (0.0, 0.0, 0.0)
    size: tuple[Annotated[Real, Field(gt=0, le=1000)], Annotated[Real, Field(gt=0, le=1000)]] = (10.0, 60.0)
    axis: Literal["z", "y", "x"] = "z"


@record
class Effects:
    """All effects of a scan; all are off by default.

    Attributes
    ----------
    tube : Tube or None
        None = one energy, at which water has the attenuation 0.0192 /mm.
    inserts : tuple of Insert
    """

    tube: Tube | None = None
    scatter: Scatter | None = None
    blur: Blur | None = None
    misalignment: Misalignment | None = None
    motion: Motion | None = None
    faults: DetectorFaults | None = None
    inserts: Annotated[tuple[Insert, ...], Field(max_length=20)] = ()
