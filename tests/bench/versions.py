"""Time and memory of two versions of the product in one run on one machine.

    python -m tests.bench.versions [--against HEAD~1] [--only NAME,...] [--repeats 3] [--record]

The earlier version is checked out into a temporary folder. Both versions run the same tasks in turn, by the
public names of the package. Each task runs in a new process, and the best of the repeats counts. Prints a
table of seconds, their ratio and the largest memory of the process. `--record` adds the result to
`docs/benchmarks.json`, with the machine and both commits.

    python -m tests.bench.versions --table

prints the recorded results.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HISTORY = ROOT / "docs" / "benchmarks.json"
TIME_LIMIT = 1800  # seconds, of one task

SCAN = """
volume = phantom("thorax", {shape})
scan = {beam}.circular(volume.geometry, num_views=20{distances})
A = Projector(volume.geometry, scan)
measurement = simulate(volume, A, supersample=1, photon_count={photons})
"""
BEAMS = {"parallel": ("ParallelBeam", ""), "cone": ("ConeBeam", ", src_orig_dist=800.0, src_det_dist=1200.0")}
SMALL, LARGE = (64, 128, 128), (128, 256, 256)


def _scan(beam: str, shape: tuple[int, int, int], photons: float | None = None) -> str:
    name, distances = BEAMS[beam]
    return SCAN.format(shape=shape, beam=name, distances=distances, photons=photons)


def _tasks() -> dict[str, tuple[str, str]]:
    """Preparation and task, as source text, by name. The preparation runs the task's kernels once."""
    tasks = {"import tomopatch": ("", ""), "thorax phantom": ("", 'phantom("thorax", (64, 128, 128))')}
    for beam in BEAMS:
        for label, shape in (("S", SMALL), ("M", LARGE)):
            projections = _scan(beam, shape) + "y = measurement.projections; A.T(A(volume.data))"
            tasks[f"A, {beam}, {label}"] = (projections, "for i in range(5): A(volume.data)")
            tasks[f"A.T, {beam}, {label}"] = (projections, "for i in range(5): A.T(y)")
        analytic = "fbp" if beam == "parallel" else "fdk"
        for method in (analytic, "sirt", "cgls", "tv"):
            once = "" if method == analytic else ", num_iterations=2"
            ready = _scan(beam, SMALL) + f'reconstruct("{method}", A, measurement{once})'
            tasks[f"{method}, {beam}, S"] = (ready, f'reconstruct("{method}", A, measurement)')
    ready = _scan("parallel", SMALL) + 'prior = load_prior("small", "cpu")\n'
    ready += 'reconstruct("diffusion", A, measurement, prior=prior, num_steps=1)'
    tasks["diffusion, restore, S"] = (ready, 'reconstruct("diffusion", A, measurement, prior=prior)')
    sample = 'reconstruct("diffusion", A, measurement, prior=prior, mode="posterior", num_steps=8)'
    tasks["diffusion, 8 steps from noise, S"] = (ready, sample)
    return tasks


TASKS = _tasks()

RUNNER = """
import json, resource, sys, time, warnings
warnings.simplefilter("ignore")
began = time.perf_counter()
from tomopatch import *
import tomopatch
imported = time.perf_counter() - began
assert tomopatch.__file__.startswith({root!r}), tomopatch.__file__
{ready}
began = time.perf_counter()
{task}
seconds = time.perf_counter() - began if {task!r} else imported
print(json.dumps([seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000]))
"""


@dataclass(frozen=True)
class Row:
    """Seconds and peak memory [MB] of a task, before and now."""

    name: str
    before: float
    now: float
    memory_before: float
    memory_now: float


def measure(root: Path, name: str) -> tuple[float, float]:
    """Seconds of a task of the version in folder `root`, and the peak memory of its process [MB]."""
    ready, task = TASKS[name]
    environment = os.environ | {"PYTHONPATH": str(root / "core")}
    done = subprocess.run(
        [sys.executable, "-c", RUNNER.format(root=str(root), ready=ready, task=task)],
        env=environment, capture_output=True, text=True, timeout=TIME_LIMIT,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{name!r} failed in {root}:\n{done.stderr[-2000:]}")
    seconds, memory = json.loads(done.stdout.splitlines()[-1])
    return seconds, memory


def compare(name: str, before: Path, now: Path, repeats: int) -> Row:
    """One task in both versions, in turn."""
    found: dict[Path, list[tuple[float, float]]] = {before: [], now: []}
    for i in range(repeats):
        for root in (before, now) if i % 2 == 0 else (now, before):
            found[root].append(measure(root, name))
    (t0, m0), (t1, m1) = (tuple(map(min, zip(*found[root], strict=True))) for root in (before, now))
    return Row(name, t0, t1, m0, m1)


def git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120, check=True
    )
    return done.stdout.strip()


def machine() -> str:
    """Processor, number of cores, and system."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text("utf-8").splitlines()
        name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), name)
        wide = any("avx512f" in line for line in lines if line.startswith("flags"))
        name += ", AVX-512" if wide else ""
    return f"{name}, {os.cpu_count()} cores, {platform.system()}"


def table(rows: list[Row]) -> str:
    lines = ["| task | before, s | now, s | ratio | memory, MB |", "|---|---|---|---|---|"]
    for row in rows:
        memory = f"{row.memory_before:.0f}, {row.memory_now:.0f}"
        lines.append(
            f"| {row.name} | {row.before:.3f} | {row.now:.3f} | {row.before / row.now:.2f} | {memory} |"
        )
    return "\n".join(lines)


def recorded() -> list[dict]:
    return json.loads(HISTORY.read_text("utf-8")) if HISTORY.exists() else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--against", default="HEAD~1", help="earlier version, as git names it")
    parser.add_argument("--only", default="", help="parts of names, separated by semicolons")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--table", action="store_true")
    arguments = parser.parse_args()
    if arguments.table:
        for entry in recorded():
            print(f"\n{entry['date']}, {entry['machine']}, {entry['before']} and {entry['now']}\n")
            print(table([Row(**row) for row in entry["rows"]]))
        return
    parts = [part.strip() for part in arguments.only.split(";")]
    names = [name for name in TASKS if any(part in name for part in parts)]
    if not names:
        raise SystemExit(f"no task has {arguments.only!r} in its name; the tasks are: {'; '.join(TASKS)}.")
    before, now = git("rev-parse", "--short", arguments.against), git("rev-parse", "--short", "HEAD")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        git("worktree", "add", "--detach", f"{folder}/before", before)
        try:
            rows = []
            for name in names:
                rows.append(compare(name, Path(folder) / "before", ROOT, arguments.repeats))
                print(table(rows[-1:]).splitlines()[-1], flush=True)
        finally:
            git("worktree", "remove", "--force", f"{folder}/before")
    if arguments.record:
        entry = {
            "date": date.today().isoformat(), "machine": machine(), "before": before, "now": now,
            "rows": [asdict(row) for row in rows],
        }  # fmt: skip
        HISTORY.write_text(json.dumps([*recorded(), entry], indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
