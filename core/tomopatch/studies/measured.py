"""Reconstruction of a measured scan with several methods, compared on held-out views.

A measured scan has no reference volume. A reconstruction can predict views that it did not
use. The reconstruction from all views can replace the reference for sparse subsets.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tomopatch.export.slices import slices_png
from tomopatch.io.nifti import write_nifti
from tomopatch.io.writing import write_bytes
from tomopatch.physics.corrections import PreparedScan
from tomopatch.prior.denoiser import PatchPrior
from tomopatch.progress import Callback
from tomopatch.projector import Projector
from tomopatch.reconstruct.held_out import difference_hu, prediction_error, supported
from tomopatch.reconstruct.methods import METHODS, check_suited, make_params
from tomopatch.reconstruct.run import Result
from tomopatch.reconstruct.scaled import reconstruct_scaled
from tomopatch.runs.selection import Selection
from tomopatch.studies.outputs import ALL_VIEWS, replace_outputs
from tomopatch.volume import Volume, VolumeGeometry


@dataclass(frozen=True, eq=False)
class Study:
    """Reconstructions of one measured scan.

    Attributes
    ----------
    prepared : PreparedScan
    A : Projector
        Projector of the used views.
    selection : Selection
    results : dict of Result by method
    held_out : dict of (rmse, relative) by method
        Root mean square difference of predicted and measured line integrals in the held-out views, and the
        same relative to the root mean square of the measured ones; empty without held-out views.
    reference : Result or None
        The reconstruction from all views, as a stand-in for a reference.
    """

    prepared: PreparedScan
    A: Projector
    selection: Selection
    results: dict[str, Result]
    held_out: dict[str, tuple[float, float]]
    reference: Result | None = None


def reconstruct_measured(
    prepared: PreparedScan,
    methods: Mapping[str, Any],
    *,
    grid: VolumeGeometry | None = None,
    selection: Selection | None = None,
    reference: str | None = None,
    prior: Callable[[Any], PatchPrior] | None = None,
    progress: Callable[[str], AbstractContextManager[Callback | None]],
) -> Study:
    """Reconstruct a measured scan with several methods.

    Parameters
    ----------
    prepared : PreparedScan
    methods : dict of params by method
    grid : VolumeGeometry or None
        None = `prepared.grid`.
    selection : Selection or None
        None = all views are used, none is held out.
    reference : str or None
        Method that reconstructs from all views.
    prior : f(params) -> PatchPrior
        Loads the prior of a method that needs one.
    progress : f(label) -> context manager of a callback

    Raises
    ------
    ValueError
        If a method does not suit the scan; raised before any reconstruction.
    """
    whole = prepared.measurement
    selection = selection or Selection.of(whole.geometry.num_views)
    vg = grid or prepared.grid
    check_suited([*methods, *([reference] if reference else [])], whole.geometry)
    used = whole.subset(selection.used)
    A = Projector(vg, used.geometry)
    typical = prepared.typical
    results: dict[str, Result] = {}
    held_out: dict[str, tuple[float, float]] = {}
    for name, params in methods.items():
        needed = prior(params) if METHODS[name].needs_prior and prior is not None else None
        with progress(METHODS[name].label) as callback:
            results[name] = reconstruct_scaled(
                name, A, used, typical=typical, params=params, prior=needed, callback=callback
            )
        if selection.held_out:
            unseen = whole.subset(selection.held_out)
            results[name] = supported(results[name], unseen)
            held_out[name] = prediction_error(results[name].volume, unseen)
    stand_in = None
    if reference is not None:
        params = methods.get(reference) or make_params(reference)
        needed = prior(params) if METHODS[reference].needs_prior and prior is not None else None
        with progress("All views") as callback:
            A_all = Projector(vg, whole.geometry)
            stand_in = reconstruct_scaled(
                reference, A_all, whole, typical=typical, params=params, prior=needed, callback=callback
            )
    return Study(prepared, A, selection, results, held_out, stand_in)


def difference_to_reference(study: Study, name: str) -> float | None:
    """RMSE [HU] between a volume and the volume from all views, within the inscribed cylinder of the grid."""
    if study.reference is None:
        return None
    return difference_hu(study.results[name].volume, study.reference.volume)


def report_of(study: Study, scan: str, notes: Sequence[str] = ()) -> dict[str, Any]:
    """Return the contents of reconstruct.json."""
    methods: dict[str, Any] = {}
    for name, result in study.results.items():
        residual = result.residuals[-1] if result.residuals else None
        methods[name] = {"residual": residual, **result.summary()}
        if study.held_out:
            methods[name]["held_out_rmse"], methods[name]["held_out_relative"] = study.held_out[name]
        if study.reference is not None:
            methods[name]["rmse_to_all_views_hu"] = difference_to_reference(study, name)
    config: dict[str, Any] = {
        "scan": scan,
        "beam": "cone" if study.A.pg.views().cone else "parallel",
        "views": study.prepared.measurement.geometry.num_views,
        "used_views": len(study.selection.used),
        "held_out_views": list(study.selection.held_out),
        "grid": list(study.A.vg.shape),
        "voxel_size": list(study.A.vg.voxel_size),
        "det_shape": list(study.A.pg.det_shape),
        "device": str(study.A.device),
        "projector": study.A.backend,
    }
    if study.reference is not None:
        config["stand_in_reference"] = study.reference.method
    return {
        "config": config,
        "corrections": study.prepared.record,
        "notes": list(notes),
        "methods": methods,
    }


def write_study(folder: Path, study: Study, report: Mapping[str, Any]) -> None:
    """Write reconstruct.json, reconstruct.png and a NIfTI file per method [HU]."""
    results = dict(study.results) | ({} if study.reference is None else {ALL_VIEWS: study.reference})
    shown = [
        (METHODS[name].label if name in METHODS else "all views", result.volume)
        for name, result in results.items()
    ]

    def write(new: Path) -> None:
        for name, result in results.items():
            write_nifti(new / f"{name}.nii.gz", result.volume)
            if result.std is not None:
                write_nifti(new / f"{name}_std.nii.gz", result.std)
        write_bytes(new / "reconstruct.png", slices_png(shown, _window([v for _, v in shown])))
        write_bytes(new / "reconstruct.json", json.dumps(report, indent=1).encode())

    replace_outputs(folder, "reconstruct.json", write)


def _window(volumes: Sequence[Volume]) -> tuple[float, float]:
    """Window [HU] from air to the brightest voxels, common to all volumes."""
    high = max(float(np.percentile(v.hu.numpy(), 99.5)) for v in volumes)
    return -1000.0, max(high, -900.0)


def format_table(report: Mapping[str, Any]) -> str:
    """Return the table that the command prints."""
    config = report["config"]
    grid = "x".join(map(str, config["grid"]))
    head = (
        f"{config['scan']}: {config['used_views']} of {config['views']} views, {config['beam']}, {grid},"
        f" voxels {config['voxel_size'][-1]:.4g} mm"
    )
    lines = [
        head,
        f"{'method':<12}{'residual':>10}{'held-out RMSE':>15}{'relative':>10}{'seconds':>9}  status",
    ]
    for name, m in report["methods"].items():
        residual = math.nan if m["residual"] is None else m["residual"]
        lines.append(
            f"{name:<12}{residual:>10.4f}{m.get('held_out_rmse', math.nan):>15.3g}"
            f"{m.get('held_out_relative', math.nan):>10.4f}{m['seconds']:>9.1f}  {m['ending']}"
        )
    return "\n".join(lines)
