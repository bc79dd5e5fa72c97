"""Sweep: one run for every combination of numbers of views, angle ranges, doses, effect settings and methods.

A cell of a sweep is an ordinary run, so a sweep resumes where it stopped: stored runs are not repeated.
"""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from pydantic import Field

from tomopatch.execution.execute import execute
from tomopatch.io.writing import finite
from tomopatch.prior.denoiser import PatchPrior
from tomopatch.reconstruct.methods import METHODS, available
from tomopatch.runs.config import AnyScan, RunConfig, Scan, ScanConfig
from tomopatch.runs.measured_scan import MeasuredScan
from tomopatch.runs.run import ACTIVE, FINISHED, Run
from tomopatch.schema import Real, Whole, read, record
from tomopatch.store.history import Point
from tomopatch.store.store import RunStore, unfinished
from tomopatch.studies.sweep_numbers import (
    EXAMPLES,
    check_name,
    checked,
    is_whole,
    number_of,
    title_of,
    with_number,
)
from tomopatch.volume import VolumeGeometry

MAX_CELLS = 400
VARIED = {"num_views": "Views", "angle_range": "Angle range [degrees]", "photons": "Photons per ray"}
"""Fields of a scan that a sweep can vary, and their axis labels."""
QUANTITIES = VARIED | {name: title_of(name) for name in EXAMPLES}
"""Axis labels of all quantities that a sweep can vary: VARIED and the effect settings."""
WITH_REFERENCE = {"psnr": "PSNR [dB]", "ssim": "SSIM", "rmse_hu": "RMSE [HU]"}
"""Metrics of a cell with a simulated scan, and their axis labels."""
WITHOUT_REFERENCE = {
    "held_out_relative": "Held-out error [relative]",
    "difference_hu": "Difference to all views [HU]",
}
"""Metrics of a cell with a measured scan, and their axis labels."""
TIME = {"seconds": "Time [s]"}
METRICS = WITH_REFERENCE | WITHOUT_REFERENCE | TIME
"""All metrics of a cell, and their axis labels."""


def metrics_of(scan: Scan) -> dict[str, str]:
    """Return the metrics of the runs of a scan, and their axis labels."""
    return (WITHOUT_REFERENCE if isinstance(scan, MeasuredScan) else WITH_REFERENCE) | TIME


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


@dataclass(frozen=True)
class Cell:
    """A cell of a sweep: its config, its stored run, if any, and the names of the varied effect settings."""

    config: RunConfig
    run: Run[RunConfig] | None
    effects: tuple[str, ...] = ()

    @property
    def done(self) -> bool:
        return self.run is not None and self.run.status == "done"

    def row(self) -> dict[str, Any]:
        """The cell as a row of a table: method, scan and metrics; None for metrics that do not exist yet.

        A varied effect setting has a column with its name.
        """
        scan, run = self.config.scan, self.run
        row: dict[str, Any] = {"method": self.config.method}
        row |= {name: getattr(scan, name) for name in varied_of(scan)}
        finished = run is not None and run.status in FINISHED
        m: Any = None
        if isinstance(scan, ScanConfig):
            row |= {"seed": scan.seed} | {name: number_of(scan, name) for name in self.effects}
            m, names = run.metrics if run is not None and finished else None, WITH_REFERENCE
        else:
            m, names = run.measured if run is not None and finished else None, WITHOUT_REFERENCE
        values = {name: None if m is None else getattr(m, name) for name in names}
        row |= {name: None if value is None else finite(value) for name, value in values.items()}
        row["seconds"] = run.seconds if run is not None and finished else None
        row["peak_memory_mb"] = run.peak_memory_mb if run is not None and finished else None
        row |= {"status": "missing" if run is None else run.status, "run": "" if run is None else run.id}
        return row


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


def look_up(sweep: SweepConfig, runs: Iterable[Run[RunConfig]]) -> list[Cell]:
    """Return the cells with their runs among `runs`, which are sorted newest first.

    A cell gets its finished run, else the newest one.
    """
    found: dict[str, Run[RunConfig]] = {}
    for run in runs:
        digest = run.config.digest()
        if digest not in found or (run.status == "done" and found[digest].status != "done"):
            found[digest] = run
    names = tuple(sweep.effects)
    return [Cell(config, found.get(config.digest()), names) for config in sweep.cells()]


