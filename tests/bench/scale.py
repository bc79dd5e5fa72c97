"""Complete reconstructions with the prior at the sizes of the protocols: time of each stage, and memory.

    python -m tests.bench.scale [--sizes S,M,L] [--beams parallel,cone] [--prior base] [--set NAME=VALUE]
    [--profile]

S: 64x128x128, 20 views. M: 256^3, 8 views. L: 256x512x512, 60 views. The object is the thorax phantom,
evaluated on a coarse grid, interpolated, and scanned on the grid itself, since only the size matters. Runs on
the GPU if there is one. `--prior` names a file, a pretrained prior, or a preset with untrained weights, which
take the same time.
"""

from __future__ import annotations

import argparse
import json
import time

import torch

from tomopatch import Projector, load_prior, phantom, reconstruct, simulate
from tomopatch.prior.denoiser import PatchPrior
from tomopatch.prior.files import DEFAULT, prior_path
from tomopatch.prior.network import PRESETS
from tomopatch.prior.precond import Precond
from tomopatch.progress import Step
from tomopatch.reconstruct.classical.coarse import on_grid
from tomopatch.reconstruct.methods import make_params
from tomopatch.runs.config import ScanConfig
from tomopatch.volume import Volume

SIZES = {"S": ((64, 128, 128), 20), "M": ((256, 256, 256), 8), "L": ((256, 512, 512), 60)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default="S")
    parser.add_argument("--beams", default="parallel")
    parser.add_argument("--prior", default=DEFAULT)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="of diffusion")
    parser.add_argument("--profile", action="store_true", help="profile of the last reconstruction")
    arguments = parser.parse_args()
    params = {name: json.loads(value) for name, value in (part.split("=", 1) for part in arguments.set)}
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if prior_path(arguments.prior).exists():
        prior = load_prior(arguments.prior, device)
    else:
        prior = PatchPrior(Precond(PRESETS[arguments.prior]).to(device))
    for size in arguments.sizes.split(","):
        for beam in arguments.beams.split(","):
            print(size, beam, measure(size, beam, prior, params), flush=True)
    if arguments.profile:
        activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
        with torch.profiler.profile(activities=activities[: 1 + (device.type == "cuda")]) as profile:
            measure(size, beam, prior, params)
        by = "self_cuda_time_total" if device.type == "cuda" else "self_cpu_time_total"
        print(profile.key_averages().table(sort_by=by, row_limit=25, max_name_column_width=70))


def measure(size: str, beam: str, prior: PatchPrior, params: dict) -> str:
    shape, views = SIZES[size]
    drawn = phantom("thorax", (shape[0] // 4, shape[1] // 4, shape[2] // 4))
    volume = Volume(on_grid(drawn.data, shape), drawn.geometry.with_shape(shape))
    A = Projector(
        volume.geometry,
        ScanConfig("phantom:thorax", beam=beam, num_views=views).geometry(volume.geometry),
    )
    measurement = simulate(volume, A, supersample=1).to(prior.device)
    if prior.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    stages: dict[str, float] = {}
    before = started = time.perf_counter()

    def report(step: Step) -> None:
        nonlocal before
        now = time.perf_counter()
        name = step.stage or "passes"
        stages[name] = stages.get(name, 0.0) + now - before
        before = now

    result = reconstruct(
        "diffusion", A, measurement, params=make_params("diffusion", params), prior=prior, callback=report
    )
    seconds = time.perf_counter() - started
    parts = ", ".join(f"{name} {spent:.1f} s" for name, spent in stages.items())
    memory = (
        f"{torch.cuda.max_memory_allocated() / 1e9:.1f} GB on the GPU"
        if prior.device.type == "cuda"
        else f"{result.peak_memory_mb / 1e3:.1f} GB"
    )
    return f"{seconds:.1f} s ({parts}), {memory}, {A.backend}"


if __name__ == "__main__":
    main()
