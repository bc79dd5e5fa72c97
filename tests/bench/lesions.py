"""Small lesions: remaining contrast, and detectability against lesion-free places.

    python -m tests.bench.lesions VOLUME [--views 8,20,60] [--photons 1e5] [--methods tv,diffusion] [--prior
    FILE]

Balls of several sizes and densities are planted into the lungs of one volume, which is scanned and
reconstructed with and without them (64 x 128 x 128, parallel beam, simulated at the volume's own resolution).
The statistic is the mean within a ball minus that of the surrounding shell.

- Contrast left: change of the statistic by the lesion, relative to the true change.
- d': mean statistic of lesions minus that of lesion-free places of the same size, in standard deviations of
  the latter.
  Above 3 a lesion is hard to miss, below 1 hard to see.
- False: share of lesion-free places whose statistic exceeds half of a lesion's true value, as a reader might
  see them.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from tomopatch.library import load_volume
from tomopatch.phantoms.lesions import hiding_place, plant
from tomopatch.phantoms.scene import Lesion
from tomopatch.prior.files import DEFAULT, load_prior
from tomopatch.reconstruct.methods import make_params
from tomopatch.reconstruct.run import reconstruct
from tomopatch.runs.config import ScanConfig
from tomopatch.runs.prepare import Prepared, simulate_scan
from tomopatch.volume import Triple, Volume, VolumeGeometry, resample

GRID = (64, 128, 128)
RADII = (4.0, 6.0, 9.0)
DENSITIES = (-550.0, 30.0)  # HU: ground glass, solid
EACH, FREE = 3, 40  # lesions of a kind; places without one


def apart(volume: Volume, radius: float, taken: Sequence[Lesion], seed: int) -> Triple:
    """Return a place in the lungs at a distance from the existing lesions."""
    for attempt in range(500):
        place = hiding_place(volume, radius, seed=seed + attempt)
        if all(_distance(place, there.centre) > 2 * (radius + there.radius) for there in taken):
            return place
    raise ValueError(f"this volume has no room for another lesion of {radius:g} mm.")


def statistic(hu: Tensor, vg: VolumeGeometry, centre: Triple, radius: float) -> float:
    """Return the mean within the ball minus that of the shell up to twice its radius [HU]."""
    squares = [(vg.axis(i) - c) ** 2 for i, c in enumerate(centre)]
    distance = (squares[0][:, None, None] + squares[1][None, :, None] + squares[2][None, None, :]).sqrt()
    reach = max(radius, float(distance.min()) + 1e-3)  # one voxel at least
    ball, shell = hu[distance <= reach], hu[(distance > 1.3 * reach) & (distance <= 2 * reach)]
    return float(ball.mean() - shell.mean())


def rows(
    volume: Volume, scan: ScanConfig, methods: Sequence[str], prior_name: str
) -> Iterator[tuple[float, float, str, float, float, float]]:
    """Yield radius [mm], density [HU], method, contrast left, d', and share of false places."""
    coarse = resample(volume, GRID)  # the search for places is faster on this grid
    planted: list[Lesion] = []
    for radius in RADII[::-1]:  # large lesions first: they need more space
        for density in DENSITIES * EACH:
            planted.append(Lesion(apart(coarse, radius, planted, 1000 * len(planted)), radius, density))
    free = {radius: [hiding_place(coarse, radius, seed=seed) for seed in range(FREE)] for radius in RADII}
    without, with_them = simulate_scan(volume, scan), simulate_scan(plant(volume, planted), scan)
    vg, prior = without.reference.geometry, load_prior(prior_name)

    def made(prepared: Prepared, method: str) -> Tensor:
        result = reconstruct(
            method, prepared.A, prepared.measurement, params=make_params(method), prior=prior
        )
        return result.volume.hu

    true_with, true_without = with_them.reference.hu, without.reference.hu
    for method in methods:
        seen, unseen = made(with_them, method), made(without, method)
        for radius in RADII:
            nothing = torch.tensor([statistic(unseen, vg, p, radius) for p in free[radius]])
            for density in DENSITIES:
                kind = [lesion for lesion in planted if (lesion.radius, lesion.hu) == (radius, density)]
                present, absent, true, before = (
                    torch.tensor([statistic(x, vg, lesion.centre, radius) for lesion in kind])
                    for x in (seen, unseen, true_with, true_without)
                )
                left = float(((present - absent) / (true - before)).mean())
                visible = float((present.mean() - nothing.mean()) / nothing.std())
                false = float((nothing > true.mean() / 2).float().mean())
                yield radius, density, method, left, visible, false


def _distance(a: Triple, b: Triple) -> float:
    return sum((p - q) ** 2 for p, q in zip(a, b, strict=True)) ** 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("volume")
    parser.add_argument("--views", default="8,20,60")
    parser.add_argument("--photons", type=float)
    parser.add_argument("--methods", default="tv,diffusion")
    parser.add_argument("--prior", default=DEFAULT)
    arguments = parser.parse_args()
    volume = load_volume(arguments.volume)
    print("| views | radius mm | HU | method | contrast left | d' | false |\n|---|---|---|---|---|---|---|")
    for views in map(int, arguments.views.split(",")):
        scan = ScanConfig(arguments.volume, GRID, num_views=views, photons=arguments.photons)
        for radius, density, method, left, visible, false in rows(
            volume, scan, arguments.methods.split(","), arguments.prior
        ):
            print(
                f"| {views} | {radius:g} | {density:g} | {method} | {left:.2f} | {visible:.1f} | {false:.2f} "
                "|",
                flush=True,
            )


if __name__ == "__main__":
    main()
