"""Every method on every protocol, as a table.

    python -m tests.bench.protocols FOLDER --out FILE.csv [--methods fbp,sirt,cgls,tv,base,small] [--volumes
    NAME] [--settings NAME]

A method is the name of a classical method, or the name or file of a prior. Held-out volumes are reconstructed
on 64 x 128 x 128 voxels, with at most as many slices as the volume, from measurements simulated at the
volumes' own resolution. Classical methods use their best setting for each scan (`chosen`): the iteration of
SIRT and CGLS, the weight of total variation, and the filter of FBP or FDK with the best PSNR. Priors use
their defaults. The time is that of the best run, for SIRT and CGLS up to the best iteration. Rows that the
file contains already are kept, so that the same command continues an interrupted one. Prints the PSNR by
method.
"""

from __future__ import annotations

import argparse
import csv
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from tests.bench.prior import GRID, SETTINGS, VOLUMES, WEIGHTS
from tomopatch.analysis.metrics import DATA_RANGE, HU_RANGE, psnr, quality
from tomopatch.geometry.beams import ConeBeam
from tomopatch.prior.files import load_prior
from tomopatch.progress import Step
from tomopatch.reconstruct.methods import make_params
from tomopatch.reconstruct.run import reconstruct
from tomopatch.runs.config import ScanConfig
from tomopatch.runs.prepare import Prepared, simulate_scan, source_volume
from tomopatch.volume import Volume, hu_from_mu

LONGEST = {"sirt": 400, "cgls": 80}
FILTERS = ("ram-lak", "hann")


@dataclass(frozen=True)
class Row:
    volume: str
    scan: str
    method: str
    chosen: str
    psnr: float
    ssim: float
    rmse_hu: float
    seconds: float


def runs(method: str, prepared: Prepared) -> Iterator[tuple[str, Volume, float]]:
    """Yield the setting, the volume and the seconds of each run of a method on a scan."""
    A, measurement = prepared.A, prepared.measurement
    if method in LONGEST:
        best, most = Best(prepared.reference), {"num_iterations": LONGEST[method]}
        reconstruct(method, A, measurement, params=make_params(method, most), callback=best)
        yield f"{best.i} iterations", Volume(best.x, prepared.reference.geometry), best.seconds
        return
    prior = None
    if method == "fbp":
        name = "fdk" if isinstance(A.pg, ConeBeam) else "fbp"
        tried = [(name, {"filter": f}, f) for f in FILTERS]
    elif method == "tv":
        tried = [("tv", {"lam": lam}, f"{lam:g}") for lam in WEIGHTS]
    else:
        prior = load_prior(method)
        tried = [("diffusion", {}, "")]
    for name, params, chosen in tried:
        result = reconstruct(name, A, measurement, params=make_params(name, params), prior=prior)
        yield chosen, result.volume, result.seconds


class Best:
    """Callback that keeps the iterate with the best PSNR and stops long after it.

    Its own time is not counted.
    """

    def __init__(self, reference: Volume) -> None:
        self.clean = reference.hu.clip(*HU_RANGE)
        self.psnr, self.i, self.x, self.seconds = -math.inf, 0, reference.data, 0.0
        self.began = time.perf_counter()

    def __call__(self, step: Step) -> None:
        since = time.perf_counter()
        found = psnr(self.clean, hu_from_mu(step.x).clip(*HU_RANGE), data_range=DATA_RANGE)
        if found > self.psnr:
            self.psnr, self.i, self.x, self.seconds = found, step.i, step.x.clone(), since - self.began
        if step.i > 2 * self.i + 10:
            raise StopIteration
        self.began += time.perf_counter() - since


def measure(name: str, setting: str, method: str, prepared: Prepared) -> Row:
    rows = []
    for chosen, volume, seconds in runs(method, prepared):
        found = quality(prepared.reference, volume)
        rows.append(
            Row(name, setting, Path(method).stem, chosen, found.psnr, found.ssim, found.rmse_hu, seconds)
        )
    return max(rows, key=lambda row: row.psnr)


def read(path: Path) -> list[Row]:
    if not path.exists():
        return []
    with path.open(newline="") as file:
        numbers = {f.name for f in fields(Row) if f.type == "float"}
        return [
            Row(**{k: float(v) if k in numbers else v for k, v in row.items()})
            for row in csv.DictReader(file)
        ]


def add(path: Path, row: Row) -> None:
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, [f.name for f in fields(Row)], lineterminator="\n")
        if new:
            writer.writeheader()
        shown = {"psnr": f"{row.psnr:.2f}", "ssim": f"{row.ssim:.3f}", "rmse_hu": f"{row.rmse_hu:.1f}"}
        writer.writerow(asdict(row) | shown | {"seconds": f"{row.seconds:.1f}"})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.csv")
    parser.add_argument("--methods", default="fbp,sirt,cgls,tv,base,small")
    parser.add_argument("--volumes", default=",".join(VOLUMES))
    parser.add_argument("--settings", default=",".join(SETTINGS))
    arguments = parser.parse_args()
    methods = arguments.methods.split(",")
    for name in arguments.volumes.split(","):
        whole = ScanConfig(source=str(next(arguments.folder.glob(f"{name}.*"))))
        volume = source_volume(whole)
        for setting in arguments.settings.split(","):
            done = {row.method for row in read(arguments.out) if (row.volume, row.scan) == (name, setting)}
            missing = [m for m in methods if Path(m).stem not in done]
            if not missing:
                continue
            grid = (min(GRID[0], volume.shape[0]), *GRID[1:])
            prepared = simulate_scan(volume, replace(whole, grid=grid, **SETTINGS[setting]))
            for method in missing:
                add(arguments.out, measure(name, setting, method, prepared))
    print_table(read(arguments.out))


def print_table(rows: list[Row]) -> None:
    """Print the PSNR, with a column for each method and a row for each scan."""
    methods = list(dict.fromkeys(row.method for row in rows))
    print("| volume | scan | " + " | ".join(methods) + " |")
    print("|---" * (2 + len(methods)) + "|")
    for volume, scan in dict.fromkeys((row.volume, row.scan) for row in rows):
        found = {row.method: row for row in rows if (row.volume, row.scan) == (volume, scan)}
        cells = [f"{found[m].psnr:.2f}" if m in found else "" for m in methods]
        print(f"| `{volume}` | {scan} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
