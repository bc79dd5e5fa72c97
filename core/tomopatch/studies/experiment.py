"""An experiment as a file: a scan, its runs and a sweep. Also a run as a notebook."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import Field

from tomopatch.export.pictures import Plane
from tomopatch.parsing import parse_json
from tomopatch.reconstruct.methods import METHODS
from tomopatch.runs.config import RunConfig, ScanConfig
from tomopatch.schema import read, record

FORMAT = "tomopatch-experiment-1"
MAX_RUNS = 20
MAX_BYTES = 1_000_000


@record
class Experiment:
    """The settings that the app shows, without volumes.

    Attributes
    ----------
    scan : ScanConfig
    runs : tuple of RunConfig
        The compared runs.
    sweep : dict
        Contents of the form on the page What if.
    plane : str
        Plane of the displayed slices.
    view : str
        Slice, window, zoom and layout of the slice viewer, as in the address of the app.
    analysis : str
        Open analysis of the page Compare.
    """

    scan: ScanConfig
    runs: Annotated[tuple[RunConfig, ...], Field(max_length=MAX_RUNS)] = ()
    sweep: dict[str, str] = Field(default_factory=dict)
    plane: Plane = "axial"
    view: Annotated[str, Field(max_length=200)] = ""
    analysis: Annotated[str, Field(max_length=40)] = ""

    def to_bytes(self) -> bytes:
        stored = {
            "format": FORMAT,
            "scan": self.scan.to_json(),
            "runs": [run.to_json() for run in self.runs],
            "sweep": self.sweep,
            "plane": self.plane,
            "view": self.view,
            "analysis": self.analysis,
        }
        return json.dumps(stored, indent=1).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Experiment:
        """Read a file that `to_bytes` made.

        Raises
        ------
        ValueError
            If the data is not an experiment.
        """
        if len(data) > MAX_BYTES:
            raise ValueError(f"an experiment has at most {MAX_BYTES} bytes, this file has {len(data)}.")
        try:
            stored = parse_json(data)
        except ValueError:
            raise ValueError("this file is not JSON; an experiment is a .json that the app wrote.") from None
        if not isinstance(stored, dict) or stored.pop("format", None) != FORMAT:
            raise ValueError(f"this JSON is not an experiment: its format should be {FORMAT!r}.")
        return read(cls, stored)


def notebook(*runs: RunConfig, name: str = "") -> bytes:
    """Return a Jupyter notebook that repeats the runs with the engine and computes their metrics.

    Parameters
    ----------
    *runs : RunConfig
        One run or more, in the order of the notebook.
    name : str
        Name of the volume, for the title.

    Raises
    ------
    ValueError
        Without any run.
    """
    if not runs:
        raise ValueError("a notebook repeats one run or more, got none.")
    stored = any(run.scan.source.startswith("volume:") for run in runs)
    where = (
        "The volume is in the store of the machine that made this notebook. "
        "Elsewhere, set `source` to its path."
        if stored
        else "The volume is a phantom, which is the same on every machine."
    )
    title = " and ".join(dict.fromkeys(METHODS[run.method].label for run in runs))
    with_prior = any(run.prior for run in runs)
    cells = [
        (
            "markdown",
            f"# {title}{' of ' + _plain(name) if name else ''}\n\n"
            "Made by TomoPatch. Simulated; not for diagnosis. "
            "Run it in TomoPatch's environment, from its folder.\n\n"
            f"{where}",
        ),
        (
            "code",
            "import json\n\n"
            f"from tomopatch import {'load_prior, ' if with_prior else ''}quality, reconstruct\n"
            "from tomopatch.reconstruct import make_params\n"
            "from tomopatch.runs.config import ScanConfig\n"
            "from tomopatch.runs.prepare import prepare\n"
            "from tomopatch.store.store import RunStore",
        ),
    ]
    before = None
    for run in runs:
        if run.scan != before:
            cells += _scan_cells(run.scan)
        before = run.scan
        cells += _run_cells(run)
    return json.dumps(
        {
            "nbformat": 4,
            "nbformat_minor": 5,
            "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
            "cells": [_cell(i, kind, text) for i, (kind, text) in enumerate(cells)],
        },
        indent=1,
    ).encode()


def _scan_cells(scan: ScanConfig) -> list[tuple[str, str]]:
    """Return kind and text of the cells that simulate a scan."""
    store = ", RunStore()" if scan.source.startswith("volume:") else ""
    return [
        ("markdown", "## The scan"),
        (
            "code",
            f"scan = ScanConfig.from_json(json.loads({json.dumps(json.dumps(scan.to_json()))}))\n"
            f"prepared = prepare(scan{store})\n"
            "prepared.measurement",
        ),
    ]


def _run_cells(run: RunConfig) -> list[tuple[str, str]]:
    """Return kind and text of the cells that reconstruct the current scan and measure the errors."""
    prior = f", prior=load_prior({run.prior!r})" if run.prior else ""
    return [
        ("markdown", f"## The reconstruction with {METHODS[run.method].label}"),
        (
            "code",
            f"params = make_params({run.method!r}, json.loads({json.dumps(json.dumps(run.params))}))\n"
            f"result = reconstruct(\n    {run.method!r}, prepared.A, prepared.measurement, "
            f"params=params{prior}\n)\n"
            "result",
        ),
        ("markdown", "### Errors against the scanned volume"),
        ("code", "quality(prepared.reference, result.volume)"),
    ]


def _cell(number: int, kind: str, text: str) -> dict[str, Any]:
    cell: dict[str, Any] = {"id": f"cell-{number}", "cell_type": kind, "metadata": {}, "source": text}
    return cell | ({"outputs": [], "execution_count": None} if kind == "code" else {})


def _plain(text: str) -> str:
    """A volume's name without markup; it may come from a file."""
    return "".join(c if c.isalnum() or c in " _-" else " " for c in text)[:80]