def seconds_left(cells: list[Cell], runs: Iterable[Run[RunConfig]]) -> float | None:
    """Estimate the time of the missing cells from similar runs, or return None without such runs."""
    times: dict[tuple[str, Any], list[float]] = {}
    for run in runs:
        if run.status == "done":
            times.setdefault((run.config.method, run.config.scan.grid), []).append(run.seconds)
    missing = [(c.config.method, c.config.scan.grid) for c in cells if not c.done]
    if any(key not in times for key in missing):
        return None
    return sum(median(times[key]) for key in missing)


def run_sweep(
    sweep: SweepConfig,
    store: RunStore,
    *,
    prior: Callable[[str], PatchPrior],
    progress: Callable[[str], AbstractContextManager[Callable[[Point], None] | None]],
) -> Iterator[list[Cell]]:
    """Run the missing cells one after the other. Yield all cells at the start and after each run.

    A failed cell stores its message, and the others continue. A cell that a stopped process left unfinished
    resumes from its checkpoint.

    Parameters
    ----------
    store : RunStore
        The store of this sweep alone. Unfinished runs of other sweeps are removed from it.
    prior : f(name) -> PatchPrior
        Called if a method needs one.
    progress : f(label) -> context manager of f(Point)
        The function is called after each step.
    """
    cells = look_up(sweep, store.runs())
    own = {cell.run.id for cell in cells if cell.run is not None}
    for run in unfinished(store):
        if run.id not in own:
            store.delete(run.id)
    yield cells
    for i, cell in enumerate(cells):
        if cell.run is None or cell.run.status in ACTIVE:
            run_id = store.create(cell.config) if cell.run is None else cell.run.id
            with progress(
                f"{METHODS[cell.config.method].label}, {cell.config.scan.num_views} views"
            ) as on_point:
                _execute(store, run_id, prior, on_point)
            cells[i] = replace(cell, run=store.run(run_id))
            yield cells


def _execute(
    store: RunStore, run_id: str, prior: Callable[[str], PatchPrior], on_point: Callable[[Point], None] | None
) -> None:
    def emit(point: dict[str, Any] | None = None, **event: Any) -> None:
        if point is not None and on_point is not None:
            on_point(Point(**point))

    try:
        execute(store, run_id, emit, lambda: None, prior)
    except KeyboardInterrupt:
        store.update(run_id, status="queued")  # not a lost worker: the user stopped the sweep
        raise


# ---- output -------------------------------------------------------------------------------------------


def table(cells: list[Cell]) -> str:
    """Return all cells as CSV."""
    out = io.StringIO()
    rows = [cell.row() for cell in cells]
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def format_cells(cells: list[Cell]) -> str:
    """Return the table that the command prints."""
    widths = {name: max(9, len(name) + 2) for name in cells[0].effects}
    lines = [
        f"{'method':<12}{'views':>6}{'range':>7}{'photons':>9}"
        f"{''.join(f'{name:>{width}}' for name, width in widths.items())}"
        f"{'PSNR dB':>9}{'SSIM':>8}{'RMSE HU':>9}{'seconds':>9}  status"
    ]
    for cell in cells:
        row = cell.row()
        photons = "none" if row["photons"] is None else f"{row['photons']:.3g}"
        effects = "".join(f"{row[name]:>{width}.10g}" for name, width in widths.items())
        numbers = "".join(
            f"{'-' if row[name] is None else format(row[name], form):>{width}}"
            for name, form, width in (
                ("psnr", ".2f", 9), ("ssim", ".4f", 8), ("rmse_hu", ".1f", 9), ("seconds", ".2f", 9),
            )
        )  # fmt: skip
        status = row["status"] if cell.run is None or not cell.run.message else f"failed: {cell.run.message}"
        lines.append(
            f"{row['method']:<12}{row['num_views']:>6}{row['angle_range']:>7g}{photons:>9}{effects}{numbers}"
            f"  {status}"
        )
    return "\n".join(lines)
