"""Several methods on one measurement: their volumes, their errors, a table and a picture."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from core.metrics import quality
from core.progress import Callback
from core.reconstruct.methods import METHODS, Result, available, check_suited, reconstruct
from core.runs.config import ScanConfig
from core.runs.prepare import Prepared
from core.runs.writing import finite, write_beside
from core.scan.nifti import write_nifti
from core.show import slices_png


def compare(
    prepared: Prepared,
    names: Sequence[str],
    params: dict[str, Any],
    *,
    prior: Callable[[], Any],
    progress: Callable[[str], AbstractContextManager[Callback | None]],
) -> dict[str, Result]:
    """Reconstruct with each method; no names = all that suit the scan and whose prior is there.

    Raises
    ------
    ValueError
        Before any work, if a method named does not suit the scan.
    """
    check_suited(names, prepared.A.pg)
    results = {}
    needed = {
        name: prior() if METHODS[name].needs_prior else None for name in names or available(prepared.A.pg)
    }
    for name, its_prior in needed.items():
        with progress(METHODS[name].label) as callback:
            results[name] = reconstruct(
                name,
                prepared.A,
                prepared.measurement,
                params=params[name],
                prior=its_prior,
                callback=callback,
            )
    return results


def write_comparison(
    folder: Path, scan: ScanConfig, prepared: Prepared, results: dict[str, Result]
) -> dict[str, Any]:
    """Write compare.json, compare.png and a NIfTI per method; returns what compare.json holds."""

    folder.mkdir(parents=True, exist_ok=True)
    methods: dict[str, Any] = {}
    for name, result in results.items():
        write_nifti(folder / f"{name}.nii.gz", result.volume)
        if result.std is not None:
            write_nifti(folder / f"{name}_std.nii.gz", result.std)
        error = quality(prepared.reference, result.volume)
        methods[name] = {
            "psnr": finite(error.psnr),
            "ssim": finite(error.ssim),
            "rmse_hu": error.rmse_hu,
            "seconds": result.seconds,
            "peak_memory_mb": result.peak_memory_mb,
            "status": result.status,
            "params": result.params,
        }
        if result.plan is not None:
            methods[name]["plan"] = result.plan.to_json()
    config = scan.to_json() | {
        "grid": list(prepared.reference.shape),
        "voxel_size": list(prepared.reference.geometry.voxel_size),
        "det_shape": list(prepared.A.pg.det_shape),
        "device": str(prepared.A.device),
        "projector": prepared.A.backend,
    }
    report = {"config": config, "methods": methods}
    pictures = [("reference", prepared.reference)]
    pictures += [(METHODS[name].label, result.volume) for name, result in results.items()]
    write_beside(folder / "compare.png", slices_png(pictures))
    text = json.dumps(report, indent=1)
    write_beside(folder / "compare.json", text.encode())
    return json.loads(text)


def format_table(report: dict[str, Any]) -> str:
    """The table that the command prints."""
    config = report["config"]
    grid = "x".join(map(str, config["grid"]))
    photons = "no noise" if config["photons"] is None else f"{config['photons']:.3g} photons"
    head = f"{grid}, {config['beam']}, {config['num_views']} views over {config['angle_range']:g} degrees, {photons}, {config['device']}"
    lines = [head, f"{'method':<12}{'PSNR dB':>9}{'SSIM':>8}{'RMSE HU':>9}{'seconds':>9}{'MB':>7}  status"]
    for name, m in report["methods"].items():
        psnr, ssim = (math.nan if m[k] is None else m[k] for k in ("psnr", "ssim"))
        lines.append(
            f"{name:<12}{psnr:>9.2f}{ssim:>8.4f}{m['rmse_hu']:>9.1f}{m['seconds']:>9.2f}"
            f"{m['peak_memory_mb']:>7.0f}  {m['status']}"
        )
    return "\n".join(lines)
