"""Contribution of each input of a prior to denoising, on held-out volumes.

    python -m tests.bench.inputs FOLDER [--prior small] [--grid 8x16x16] [--sigma 3] [--draws 8] [--body]

Prints the root mean square error of one pass (units of 1000 HU) with all inputs, and without each of them.
`--body` crops the volumes to the body.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from tests.bench.prior import VOLUMES, shape_of
from tomopatch.library import load_volume
from tomopatch.prior.denoiser import PatchPrior
from tomopatch.prior.files import GENERATOR, load_prior
from tomopatch.runs.prior import INPUTS
from tomopatch.volume import Volume, body_box, crop, resample


def error(prior: PatchPrior, volumes: list[Volume], sigma: float, draws: int) -> float:
    """Return the root mean square error of one pass over each volume and each of `draws` noises."""
    squares = []
    for volume in volumes:
        x = PatchPrior.to_network(volume.data)
        for seed in range(draws):
            generator = torch.Generator().manual_seed(seed)
            noisy = x + sigma * torch.randn(x.shape, generator=generator)
            denoised = prior.bind(volume.geometry.voxel_size, generator=generator)(noisy, sigma)
            squares.append((denoised - x).square().mean())
    return float(torch.stack(squares).mean().sqrt())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--prior", default=GENERATOR)
    parser.add_argument("--grid", default=(8, 16, 16), type=shape_of, metavar="ZxYxX")
    parser.add_argument("--sigma", default=3.0, type=float)
    parser.add_argument("--draws", default=8, type=int)
    parser.add_argument("--body", action="store_true", help="crop the volumes to the body")
    arguments = parser.parse_args()
    prior = load_prior(arguments.prior)
    whole = [load_volume(next(arguments.folder.glob(f"{name}.*"))) for name in VOLUMES]
    bodies = [crop(v, body_box(v)) for v in whole] if arguments.body else whole
    volumes = [resample(v, arguments.grid) for v in bodies]
    for off in (None, *INPUTS):
        chosen = prior if off is None else prior.without(**{off: True})
        print(
            f"{f'without {off}' if off else 'all inputs':20} "
            f"{error(chosen, volumes, arguments.sigma, arguments.draws):.3f}"
        )


if __name__ == "__main__":
    main()
