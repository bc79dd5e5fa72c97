"""What if: every combination of some numbers of views, angle ranges, doses and methods, cell by cell.

A cell is a run like any other, so a sweep goes on where it stopped: what the store has is not done again.
"""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from statistics import median
from types import NoneType
from typing import Any

from tomopatch.execution.execute import carry_out as carry_out_run
from tomopatch.io.writing import finite
from tomopatch.prior.denoiser import PatchPrior
from tomopatch.reconstruct.methods import METHODS, available
from tomopatch.runs.config import RunConfig, ScanConfig, known_fields
from tomopatch.runs.run import ACTIVE, FINISHED, Run
from tomopatch.store.history import Point
from tomopatch.store.store import RunStore, unfinished
from tomopatch.volume import VolumeGeometry

MAX_CELLS = 400
VARIED = {"num_views": "Views", "angle_range": "Angle range [degrees]", "photons": "Photons a ray"}
"""What a sweep can vary of a scan, and what it is called on an axis."""
MEASURED = {"psnr": "PSNR [dB]", "ssim": "SSIM", "rmse_hu": "RMSE [HU]", "seconds": "Time [s]"}


@dataclass(frozen=True)
class SweepConfig:
    """Which cells there are: all combinations of the values given.

    Attributes
    ----------
    scan : ScanConfig
        What is not varied.
    methods : names in METHODS
    num_views, angle_range, photons
        The values of each; none = the scan's own. Degrees; None among the photons = no noise.
    params : dict
        Parameters by method, where they are not the defaults.
    """

    scan: ScanConfig
    methods: tuple[str, ...]
    num_views: tuple[int, ...] = ()
    angle_range: tuple[float, ...] = ()
    photons: tuple[float | None, ...] = ()
    params: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("methods", *VARIED):
            values = getattr(self, name)
            wrong = next((v for v in values if not isinstance(v, (str, int, float, NoneType))), None)
            if wrong is not None:
                raise ValueError(
                    f"a sweep's {name} must be plain values, got {str(wrong)[:80]!r} among them."
                )
            object.__setattr__(self, name, tuple(dict.fromkeys(values)))
        if not isinstance(self.params, dict) or not all(isinstance(v, dict) for v in self.params.values()):
            raise ValueError(
                f"a sweep's params must be an object for each method, got {str(self.params)[:80]!r}."
            )
        if not self.methods:
            raise ValueError(f"a sweep needs at least one method; there are {', '.join(METHODS)}.")
        count = len(self.methods)
        for name in VARIED:
            count *= max(1, len(getattr(self, name)))
        if count > MAX_CELLS:
            raise ValueError(
                f"these values make {count} cells; at most {MAX_CELLS} are supported: give fewer of them."
            )
        possible = suited(self.scan)
        for method in self.methods:
            if method not in METHODS:
                raise ValueError(f"unknown method {method!r}; known are {', '.join(METHODS)}.")
            if method not in possible:
                raise ValueError(
                    f"{METHODS[method].label} is not for these scans; {', '.join(possible)} can reconstruct them."
                )
        self.cells()  # each must be a possible run

    @property
    def varied(self) -> list[str]:
        """What has more than one value, the one with most of them first."""
        names = [name for name in VARIED if len(getattr(self, name)) > 1]
        return sorted(names, key=lambda name: -len(getattr(self, name)))

    def cells(self) -> list[RunConfig]:
        """The runs, scan after scan, so that each scan is simulated once."""
        values = [getattr(self, name) or (getattr(self.scan, name),) for name in VARIED]
        scans = [
            replace(self.scan, **dict(zip(VARIED, chosen, strict=True)))
            for chosen in itertools.product(*values)
        ]
        return [RunConfig(scan, m, self.params.get(m, {})) for scan in scans for m in self.methods]

    def to_json(self) -> dict[str, Any]:
        lists = {name: list(getattr(self, name)) for name in ("methods", *VARIED)}
        return {"scan": self.scan.to_json(), **lists, "params": self.params}

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> SweepConfig:
        known = known_fields(cls, stored)
        if not isinstance(known.get("scan"), dict):
            raise ValueError("a sweep's JSON needs an object 'scan'.")
        for name in ("methods", *VARIED):
            if not isinstance(known.get(name, []), list):
                raise ValueError(f"a sweep's {name} must be a list, got {known[name]!r}.")
        return cls(**{**known, "scan": ScanConfig.from_json(known["scan"])})


def suited(scan: ScanConfig) -> list[str]:
    """The methods that can reconstruct such scans: it hangs on the beam and the orbit, not on the volume."""
    return list(available(scan.geometry(VolumeGeometry((8, 8, 8), (1.0, 1.0, 1.0)))))


@dataclass(frozen=True)
class Cell:
    """A run of a sweep: what it is, and what the store has of it, if anything."""

    config: RunConfig
    run: Run[RunConfig] | None

    @property
    def done(self) -> bool:
        return self.run is not None and self.run.status == "done"

    def row(self) -> dict[str, Any]:
        """As a line of a table: method and scan, then what was measured; None where there is nothing yet."""
        scan, run = self.config.scan, self.run
        row: dict[str, Any] = {"method": self.config.method}
        row |= {name: getattr(scan, name) for name in VARIED} | {"seed": scan.seed}
        finished = run is not None and run.status in FINISHED
        m = run.metrics if run is not None and finished else None
        row |= {name: None if m is None else finite(getattr(m, name)) for name in ("psnr", "ssim", "rmse_hu")}
        row["seconds"] = run.seconds if run is not None and finished else None
        row["peak_memory_mb"] = run.peak_memory_mb if run is not None and finished else None
        row |= {"status": "missing" if run is None else run.status, "run": "" if run is None else run.id}
        return row


