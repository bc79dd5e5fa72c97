"""The prior against total variation at its best, on held-out volumes: the tables of the model card.

    python -m tests.bench.prior FOLDER [--volumes NAME,NAME] [--settings NAME,NAME] [--prior FILE] \
        [--without context|surround|guide|coordinates] [--set NAME=VALUE] [--grid ZxYxX]

Grid 64 x 128 x 128 if no other is asked for, of at most as many slices as the volume has; scans simulated from the volumes at
their own resolution. Total variation is run at several
weights and the one with the best PSNR is reported, per volume and setting; the prior runs with its defaults.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from core.metrics import quality
from core.prior.denoiser import PatchPrior
from core.prior.files import DEFAULT, load_prior
from core.reconstruct.methods import make_params, reconstruct
from core.runs.config import ScanConfig
from core.runs.prepare import scan_volume
from core.runs.prior import INPUTS
from core.scan.library import load_volume
from core.volume import Shape

VOLUMES = ("popi_4dct_phase00", "lidc_idri_0293", "lung_petct_dx_a0001")
SETTINGS: dict[str, dict] = {
    "parallel 8": {"num_views": 8},
    "parallel 20": {"num_views": 20},
    "parallel 60": {"num_views": 60},
    "parallel 20 at 1e5 photons": {"num_views": 20, "photons": 1e5},
    "parallel 20 at 1e4 photons": {"num_views": 20, "photons": 1e4},
    "parallel 60 over 90 degrees": {"num_views": 60, "angle_range": 90.0},
    "parallel 60 over 120 degrees": {"num_views": 60, "angle_range": 120.0},
    "cone 20": {"num_views": 20, "beam": "cone", "angle_range": 360.0},
    "cone 20 at 1e4 photons": {"num_views": 20, "beam": "cone", "angle_range": 360.0, "photons": 1e4},
    "cone 60": {"num_views": 60, "beam": "cone", "angle_range": 360.0},
}
WEIGHTS = (1.25e-4, 2.5e-4, 5e-4, 1e-3)
GRID = (64, 128, 128)


def measure(
    path: Path, setting: str, prior: PatchPrior, params: dict[str, Any], grid: Shape = GRID
) -> dict[str, tuple[float, float, float]]:
    """PSNR, SSIM and seconds of total variation at its best weight, and of the prior."""
    volume = load_volume(path)
    grid = (min(grid[0], volume.shape[0]), *grid[1:])
    prepared = scan_volume(volume, ScanConfig(source=str(path), grid=grid, **SETTINGS[setting]))
    rows: dict[str, tuple[float, float, float]] = {}
    for name, chosen in [("tv", {"lam": lam}) for lam in WEIGHTS] + [("diffusion", params)]:
        started = time.perf_counter()
        result = reconstruct(
            name, prepared.A, prepared.measurement, params=make_params(name, chosen), prior=prior,
            callback=lambda step: None,
        )  # fmt: skip
        seconds = time.perf_counter() - started
        found = quality(prepared.reference, result.volume)
        if name not in rows or found.psnr > rows[name][0]:
            rows[name] = (found.psnr, found.ssim, seconds)
    return rows


def shape_of(text: str) -> Shape:
    z, y, x = (int(n) for n in text.split("x"))
    return z, y, x


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--volumes", default=",".join(VOLUMES))
    parser.add_argument("--settings", default=",".join(SETTINGS))
    parser.add_argument("--prior", default=DEFAULT)
    parser.add_argument("--without", choices=(*INPUTS, "guide"), help="an input of the prior to switch off")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a parameter of diffusion"
    )
    parser.add_argument("--grid", default=GRID, type=shape_of, metavar="ZxYxX")
    arguments = parser.parse_args()
    prior = load_prior(arguments.prior)
    if arguments.without:
        prior = prior.without(**{arguments.without: True})
    params = {name: json.loads(value) for name, value in (text.split("=") for text in arguments.set)}
    print(
        "| volume | scan | TV at its best | diffusion | gain | seconds of TV, diffusion |\n|---|---|---|---|---|---|"
    )
    for volume in arguments.volumes.split(","):
        path = next(arguments.folder.glob(f"{volume}.*"))
        for setting in arguments.settings.split(","):
            rows = measure(path, setting, prior, params, arguments.grid)
            (a, b, c), (d, e, f) = rows["tv"], rows["diffusion"]
            print(
                f"| `{volume}` | {setting} | {a:.2f} / {b:.3f} | {d:.2f} / {e:.3f} | {d - a:+.2f} | {c:.0f}, {f:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
