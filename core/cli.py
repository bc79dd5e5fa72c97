"""The `tomopatch` command: its arguments. What it does with them is in `core.commands`."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn

from core import commands
from core.prior.data import DataConfig
from core.prior.files import DEFAULT
from core.prior.network import CONTEXTS, PRESETS
from core.prior.training import TrainConfig
from core.reconstruct.methods import METHODS
from core.scan.library import SOURCES


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code: 0 done, 2 bad input or arguments."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    warnings.showwarning = lambda message, *rest: print(f"note: {message}", file=sys.stderr)
    try:
        return arguments.run(arguments) or 0
    except (ValueError, TypeError, OSError) as error:
        print(f"tomopatch: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("tomopatch: stopped; nothing more was written.", file=sys.stderr)
        return 130


class _Parser(argparse.ArgumentParser):
    """Refuses arguments in one sentence, as everything else is refused; without a page of usage before it."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help.\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="tomopatch",
        description="See what sparse-view CT does: simulate a scan of a volume, reconstruct it, compare. Not for diagnosis.",
    )
    subparsers = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def command(
        name: str, run: Callable[[argparse.Namespace], int | None], help: str
    ) -> argparse.ArgumentParser:
        sub = subparsers.add_parser(name, help=help, description=help)
        sub.set_defaults(run=run)
        return sub

    sub = command("simulate", commands.simulate, "Scan a volume; write the measurement.")
    _add_scan(sub)
    sub.add_argument("--out", type=Path, required=True, metavar="FILE.npz", help="where the measurement goes")
    sub.add_argument("--json", action="store_true", help="print a JSON summary")

    sub = command(
        "reconstruct",
        commands.reconstruct,
        "Reconstruct a measurement (.npz of `simulate`), or scan a volume and reconstruct it.",
    )
    _add_scan(sub)
    sub.add_argument("--method", required=True, choices=tuple(METHODS), help="how")
    sub.add_argument(
        "--out", type=Path, required=True, metavar="FILE.nii.gz", help="where the volume goes (HU)"
    )
    sub.add_argument("--prior", help="a prior's name or file, for methods that need one")
    sub.add_argument("--json", action="store_true", help="print a JSON summary")
    _add_params(sub)

    sub = command(
        "compare",
        commands.compare,
        "Scan a volume, reconstruct it with several methods, and measure the errors.",
    )
    _add_scan(sub)
    _add_methods(sub)
    sub.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="compare.json, compare.png, METHOD.nii.gz"
    )
    sub.add_argument("--json", action="store_true", help="print compare.json instead of the table")

    sub = command(
        "sweep",
        commands.sweep,
        "What if: every combination of some views, angle ranges, doses and methods; goes on where it stopped.",
    )
    _add_scan(sub, many=True)
    _add_methods(sub)
    sub.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="sweep.csv, sweep.json, sweep.png and the runs"
    )
    sub.add_argument("--json", action="store_true", help="print sweep.json instead of the table")

    sub = command("sample", commands.sample, "Draw a volume from the prior alone.")
    sub.add_argument("--grid", type=_grid, default=(64, 128, 128), help="z x y x x, e.g. 64x128x128")
    sub.add_argument(
        "--voxel-size", type=float, nargs=3, metavar=("Z", "Y", "X"), default=(4.4, 3.9, 3.9), help="in mm"
    )
    sub.add_argument("--steps", type=int, default=40, help="passes over the volume")
    sub.add_argument("--seed", type=int, default=0, help="the same seed gives the same volume")
    sub.add_argument("--prior", help="a prior's name or file")
    sub.add_argument(
        "--out", type=Path, required=True, metavar="FILE.nii.gz", help="where the volume goes (HU)"
    )

    sub = command(
        "train", commands.train, "Train a prior on a folder of CT volumes; resumes where it stopped."
    )
    _add_volumes(sub)
    sub.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="weights, state, log and pictures"
    )
    sub.add_argument("--network", choices=tuple(PRESETS), default="small", help="size of the network")
    sub.add_argument("--steps", type=int, default=20_000, help="optimiser steps in all")
    sub.add_argument("--minutes", type=float, help="stop after so long; the same command goes on")
    sub.add_argument("--rate", type=float, default=TrainConfig.rate, help="peak learning rate")
    sub.add_argument("--volumes", type=int, default=TrainConfig.volumes, help="noised volumes per step")
    sub.add_argument("--crops", type=int, default=TrainConfig.crops, help="patches of each")
    sub.add_argument(
        "--drafts",
        type=int,
        default=64,
        help="quick reconstructions of simulated sparse scans to train on beside white noise",
    )
    sub.add_argument(
        "--draft-prior",
        metavar="PRIOR",
        help="train on what the sampler makes of the drafts with this prior, too",
    )
    sub.add_argument(
        "--draft-workers",
        type=int,
        default=0,
        metavar="N",
        help="processes that make further drafts meanwhile, with the weights of the run itself",
    )
    sub.add_argument("--draft-gpu", action="store_true", help="they compute on the GPU, not on the CPUs")
    sub.add_argument("--start", metavar="PRIOR", help="a prior whose weights a new run starts from")
    sub.add_argument("--compile", action="store_true", help="compile the network: for long runs on a GPU")
    sub.add_argument(
        "--without",
        choices=("context", "surround", "guide", "coordinates"),
        help="leave an input out: an ablation",
    )
    sub.add_argument(
        "--context",
        choices=CONTEXTS,
        default="area",
        help="how the context is reduced; trilinear: an ablation",
    )
    sub.add_argument("--validate-every", type=int, default=500, help="steps")
    sub.add_argument("--seed", type=int, default=0)

    sub = command(
        "calibrate",
        commands.calibrate,
        "Make the deviation of a prior's samples tell how far they are off, from scans of known volumes.",
    )
    _add_volumes(sub)
    sub.add_argument("--prior", default=DEFAULT, help="a prior's name or file")
    sub.add_argument("--scans", type=int, default=8, help="simulated scans to fit to")
    sub.add_argument("--samples", type=int, default=4, help="samples of each, two or more")
    sub.add_argument("--seed", type=int, default=0)
    sub.add_argument(
        "--out", type=Path, required=True, metavar="FILE.safetensors", help="the prior with its calibration"
    )

    sub = command(
        "reproduce",
        commands.reproduce,
        "Carry out a run of the app or of a sweep again; say whether it is the same.",
    )
    sub.add_argument("id", metavar="RUN", help="its id, as the app's address and sweep.csv have it")
    sub.add_argument("--store", type=Path, metavar="DIR", help="where it is kept (default: the app's store)")
    sub.add_argument("--json", action="store_true", help="print JSON instead of a sentence")

    sub = command("bench", commands.bench, "Time projectors and methods on this machine.")
    sub.add_argument("--grid", type=_grid, default=(64, 128, 128), help="z x y x x, e.g. 64x128x128")
    sub.add_argument("--views", type=int, default=20, help="number of views")
    sub.add_argument("--json", action="store_true", help="print JSON instead of a table")

    sub = command("app", commands.app, "Open the app in a browser.")
    sub.add_argument("--port", type=int, default=8501, help="port on this machine")
    return parser


