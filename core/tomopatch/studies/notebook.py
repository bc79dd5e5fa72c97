"""Jupyter notebooks that repeat runs of the app."""

from __future__ import annotations

import json
from typing import Any

from tomopatch.reconstruct.methods import METHODS
from tomopatch.runs.config import RunConfig, Scan
from tomopatch.runs.measured_scan import MeasuredScan

_OF_VOLUME = (
    "The volume is in the store of the machine that made this notebook. Elsewhere, set `source` to its path."
)
_OF_SCAN = (
    "The measured scan is in the store of the machine that made this notebook. Elsewhere, add it with "
    "`RunStore().add_scan(read_projections(PATH))` and set `source` to `scan:` and the digest."
)
_OF_PHANTOM = "The volume is a phantom, which is the same on every machine."
_ERRORS = (
    ("markdown", "### Errors against the scanned volume"),
    ("code", "quality(prepared.reference, result.volume)"),
)
_MEASURED_ERRORS = (
    (
        "markdown",
        "### Errors without a reference\n\nThe held-out views, predicted from the volume, and the difference "
        "to the reconstruction from all views, which is a stand-in for a reference.",
    ),
    ("code", "measured_quality(result.volume, prepared, stand_in(scan, RunStore()))"),
)
_FIGURE = """figure, axes = plt.subplots(1, len(volumes), figsize=(4 * len(volumes), 4), squeeze=False)
for axis, (name, volume) in zip(axes[0], volumes):
    _, height, width = volume.geometry.voxel_size
    axis.imshow(volume.hu[len(volume.hu) // 2].cpu().numpy(), cmap='gray', aspect=height / width{window})
    axis.set_title(name)
    axis.set_axis_off()"""
_IMPORTS = """import json

import matplotlib.pyplot as plt

from tomopatch import load_prior, quality, reconstruct
from tomopatch.reconstruct import make_params
from tomopatch.runs.config import ScanConfig
from tomopatch.runs.prepare import prepare
from tomopatch.store.store import RunStore"""
_MEASURED_IMPORTS = """import json

import matplotlib.pyplot as plt

from tomopatch import load_prior, read_projections
from tomopatch.reconstruct import make_params
from tomopatch.reconstruct.scaled import reconstruct_scaled
from tomopatch.runs.measured import measured_quality, prepare_measured, stand_in
from tomopatch.runs.measured_scan import MeasuredScan
from tomopatch.store.store import RunStore"""


def notebook(*runs: RunConfig, name: str = "") -> bytes:
    """Return a Jupyter notebook that repeats the runs, computes their metrics and shows their middle slices.

    Parameters
    ----------
    *runs : RunConfig
        One run or more, in the order of the notebook; all of measured scans, or all of simulated ones.
    name : str
        Name of the volume, for the title.

    Raises
    ------
    ValueError
        Without any run.
    """
    if not runs:
        raise ValueError("a notebook repeats one run or more, got none.")
    measured = isinstance(runs[0].scan, MeasuredScan)
    stored = any(run.scan.source.startswith("volume:") for run in runs)
    title = " and ".join(dict.fromkeys(METHODS[run.method].label for run in runs))
    cells = [
        (
            "markdown",
            f"# {title}{' of ' + _plain(name) if name else ''}\n\n"
            f"Made by TomoPatch. {'A measured scan' if measured else 'Simulated'}; not for diagnosis. "
            "Run it in TomoPatch's environment, from its folder.\n\n"
            f"{_OF_SCAN if measured else _OF_VOLUME if stored else _OF_PHANTOM}",
        ),
        ("code", f"{_MEASURED_IMPORTS if measured else _IMPORTS}\n\nvolumes = []"),
    ]
    before = None
    for run in runs:
        if run.scan != before:
            cells += _scan_cells(run.scan)
        before = run.scan
        cells += _run_cells(run)
    window = "" if measured else ", vmin=-1000, vmax=1000"
    cells += [("markdown", "## The middle slices [HU]"), ("code", _FIGURE.format(window=window))]
    return json.dumps(
        {
            "nbformat": 4,
            "nbformat_minor": 5,
            "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
            "cells": [_cell(i, kind, text) for i, (kind, text) in enumerate(cells)],
        },
        indent=1,
    ).encode()


def _scan_cells(scan: Scan) -> list[tuple[str, str]]:
    """Return kind and text of the cells that prepare a scan."""
    measured = isinstance(scan, MeasuredScan)
    store = ", RunStore()" if measured or scan.source.startswith("volume:") else ""
    return [
        ("markdown", "## The scan"),
        (
            "code",
            f"scan = {type(scan).__name__}.from_json(json.loads({json.dumps(json.dumps(scan.to_json()))}))\n"
            f"prepared = prepare{'_measured' if measured else ''}(scan{store})\n"
            + ("" if measured else "volumes.append(('Reference', prepared.reference))\n")
            + "prepared.measurement",
        ),
    ]


def _run_cells(run: RunConfig) -> list[tuple[str, str]]:
    """Return kind and text of the cells that reconstruct the current scan and measure the errors."""
    measured = isinstance(run.scan, MeasuredScan)
    scaled = ", typical=prepared.typical" if measured else ""
    prior = f", prior=load_prior({run.prior!r})" if run.prior else ""
    return [
        ("markdown", f"## The reconstruction with {METHODS[run.method].label}"),
        (
            "code",
            f"params = make_params({run.method!r}, json.loads({json.dumps(json.dumps(run.params))}))\n"
            f"result = reconstruct{'_scaled' if measured else ''}(\n    {run.method!r}, prepared.A, "
            f"prepared.measurement, params=params{scaled}{prior}\n)\n"
            f"volumes.append(({METHODS[run.method].label!r}, result.volume))\n"
            "result",
        ),
        *(_MEASURED_ERRORS if measured else _ERRORS),
    ]


def _cell(number: int, kind: str, text: str) -> dict[str, Any]:
    cell: dict[str, Any] = {"id": f"cell-{number}", "cell_type": kind, "metadata": {}, "source": text}
    return cell | ({"outputs": [], "execution_count": None} if kind == "code" else {})


def _plain(text: str) -> str:
    """A volume's name without markup; it may come from a file."""
    return "".join(c if c.isalnum() or c in " _-" else " " for c in text)[:80]
