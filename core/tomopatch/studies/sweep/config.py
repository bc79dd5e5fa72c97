"""Configuration of a sweep: numbers of views, angle ranges, doses, effect settings and methods."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

from pydantic import Field

from tomopatch.reconstruct.methods import METHODS, available
from tomopatch.runs.config import AnyScan, RunConfig, Scan, ScanConfig
from tomopatch.schema import Real, Whole, read, record
from tomopatch.studies.sweep.numbers import EXAMPLES, check_name, checked, is_whole, title_of, with_number
from tomopatch.volume import VolumeGeometry

MAX_CELLS = 400
VARIED = {"num_views": "Views", "angle_range": "Angle range [degrees]", "photons": "Photons per ray"}
"""Fields of a scan that a sweep can vary, and their axis labels."""
QUANTITIES = VARIED | {name: title_of(name) for name in EXAMPLES}
"""Axis labels of all quantities that a sweep can vary: VARIED and the effect settings."""


def varied_of(scan: Scan) -> tuple[str, ...]:
    """Return the fields of a scan that a sweep can vary."""
    return tuple(name for name in VARIED if hasattr(scan, name))


@record
class SweepConfig:
    """Configuration of a sweep. Its cells are all combinations of the given values.

    Attributes
    ----------
    scan : ScanConfig or MeasuredScan
        The fields that are not varied.
    methods : names in METHODS
    num_views, angle_range, photons
        Values of each field; empty = the scan's value. Angles in degrees; None as a photon count = no noise.
    params : dict
        Parameters by method that differ from the defaults.
    effects : dict
        Values by the name of an effect setting in EXAMPLES, for example "tube.kvp", or "seed" for the noise.
        The sweep switches on an effect that is off.
    """

    scan: AnyScan
    methods: tuple[str, ...]
    num_views: tuple[Whole, ...] = ()
    angle_range: tuple[Real, ...] = ()
    photons: tuple[Real | None, ...] = ()
    params: dict[str, dict[str, Any]] = Field(default_factory=dict)
    effects: dict[str, tuple[Real, ...]] = Field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("methods", *VARIED):
            object.__setattr__(self, name, tuple(dict.fromkeys(getattr(self, name))))
        if isinstance(self.scan, ScanConfig):
            object.__setattr__(self, "effects", checked(self.scan, self.effects))
            if (self.scan.angles or self.scan.vectors) and (self.num_views or self.angle_range):
                raise ValueError(
                    "the scan lists its views, so a sweep cannot vary their number or range; remove the list"
                    " of views, or vary something else."
                )
        elif self.photons or self.effects:
            raise ValueError("a measured scan has a fixed dose; vary its views or its angle range.")
        if not self.methods:
            raise ValueError(f"a sweep needs at least one method; there are {', '.join(METHODS)}.")
        count = len(self.methods)
        for name in (*VARIED, *self.effects):
            count *= max(1, len(self.values(name)))
        if count > MAX_CELLS:
            raise ValueError(
                f"these values make {count} cells; at most {MAX_CELLS} are supported: give fewer of them."
            )
        # the geometry of a measured scan is in its file, which the run checks
        possible = suited(self.scan) if isinstance(self.scan, ScanConfig) else list(METHODS)
        for method in self.methods:
            if method not in METHODS:
                raise ValueError(f"unknown method {method!r}; known are {', '.join(METHODS)}.")
            if method not in possible:
                raise ValueError(
                    f"{METHODS[method].label} cannot reconstruct these scans; {', '.join(possible)} can."
                )
        self.cells()  # raises if one of the runs is impossible

    @property
    def varied(self) -> list[str]:
        """Quantities with more than one value, the one with the most values first."""
        names = [name for name in (*VARIED, *self.effects) if len(self.values(name)) > 1]
        return sorted(names, key=lambda name: -len(self.values(name)))

    def values(self, name: str) -> tuple[Any, ...]:
        """Values of a quantity; empty = the scan's value."""
        return getattr(self, name) if name in VARIED else self.effects.get(name, ())

    def cells(self) -> list[RunConfig]:
        """The runs, grouped by scan, so that each scan is simulated once."""
        names = varied_of(self.scan)
        values = [getattr(self, name) or (getattr(self.scan, name),) for name in names]
        scans: list[Any] = [
            replace(self.scan, **dict(zip(names, chosen, strict=True)))
            for chosen in itertools.product(*values)
        ]
        for name, numbers in self.effects.items():
            scans = [with_number(scan, name, value) for scan in scans for value in numbers]
        return [RunConfig(scan, m, self.params.get(m, {})) for scan in scans for m in self.methods]

    def to_json(self) -> dict[str, Any]:
        lists = {name: list(getattr(self, name)) for name in ("methods", *VARIED)}
        stored = {"scan": self.scan.to_json(), **lists, "params": self.params}
        if self.effects:  # sweeps without them keep the form of earlier versions
            stored["effects"] = {name: list(values) for name, values in self.effects.items()}
        return stored

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> SweepConfig:
        return read(cls, stored)


def suited(scan: ScanConfig) -> list[str]:
    """Methods that can reconstruct such scans. This depends on the beam and the orbit, not on the volume."""
    return list(available(scan.geometry(VolumeGeometry((8, 8, 8), (1.0, 1.0, 1.0)))))


_SCAN_EXAMPLES = {"num_views": "8, 20, 60", "angle_range": "90, 180", "photons": "1e4, 1e5, none"}


def read_values(name: str, text: str) -> tuple[Any, ...]:
    """Parse the values of a quantity: numbers separated by commas or blanks; `none` photons = no noise.

    Raises
    ------
    ValueError
        If the name is not in QUANTITIES, or a value is not a number.
    """
    if name not in VARIED:
        check_name(name)
    whole = name == "num_views" or (name in EXAMPLES and is_whole(name))
    values: list[Any] = []
    for word in text.replace(",", " ").replace(";", " ").split():
        if name == "photons" and word.lower() in ("none", "inf"):
            values.append(None)
            continue
        try:
            values.append(int(word) if whole else float(word))
        except ValueError:
            example = _SCAN_EXAMPLES[name] if name in VARIED else EXAMPLES[name]
            form = f"{'whole ' if whole else ''}numbers like {example}"
            raise ValueError(f"{QUANTITIES[name].split(' [')[0]}: expected {form}; got {word!r}.") from None
    return tuple(values)