def _add_methods(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--methods", default="", help=f"comma-separated, of {', '.join(METHODS)} (default: all that fit)"
    )
    sub.add_argument(
        "--set", action="append", default=[], metavar="METHOD.NAME=VALUE", help="a method's parameter"
    )
    sub.add_argument("--prior", help="a prior's name or file, for methods that need one")


def _add_volumes(sub: argparse.ArgumentParser) -> None:
    """Volumes to learn from, those to check with, and how they are resampled."""
    sub.add_argument(
        "folder", type=Path, metavar="FOLDER", help="DICOM folders, zips and NIfTI files, one volume each"
    )
    sub.add_argument(
        "--validation", default="", metavar="NAME,NAME", help="volumes of the folder that are held out"
    )
    for name, default, what in (
        ("xy", DataConfig.voxel_xy, "in-plane voxel sizes"),
        ("z", DataConfig.voxel_z, "slice spacings"),
    ):
        sub.add_argument(
            f"--voxel-{name}",
            type=float,
            nargs=2,
            metavar=("LOW", "HIGH"),
            default=default,
            help=f"range of {what} in mm",
        )
    sub.add_argument(
        "--cache", type=Path, metavar="DIR", help="keep decoded volumes here: the next start is quick"
    )


def _add_scan(sub: argparse.ArgumentParser, *, many: bool = False) -> None:
    """The arguments of a scan; `many`: what a sweep varies takes several values, separated by commas."""
    several = " (several: 8,20,60)" if many else ""

    def kind(of: Callable[[str], Any]) -> Callable[[str], Any]:
        return _several(of) if many else of

    sub.add_argument("volume", metavar="VOLUME", help=SOURCES)
    scan = sub.add_argument_group("scan")
    scan.add_argument(
        "--grid",
        type=_grid,
        help="reconstruction grid z x y x x, e.g. 64x128x128 (default: the volume's own)",
    )
    scan.add_argument("--geometry", choices=("parallel", "cone"), default="parallel", help="beam")
    scan.add_argument("--views", type=kind(int), default="20", help=f"number of views (default 20){several}")
    scan.add_argument(
        "--range", type=kind(float), help=f"angle range in degrees (default 180, cone 360){several}"
    )
    scan.add_argument("--start", type=float, default=0.0, help="first angle in degrees")
    scan.add_argument(
        "--photons", type=kind(_photons), help=f"photons a ray, or none for no noise (default){several}"
    )
    scan.add_argument("--seed", type=int, default=0, help="of noise and sampling (default 0)")
    scan.add_argument(
        "--src-orig-dist", type=float, default=800.0, help="cone: source to axis in mm (default 800)"
    )
    scan.add_argument(
        "--src-det-dist", type=float, default=1200.0, help="cone: source to detector in mm (default 1200)"
    )
    scan.add_argument(
        "--pixel-size", type=float, nargs=2, metavar=("V", "U"), help="detector pixel in mm (default: fitted)"
    )
    scan.add_argument(
        "--det-shape",
        type=int,
        nargs=2,
        metavar=("V", "U"),
        help="detector rows and columns (default: fitted)",
    )
    scan.add_argument(
        "--det-offset",
        type=float,
        nargs=2,
        metavar=("V", "U"),
        default=(0.0, 0.0),
        help="shift of the detector in mm",
    )
    scan.add_argument("--tilt", type=float, default=0.0, help="laminographic tilt in degrees")
    scan.add_argument("--pitch", type=float, default=0.0, help="cone: helical shift in mm per turn")
    scan.add_argument(
        "--same-grid",
        action="store_true",
        help="simulate on the reconstruction grid (the literature's easier protocol)",
    )


