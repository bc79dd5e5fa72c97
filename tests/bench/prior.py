"""Prior against total variation with its best weight, on held-out volumes: the tables of the model card.

    python -m tests.bench.prior FOLDER [--volumes NAME,phantom:NAME] [--settings NAME,NAME] [--prior FILE] \
        [--without context|neighbourhoods|least_squares|coordinates] [--set NAME=VALUE] [--samples N] [--grid
        ZxYxX]

The default grid is 64 x 128 x 128, with at most as many slices as the volume. Measurements are simulated at
the volumes' own resolution. Total variation runs with several weights, and the one with the best PSNR is
reported for each volume and setting. The prior runs with its defaults; with `--samples 4` the mean of four
samples is reported as well. Volumes can also be phantoms (phantom:head), which differ from all training data.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from tomopatch.analysis.metrics import quality
from tomopatch.prior.denoiser import PatchPrior
from tomopatch.prior.files import DEFAULT, load_prior
from tomopatch.prior.network import ABLATIONS
from tomopatch.reconstruct.methods import make_params
from tomopatch.reconstruct.run import reconstruct
from tomopatch.runs.config import ScanConfig
from tomopatch.runs.prepare import simulate_scan, source_volume
from tomopatch.volume import Shape

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


class Row(NamedTuple):
    """Result of one method on one scan."""

    psnr: float
    ssim: float
    seconds: float
    passes: int
    """Passes of the network over the whole grid; 0 without a network."""

    def __str__(self) -> str:
        return f"{self.psnr:.2f} / {self.ssim:.3f}"


def measure(
    source: str, setting: str, prior: PatchPrior, params: dict[str, Any], grid: Shape = GRID, samples: int = 1
) -> dict[str, Row]:
    """Return the results of total variation (best weight), of the prior, and of the mean of its samples."""
    scan = ScanConfig(source=source, grid=grid, **SETTINGS[setting])
    volume = source_volume(scan)
    prepared = simulate_scan(volume, replace(scan, grid=(min(grid[0], volume.shape[0]), *grid[1:])))
    tried = [("tv", "tv", {"lam": lam}) for lam in WEIGHTS] + [("diffusion", "diffusion", params)]
    if samples > 1:
        tried.append(("samples", "diffusion", params | {"num_samples": samples}))
    rows: dict[str, Row] = {}
    for name, method, chosen in tried:
        stages: list[str] = []
        started = time.perf_counter()
        result = reconstruct(
            method, prepared.A, prepared.measurement, params=make_params(method, chosen), prior=prior,
            callback=lambda step, stages=stages: stages.append(step.stage),
        )  # fmt: skip
        seconds = time.perf_counter() - started
        found = quality(prepared.reference, result.volume)
        passes = 0 if method == "tv" else sum(stage != "initial" for stage in stages)
        if name not in rows or found.psnr > rows[name].psnr:
            rows[name] = Row(found.psnr, found.ssim, seconds, passes)
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
    parser.add_argument("--without", choices=ABLATIONS, help="an input of the prior to switch off")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a parameter of diffusion"
    )
    parser.add_argument("--samples", type=int, default=1, help="also report the mean of this many samples")
    parser.add_argument("--grid", default=GRID, type=shape_of, metavar="ZxYxX")
    arguments = parser.parse_args()
    prior = load_prior(arguments.prior)
    if arguments.without:
        prior = prior.without(**{arguments.without: True})
    params = {name: json.loads(value) for name, value in (text.split("=") for text in arguments.set)}
    n = arguments.samples
    print(
        "| volume | scan | TV at its best | diffusion | gain | passes | seconds of TV, diffusion |"
        + (f" mean of {n} samples | seconds |" if n > 1 else "")
    )
    print("|---" * (9 if n > 1 else 7) + "|")
    for volume in arguments.volumes.split(","):
        phantom = volume.startswith("phantom:")
        source = volume if phantom else str(next(arguments.folder.glob(f"{volume}.*")))
        for setting in arguments.settings.split(","):
            rows = measure(source, setting, prior, params, arguments.grid, n)
            tv, ours, mean = rows["tv"], rows["diffusion"], rows.get("samples")
            print(
                f"| `{volume}` | {setting} | {tv} | {ours} | {ours.psnr - tv.psnr:+.2f} | {ours.passes} "
                f"| {tv.seconds:.0f}, {ours.seconds:.0f} |"
                + (f" {mean}, {mean.psnr - ours.psnr:+.2f} | {mean.seconds:.0f} |" if mean else ""),
                flush=True,
            )


if __name__ == "__main__":
    main()
