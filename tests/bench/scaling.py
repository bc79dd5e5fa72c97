"""Time and memory of every method by grid and by number of views.

    python -m tests.bench.scaling [--grids 64x128x128,128x256x256,256x256x256] [--views 20,40,80]
    [--methods fbp,sirt,cgls,tv,diffusion] [--beam parallel] [--out docs/scaling.json]
    python -m tests.bench.scaling --plot docs/scaling.png

The grids are measured with the first number of views, the other numbers of views on the first grid, with 1e5
photons per ray. Each reconstruction runs in a new process, and the peak memory of the process counts. About
400 MB of it are the libraries. The object is the thorax phantom, evaluated on a quarter of the grid and
scanned on the grid itself, since only the size matters. Kernels are compiled before. Prints a table, with the
seconds per million voxels and view. `--out` keeps the figures as JSON. `--plot` measures nothing: it draws
the last figures of `docs/scaling.json`.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.bench.prior import shape_of
from tests.bench.versions import ROOT, machine
from tomopatch.volume import Shape

TIME_LIMIT = 3600  # seconds, of one reconstruction
HISTORY = ROOT / "docs" / "scaling.json"


@dataclass(frozen=True)
class Case:
    method: str
    grid: Shape
    num_views: int
    beam: str


def measure(case: Case) -> dict[str, float]:
    """Seconds of a reconstruction in this process, seconds of one A and A.T, and peak memory [MB]."""
    from tomopatch import METHODS, Projector, load_prior, phantom, reconstruct, simulate
    from tomopatch.reconstruct.classical.coarse import on_grid
    from tomopatch.runs.config import ScanConfig
    from tomopatch.volume import Volume

    def scanned(grid: Shape, num_views: int):
        drawn = phantom("thorax", tuple(max(4, n // 4) for n in grid))
        volume = Volume(on_grid(drawn.data, grid), drawn.geometry.with_shape(grid))
        scan = ScanConfig("phantom:thorax", beam=case.beam, num_views=num_views)
        A = Projector(volume.geometry, scan.geometry(volume.geometry))
        return volume, A, simulate(volume, A, supersample=1, photon_count=1e5)

    prior = {"prior": load_prior("small", "cpu")} if METHODS[case.method].needs_prior else {}
    _, A, measurement = scanned((8, 16, 16), 4)
    reconstruct(case.method, A, measurement, **prior)  # compiles the kernels
    volume, A, measurement = scanned(case.grid, case.num_views)
    began = time.perf_counter()
    reconstruct(case.method, A, measurement, **prior)
    seconds = time.perf_counter() - began
    began = time.perf_counter()
    A.T(A(volume.data))
    pair = time.perf_counter() - began
    return {
        "seconds": seconds,
        "projections": pair,
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000,
    }


def cases(arguments: argparse.Namespace) -> list[Case]:
    grids = [shape_of(grid) for grid in arguments.grids.split(",")]
    views = [int(n) for n in arguments.views.split(",")]
    sizes = [(grid, views[0]) for grid in grids] + [(grids[0], n) for n in views[1:]]
    methods = arguments.methods.split(",")
    return [Case(method, grid, n, arguments.beam) for method in methods for grid, n in sizes]


def plot(rows: list[dict], path: Path) -> None:
    """Draw time and memory by voxels and time by views, with lines of proportional growth."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import ScalarFormatter

    figure = Figure(figsize=(11, 3.6), layout="constrained")
    by_voxels, by_memory, by_views = figure.subplots(1, 3)
    first, views = rows[0]["grid"], rows[0]["num_views"]
    for method in dict.fromkeys(row["method"] for row in rows):
        own = [row for row in rows if row["method"] == method]
        sizes = [row for row in own if row["num_views"] == views]
        voxels = [math.prod(row["grid"]) / 1e6 for row in sizes]
        seconds = [row["seconds"] for row in sizes]
        (line,) = by_voxels.plot(voxels, seconds, "o-", label=method)
        ends = [voxels[0], voxels[-1]]
        by_voxels.plot(ends, [seconds[-1] * v / voxels[-1] for v in ends], ":", color=line.get_color())
        by_memory.plot(voxels, [row["memory"] / 1e3 for row in sizes], "o-")
        numbers = [row for row in own if row["grid"] == first]
        by_views.plot([row["num_views"] for row in numbers], [row["seconds"] for row in numbers], "o-")
    by_voxels.set(xlabel=f"million voxels ({views} views)", ylabel="seconds", xscale="log", yscale="log")
    by_memory.set(xlabel=f"million voxels ({views} views)", ylabel="memory of the process, GB", ylim=0)
    grid = " x ".join(map(str, first))
    by_views.set(xlabel=f"views ({grid} voxels)", ylabel="seconds", ylim=0)
    by_voxels.xaxis.set_major_formatter(ScalarFormatter())
    by_voxels.set_title("dotted: proportional to the voxels", fontsize=9)
    by_voxels.legend(fontsize=8)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--grids", default="64x128x128,128x256x256,256x256x256")
    parser.add_argument("--views", default="20,40,80")
    parser.add_argument("--methods", default="fbp,sirt,cgls,tv,diffusion")
    parser.add_argument("--beam", default="parallel", choices=("parallel", "cone"))
    parser.add_argument("--out", type=Path, help="JSON file, extended if it exists")
    parser.add_argument("--plot", type=Path, metavar="PNG", help="draw the last figures of docs/scaling.json")
    parser.add_argument("--case", help=argparse.SUPPRESS)  # for the new processes
    arguments = parser.parse_args()
    if arguments.case:
        stored = json.loads(arguments.case)
        print(json.dumps(measure(Case(**{**stored, "grid": tuple(stored["grid"])}))))
        return
    if arguments.plot:
        plot(json.loads(HISTORY.read_text("utf-8"))[-1]["rows"], arguments.plot)
        return
    found = []
    print("| method | grid | views | s | A and A.T, s | ms per million voxels and view | memory, MB |")
    print("|---" * 7 + "|")
    for case in cases(arguments):
        command = [sys.executable, "-m", "tests.bench.scaling", "--case", json.dumps(asdict(case))]
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIME_LIMIT)
        if done.returncode:
            raise SystemExit(f"{case} failed:\n{done.stderr[-2000:]}")
        row = json.loads(done.stdout.splitlines()[-1])
        voxels = case.grid[0] * case.grid[1] * case.grid[2] / 1e6
        per = 1e3 * row["seconds"] / voxels / case.num_views
        print(
            f"| {case.method} | {'x'.join(map(str, case.grid))} | {case.num_views} | {row['seconds']:.1f} |"
            f" {row['projections']:.2f} | {per:.0f} | {row['memory']:.0f} |",
            flush=True,
        )
        found.append(asdict(case) | row)
    if arguments.out:
        before = json.loads(arguments.out.read_text("utf-8")) if arguments.out.exists() else []
        entry = {"machine": machine(), "rows": found}
        arguments.out.write_text(json.dumps([*before, entry], indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