def _add_params(sub: argparse.ArgumentParser) -> None:
    """A flag per parameter of any method, built from the params dataclasses."""
    group = sub.add_argument_group("method parameters")
    seen: dict[str, list[str]] = {}
    for name, method in METHODS.items():
        for f in fields(method.params):
            seen.setdefault(f.name, []).append(name)
    for param, methods in seen.items():
        f = next(f for f in fields(METHODS[methods[0]].params) if f.name == param)
        if param != "seed":
            group.add_argument(
                f"--{param.replace('_', '-')}",
                dest=f"param_{param}",
                help=f"{', '.join(methods)}: {f.metadata['help']}",
            )


def _grid(text: str) -> tuple[int, int, int]:
    try:
        z, y, x = (int(n) for n in text.lower().split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"a grid is three counts like 64x128x128, got {text!r}") from None
    return z, y, x


def _several(of: Callable[[str], Any]) -> Callable[[str], list[Any]]:
    """A list of such values."""

    def read(text: str) -> list[Any]:
        return [of(part.strip()) for part in text.split(",") if part.strip()]

    read.__name__ = f"list of {of.__name__}"  # argparse names it where it refuses a text
    return read


def _photons(text: str) -> float | None:
    if text.lower() in ("none", "inf"):
        return None
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"photons are a number like 1e5, or none; got {text!r}") from None


if __name__ == "__main__":
    sys.exit(main())
