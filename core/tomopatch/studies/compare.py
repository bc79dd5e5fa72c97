"""Comparison of several methods on one measurement: volumes, errors, a table and a picture."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from tomopatch.analysis.metrics import Quality, quality
from tomopatch.export.slices import slices_png
from tomopatch.geometry.field_of_view import inside_field_of_view
from tomopatch.io.nifti import write_nifti
from tomopatch.io.writing import finite, write_bytes
from tomopatch.notes import note
from tomopatch.prior.denoiser import PatchPrior
from tomopatch.progress import Callback
from tomopatch.reconstruct.methods import METHODS, available, check_suited
from tomopatch.reconstruct.run import Result, reconstruct
from tomopatch.runs.config import ScanConfig
from tomopatch.runs.prepare import Prepared
from tomopatch.studies.outputs import replace_outputs

_INSIDE = "inside_field_of_view"
_METRICS = f"{'PSNR dB':>9}{'SSIM':>8}{'RMSE HU':>9}"


def compare(
    prepared: Prepared,
    names: Sequence[str],
    params: dict[str, Any],
    *,
    prior: Callable[[], PatchPrior],
    progress: Callable[[str], AbstractContextManager[Callback | None]],
) -> dict[str, Result]:
    """Reconstruct with each method.

    Without names, all methods that suit the scan run; a method whose prior cannot be loaded is skipped with a
    note.

    Raises
    ------
    ValueError
        Before any work, if a named method does not suit the scan or its prior cannot be loaded.
    """
    check_suited(names, prepared.A.pg)
    results = {}
    priors: dict[str, PatchPrior | None] = {}
    for name in names or available(prepared.A.pg):
        try:
            priors[name] = prior() if METHODS[name].needs_prior else None
        except ValueError as error:
            if names:
                raise
            note(f"{METHODS[name].label} is skipped: {error}")
    for name, method_prior in priors.items():
        with progress(METHODS[name].label) as callback:
            results[name] = reconstruct(
                name,
                prepared.A,
                prepared.measurement,
                params=params[name],
                prior=method_prior,
                callback=callback,
            )
    return results


def write_comparison(
    folder: Path,
    scan: ScanConfig,
    prepared: Prepared,
    results: dict[str, Result],
    *,
    remarks: Sequence[str] = (),
) -> dict[str, Any]:
    """Write compare.json, compare.png and a NIfTI file per method; return the contents of compare.json.

    They replace all files of an earlier comparison, including volumes of other methods, so that every volume
    in the folder belongs to compare.json. The earlier comparison stays until all new files are written.
    """
    methods: dict[str, Any] = {}
    inside = inside_field_of_view(prepared.reference.geometry, prepared.A.pg)
    partly = inside is not None and bool(inside.any())
    for name, result in results.items():
        methods[name] = _figures(quality(prepared.reference, result.volume)) | result.summary()
        if partly:
            methods[name][_INSIDE] = _figures(quality(prepared.reference, result.volume, inside=inside))
    config = scan.to_json() | {
        "grid": list(prepared.reference.shape),
        "voxel_size": list(prepared.reference.geometry.voxel_size),
        "det_shape": list(prepared.A.pg.det_shape),
        "device": str(prepared.A.device),
        "projector": prepared.A.backend,
    }
    report: dict[str, Any] = {"config": config, "remarks": list(remarks), "methods": methods}
    if inside is not None:
        report["field_of_view_share"] = float(inside.double().mean())
    if prepared.figures:
        report["corrections"] = prepared.figures
    pictures = [("reference", prepared.reference)]
    pictures += [(METHODS[name].label, result.volume) for name, result in results.items()]
    text = json.dumps(report, indent=1)

    def write(new: Path) -> None:
        for method, result in results.items():
            write_nifti(new / f"{method}.nii.gz", result.volume)
            if result.std is not None:
                write_nifti(new / f"{method}_std.nii.gz", result.std)
        write_bytes(new / "compare.png", slices_png(pictures))
        write_bytes(new / "compare.json", text.encode())

    replace_outputs(folder, "compare.json", write)
    return json.loads(text)


def format_table(report: dict[str, Any]) -> str:
    """The table that the command prints."""
    config = report["config"]
    grid = "x".join(map(str, config["grid"]))
    photons = "no noise" if config["photons"] is None else f"{config['photons']:.3g} photons"
    views = f"{config['num_views']} views over {config['angle_range']:g} degrees"
    head = f"{grid}, {config['beam']}, {views}, {photons}, {config['device']}"
    lines = [head, f"{'method':<12}{_METRICS}{'seconds':>9}{'MB':>7}  status"]
    for name, m in report["methods"].items():
        lines.append(f"{name:<12}{_row(m)}{m['seconds']:>9.2f}{m['peak_memory_mb']:>7.0f}  {m['ending']}")
    within = {name: m[_INSIDE] for name, m in report["methods"].items() if _INSIDE in m}
    if within:
        lines.append(f"inside the field of view ({report['field_of_view_share']:.0%} of the grid):")
        lines += [f"{name:<12}{_row(m)}" for name, m in within.items()]
    return "\n".join(lines)


def _figures(found: Quality) -> dict[str, Any]:
    return {"psnr": finite(found.psnr), "ssim": finite(found.ssim), "rmse_hu": found.rmse_hu}


def _row(figures: dict[str, Any]) -> str:
    psnr, ssim = (math.nan if figures[k] is None else figures[k] for k in ("psnr", "ssim"))
    return f"{psnr:>9.2f}{ssim:>8.4f}{figures['rmse_hu']:>9.1f}"
