"""An experiment as a file: a scan, its runs and a sweep. Also a run as a notebook."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import Field

from tomopatch.export.pictures import Plane
from tomopatch.parsing import parse_json
from tomopatch.reconstruct.methods import METHODS
from tomopatch.runs.config import AnyScan, RunConfig
from tomopatch.runs.measured_scan import MeasuredScan
from tomopatch.schema import read, record

FORMAT = "tomopatch-experiment-1"
MAX_RUNS = 20
MAX_BYTES = 1_000_000


@record
class Experiment:
    """The settings that the app shows, without volumes.

    Attributes
    ----------
    scan : ScanConfig or MeasuredScan
    runs : tuple of RunConfig
        The compared runs.
    sweep : dict
        Contents of the form on the page What if.
    plane : str
        Plane of the displayed slices.
    """

    scan: AnyScan
    runs: Annotated[tuple[RunConfig, ...], Field(max_length=MAX_RUNS)] = ()
    sweep: dict[str, str] = Field(default_factory=dict)
    plane: Plane = "axial"

    def to_bytes(self) -> bytes:
        stored = {
            "format": FORMAT,
            "scan": self.scan.to_json(),
            "runs": [run.to_json() for run in self.runs],
            "sweep": self.sweep,
            "plane": self.plane,
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


_ERRORS = (
    ("markdown", "## Errors against the scanned volume"),
    ("code", "quality(prepared.reference, result.volume)"),
)
_MEASURED_ERRORS = (
    (
        "markdown",
        "## Errors without a reference\n\nThe held-out views, predicted from the volume, and the difference "
        "to the reconstruction from all views, which is a stand-in for a reference.",
    ),
    ("code", "measured_quality(result.volume, prepared, stand_in(scan, RunStore()))"),
)
_MEASURED_IMPORTS = """import json

from tomopatch import load_prior, read_projections
from tomopatch.reconstruct import make_params
from tomopatch.reconstruct.scaled import reconstruct_scaled
from tomopatch.runs.measured import measured_quality, prepare_measured, stand_in
from tomopatch.runs.measured_scan import MeasuredScan
from tomopatch.store.store import RunStore"""


def notebook(run: RunConfig, *, name: str = "") -> bytes:
    """Return a Jupyter notebook that repeats the run with the engine and computes its metrics.

    Parameters
    ----------
    name : str
        Name of the volume, for the title.
    """
    measured = isinstance(run.scan, MeasuredScan)
    stored = measured or run.scan.source.startswith("volume:")
    if measured:
        where = (
            "The measured scan is in the store of the machine that made this notebook. Elsewhere, add it "
            "with `RunStore().add_scan(read_projections(PATH))` and set `source` to `scan:` and the digest."
        )
    elif stored:
        where = (
            "The volume is in the store of the machine that made this notebook. "
            "Elsewhere, set `source` to its path."
        )
    else:
        where = "The volume is a phantom, which is the same on every machine."
    prior = f", prior=load_prior({run.prior!r})" if run.prior else ""
    scaled = ", typical=prepared.typical" if measured else ""
    cells = [
        (
            "markdown",
            f"# {METHODS[run.method].label}{' of ' + _plain(name) if name else ''}\n\n"
            f"Made by TomoPatch. {'A measured scan' if measured else 'Simulated'}; not for diagnosis. "
            "Run it in TomoPatch's environment, from its folder.\n\n"
            f"{where}",
        ),
        (
            "code",
            _MEASURED_IMPORTS
            if measured
            else "import json\n\n"
            f"from tomopatch import {'load_prior, ' if run.prior else ''}quality, reconstruct\n"
            "from tomopatch.reconstruct import make_params\n"
            "from tomopatch.runs.config import ScanConfig\n"
            "from tomopatch.runs.prepare import prepare\n"
            "from tomopatch.store.store import RunStore",
        ),
        ("markdown", "## The scan"),
        (
            "code",
            f"scan = {type(run.scan).__name__}.from_json("
            f"json.loads({json.dumps(json.dumps(run.scan.to_json()))}))\n"
            f"prepared = prepare{'_measured' if measured else ''}(scan{', RunStore()' if stored else ''})\n"
            "prepared.measurement",
        ),
        ("markdown", "## The reconstruction"),
        (
            "code",
            f"params = make_params({run.method!r}, json.loads({json.dumps(json.dumps(run.params))}))\n"
            f"result = reconstruct{'_scaled' if measured else ''}(\n    {run.method!r}, prepared.A, "
            f"prepared.measurement, params=params{scaled}{prior}\n)\n"
            "result",
        ),
        *(_MEASURED_ERRORS if measured else _ERRORS),
    ]
    return json.dumps(
        {
            "nbformat": 4,
            "nbformat_minor": 5,
            "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
            "cells": [_cell(i, kind, text) for i, (kind, text) in enumerate(cells)],
        },
        indent=1,
    ).encode()


def _cell(number: int, kind: str, text: str) -> dict[str, Any]:
    cell: dict[str, Any] = {"id": f"cell-{number}", "cell_type": kind, "metadata": {}, "source": text}
    return cell | ({"outputs": [], "execution_count": None} if kind == "code" else {})


def _plain(text: str) -> str:
    """A volume's name without markup; it may come from a file."""
    return "".join(c if c.isalnum() or c in " _-" else " " for c in text)[:80]