def read_values(name: str, text: str) -> tuple[Any, ...]:
    """What somebody typed for a name in VARIED: numbers with commas or blanks between; `none` = no noise.

    Raises
    ------
    ValueError
        In a sentence that names what is not a number.
    """
    values: list[Any] = []
    for word in text.replace(",", " ").replace(";", " ").split():
        if name == "photons" and word.lower() in ("none", "inf"):
            values.append(None)
            continue
        try:
            values.append(int(word) if name == "num_views" else float(word))
        except ValueError:
            form = "whole numbers like 8, 20, 60" if name == "num_views" else "numbers like 90, 180"
            form = "numbers like 1e4, 1e5, none" if name == "photons" else form
            raise ValueError(f"{VARIED[name].split(' [')[0]}: expected {form}; got {word!r}.") from None
    return tuple(values)


def look_up(sweep: SweepConfig, runs: Iterable[Run[RunConfig]]) -> list[Cell]:
    """The cells with the run of each among these, newest first: the finished one, else the newest."""
    found: dict[str, Run[RunConfig]] = {}
    for run in runs:
        digest = run.config.digest()
        if digest not in found or (run.status == "done" and found[digest].status != "done"):
            found[digest] = run
    return [Cell(config, found.get(config.digest())) for config in sweep.cells()]


def seconds_left(cells: list[Cell], runs: Iterable[Run[RunConfig]]) -> float | None:
    """How long the missing cells will take, by runs of the same methods on the same grid; None without such."""
    times: dict[tuple[str, Any], list[float]] = {}
    for run in runs:
        if run.status == "done":
            times.setdefault((run.config.method, run.config.scan.grid), []).append(run.seconds)
    missing = [(c.config.method, c.config.scan.grid) for c in cells if not c.done]
    if any(key not in times for key in missing):
        return None
    return sum(median(times[key]) for key in missing)


def carry_out(
    sweep: SweepConfig,
    store: RunStore,
    *,
    prior: Callable[[str], PatchPrior],
    progress: Callable[[str], AbstractContextManager[Callable[[Point], None] | None]],
) -> Iterator[list[Cell]]:
    """Do the cells that are missing, one after the other; yields all cells after each, and at once.

    A cell that cannot be done, because the method does not suit the scan, fails with a sentence; the others go on. One that a
    stopped process left half done goes on from the last step that it kept.

    Parameters
    ----------
    store : RunStore
        Of this sweep alone: half done runs of anything else are removed from it.
    prior : f(name) -> PatchPrior
        Called if a method needs one.
    progress : f(label) -> context manager of f(Point), which is told of each step
    """
    cells = look_up(sweep, store.runs())
    ours = {cell.run.id for cell in cells if cell.run is not None}
    for run in unfinished(store):
        if run.id not in ours:
            store.delete(run.id)
    yield cells
    for i, cell in enumerate(cells):
        if cell.run is None or cell.run.status in ACTIVE:
            run_id = store.create(cell.config) if cell.run is None else cell.run.id
            with progress(f"{METHODS[cell.config.method].label}, {cell.config.scan.num_views} views") as tell:
                _carry_out(store, run_id, prior, tell)
            cells[i] = Cell(cell.config, store.run(run_id))
            yield cells


def _carry_out(
    store: RunStore, run_id: str, prior: Callable[[str], PatchPrior], tell: Callable[[Point], None] | None
) -> None:
    def say(point: dict[str, Any] | None = None, **event: Any) -> None:
        if point is not None and tell is not None:
            tell(Point(**point))

    try:
        carry_out_run(store, run_id, say, lambda: None, prior)
    except KeyboardInterrupt:
        store.update(run_id, status="queued")  # it was not lost, it was told to stop
        raise


# ---- what comes of it ---------------------------------------------------------------------------------


def table(cells: list[Cell]) -> str:
    """All cells as CSV."""
    out = io.StringIO()
    rows = [cell.row() for cell in cells]
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def format_cells(cells: list[Cell]) -> str:
    """The table that the command prints."""
    lines = [
        f"{'method':<12}{'views':>6}{'range':>7}{'photons':>9}{'PSNR dB':>9}{'SSIM':>8}{'RMSE HU':>9}{'seconds':>9}  status"
    ]
    for cell in cells:
        row = cell.row()
        photons = "none" if row["photons"] is None else f"{row['photons']:.3g}"
        numbers = "".join(
            f"{'-' if row[name] is None else format(row[name], form):>{width}}"
            for name, form, width in (
                ("psnr", ".2f", 9), ("ssim", ".4f", 8), ("rmse_hu", ".1f", 9), ("seconds", ".2f", 9),
            )
        )  # fmt: skip
        word = row["status"] if cell.run is None or not cell.run.message else f"failed: {cell.run.message}"
        lines.append(
            f"{row['method']:<12}{row['num_views']:>6}{row['angle_range']:>7g}{photons:>9}{numbers}  {word}"
        )
    return "\n".join(lines)
