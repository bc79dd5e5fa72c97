"""Minimum and actual cost of a pass of the prior on this device.

    python -m tests.bench.roofline [--priors base,small] [--grid 64x128x128]

Operations and minimum memory traffic of a tile are counted: weights once for a batch of tiles, inputs and
outputs of each convolution once. Products of large matrices and a copy in memory measure the speed of the
device. The floor is the longer of operations over speed and bytes over bandwidth. The measured time of a
batch of tiles includes smoothing, cutting, and the network.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from tests.bench.prior import shape_of
from tomopatch.prior.denoiser import PatchPrior, bf16_pays
from tomopatch.prior.files import load_prior
from tomopatch.prior.patches import PatchGrid
from tomopatch.prior.precond import Numbers

SECONDS = 1.0  # of one measurement, at least


def seconds(f: Callable[[], object], device: torch.device) -> float:
    """Return the shortest time of a call within `SECONDS`; the first call is excluded."""

    def timed() -> float:
        began = time.perf_counter()
        f()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - began

    timed()
    times = [timed()]
    while sum(times) < SECONDS:
        times.append(timed())
    return min(times)


def speed(device: torch.device, dtype: torch.dtype) -> tuple[float, float]:
    """Return operations per second in matrix products, and bytes per second of a copy (read and write)."""
    n = 8192 if device.type == "cuda" else 2048
    a = torch.ones(n, n, device=device, dtype=dtype)
    block = torch.ones(2**28 if device.type == "cuda" else 2**26, device=device)
    other = torch.empty_like(block)
    return 2 * n**3 / seconds(lambda: a @ a, device), 8 * block.numel() / seconds(
        lambda: other.copy_(block), device
    )


@contextmanager
def touched(model: nn.Module) -> Iterator[list[int]]:
    """Count the elements that the model's convolutions read and write in this context."""
    counts = [0]

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        counts[0] += inputs[0].numel() + output.numel()

    hooks = [
        m.register_forward_hook(count)
        for m in model.modules()
        if any(p.dim() == 5 for p in m.parameters(recurse=False))
    ]
    yield counts
    for hook in hooks:
        hook.remove()


def numbers(n: int, device: torch.device) -> Numbers:
    """Return arbitrary scalar inputs for n patches."""
    ones = torch.ones(n, device=device)
    return Numbers(0.1 * ones, 0.1 * ones, 3 * torch.ones(n, 3, device=device), 0.1 * ones, 0.1 * ones)


def row(name: str, device: torch.device, grid: tuple[int, int, int]) -> None:
    prior = load_prior(name, device)
    tile, config = prior.config.tile, prior.config
    batch = torch.zeros(prior.tile_batch, config.num_inputs, *tile, device=device)
    tiles = len(PatchGrid(grid, tile))
    dtypes = (
        (False, True) if bf16_pays(device) else (False,)
    )  # minutes on devices without bfloat16 instructions
    for bf16 in dtypes:
        chosen = PatchPrior(prior.model, bf16=bf16, tile_batch=prior.tile_batch)
        with FlopCounterMode(display=False) as counter, touched(prior.model) as counts:
            chosen.denoise_tiles(batch[:1], numbers(1, device))
        size = 2 if bf16 else 4
        weights = sum(p.numel() for p in prior.model.parameters()) / prior.tile_batch
        operations, traffic = counter.get_total_flops(), size * (counts[0] + weights)
        rate, bandwidth = speed(device, torch.bfloat16 if bf16 else torch.float32)
        floor = max(operations / rate, traffic / bandwidth)
        found = seconds(partial(chosen.denoise_tiles, batch, numbers(len(batch), device)), device) / len(
            batch
        )
        print(
            f"| `{name}` | {'bfloat16' if bf16 else 'float32'} | {operations / 1e9:.1f} GFLOP | "
            f"{traffic / 1e6:.0f} MB "
            f"| {rate / 1e9:.0f} GFLOP/s | {bandwidth / 1e9:.1f} GB/s | {1e3 * operations / rate:.1f} ms | "
            f"{1e3 * traffic / bandwidth:.1f} ms "
            f"| {1e3 * found:.1f} ms | {found / floor:.1f} | {tiles * floor:.1f} s | {tiles * found:.1f} s |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--priors", default="base,small")
    parser.add_argument("--grid", default=(64, 128, 128), type=shape_of, metavar="ZxYxX")
    arguments = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    print(
        "| prior | in | a tile | reads and writes | matrices | memory | floor: operations | floor: memory "
        "| a tile takes | over the floor | a pass, floor | a pass |"
    )
    print("|---" * 12 + "|")
    for name in arguments.priors.split(","):
        with torch.inference_mode():
            row(name, device, arguments.grid)


if __name__ == "__main__":
    main()
