"""The `tomopatch` command."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from core.prior.data import DataConfig
from core.prior.denoiser import bf16_pays
from core.prior.network import PRESETS
from core.prior.training import TrainConfig
from core.progress import Callback, Step
from core.reconstruct.methods import METHODS, Result, make_params, reconstruct
from core.runs.compare import compare, format_table, write_comparison
from core.runs.config import Prepared, ScanConfig, scan_volume, source_volume
from core.runs.measurements import read_measurement, write_measurement
from core.scan.library import SOURCES
from core.scan.nifti import write_nifti
from core.volume import VolumeGeometry


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code: 0 done, 2 bad input or arguments."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    warnings.showwarning = lambda message, *rest: print(f"note: {message}", file=sys.stderr)
    try:
        return arguments.run(arguments) or 0
    except (ValueError, TypeError, FileNotFoundError, PermissionError, IsADirectoryError) as error:
        print(f"tomopatch: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("tomopatch: stopped; nothing more was written.", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tomopatch",
        description="See what sparse-view CT does: simulate a scan of a volume, reconstruct it, compare. Not for diagnosis.",
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def command(
        name: str, run: Callable[[argparse.Namespace], int | None], help: str
    ) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=help, description=help)
        sub.set_defaults(run=run)
        return sub

    sub = command("simulate", _simulate, "Scan a volume; write the measurement.")
    _add_scan(sub)
    sub.add_argument("--out", type=Path, required=True, metavar="FILE.npz", help="where the measurement goes")
    sub.add_argument("--json", action="store_true", help="print a JSON summary")

    sub = command(
        "reconstruct",
        _reconstruct,
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
        "compare", _compare, "Scan a volume, reconstruct it with several methods, and measure the errors."
    )
    _add_scan(sub)
    sub.add_argument(
        "--methods", default="", help=f"comma-separated, of {', '.join(METHODS)} (default: all that fit)"
    )
    sub.add_argument(
        "--set", action="append", default=[], metavar="METHOD.NAME=VALUE", help="a method's parameter"
    )
    sub.add_argument("--prior", help="a prior's name or file, for methods that need one")
    sub.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="compare.json, compare.png, METHOD.nii.gz"
    )
    sub.add_argument("--json", action="store_true", help="print compare.json instead of the table")

    sub = command("sample", _sample, "Draw a volume from the prior alone.")
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

    sub = command("train", _train, "Train a prior on a folder of CT volumes; resumes where it stopped.")
    sub.add_argument(
        "folder", type=Path, metavar="FOLDER", help="DICOM folders, zips and NIfTI files, one volume each"
    )
    sub.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="weights, state, log and pictures"
    )
    sub.add_argument(
        "--validation", default="", metavar="NAME,NAME", help="volumes of the folder that are held out"
    )
    sub.add_argument("--network", choices=tuple(PRESETS), default="small", help="size of the network")
    sub.add_argument("--steps", type=int, default=20_000, help="optimiser steps in all")
    sub.add_argument("--minutes", type=float, help="stop after so long; the same command goes on")
    sub.add_argument("--rate", type=float, default=TrainConfig.rate, help="peak learning rate")
    sub.add_argument("--volumes", type=int, default=TrainConfig.volumes, help="noised volumes per step")
    sub.add_argument("--crops", type=int, default=TrainConfig.crops, help="patches of each")
    sub.add_argument(
        "--voxel-xy",
        type=float,
        nargs=2,
        metavar=("LOW", "HIGH"),
        default=DataConfig.voxel_xy,
        help="range of in-plane voxel sizes in mm",
    )
    sub.add_argument(
        "--voxel-z",
        type=float,
        nargs=2,
        metavar=("LOW", "HIGH"),
        default=DataConfig.voxel_z,
        help="range of slice spacings in mm",
    )
    sub.add_argument(
        "--drafts",
        type=int,
        default=64,
        help="quick reconstructions of simulated sparse scans to train on beside white noise",
    )
    sub.add_argument("--start", metavar="PRIOR", help="a prior whose weights a new run starts from")
    sub.add_argument(
        "--without", choices=("context", "surround", "coordinates"), help="leave an input out: an ablation"
    )
    sub.add_argument(
        "--cache", type=Path, metavar="DIR", help="keep decoded volumes here: the next start is quick"
    )
    sub.add_argument("--validate-every", type=int, default=500, help="steps")
    sub.add_argument("--seed", type=int, default=0)

    sub = command("bench", _bench, "Time projectors and methods on this machine.")
    sub.add_argument("--grid", type=_grid, default=(64, 128, 128), help="z x y x x, e.g. 64x128x128")
    sub.add_argument("--views", type=int, default=20, help="number of views")
    sub.add_argument("--json", action="store_true", help="print JSON instead of a table")

    sub = command("app", _app, "Open the app in a browser.")
    sub.add_argument("--port", type=int, default=8501, help="port on this machine")
    return parser


def _add_scan(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("volume", metavar="VOLUME", help=SOURCES)
    scan = sub.add_argument_group("scan")
    scan.add_argument(
        "--grid",
        type=_grid,
        help="reconstruction grid z x y x x, e.g. 64x128x128 (default: the volume's own)",
    )
    scan.add_argument("--geometry", choices=("parallel", "cone"), default="parallel", help="beam")
    scan.add_argument("--views", type=int, default=20, help="number of views (default 20)")
    scan.add_argument("--range", type=float, help="angle range in degrees (default 180, cone 360)")
    scan.add_argument("--start", type=float, default=0.0, help="first angle in degrees")
    scan.add_argument("--photons", type=_photons, help="photons a ray, or none for no noise (default)")
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


def _scan_config(arguments: argparse.Namespace) -> ScanConfig:
    angle_range = arguments.range or (180.0 if arguments.geometry == "parallel" else 360.0)
    return ScanConfig(
        source=arguments.volume,
        grid=arguments.grid,
        beam=arguments.geometry,
        num_views=arguments.views,
        angle_range=angle_range,
        start=arguments.start,
        src_orig_dist=arguments.src_orig_dist,
        src_det_dist=arguments.src_det_dist,
        pixel_size=arguments.pixel_size,
        det_shape=arguments.det_shape,
        det_offset=arguments.det_offset,
        tilt=arguments.tilt,
        pitch=arguments.pitch,
        photons=arguments.photons,
        seed=arguments.seed,
        same_grid=arguments.same_grid,
    )


# ---- commands -------------------------------------------------------------------------------------------


def _simulate(arguments: argparse.Namespace) -> None:
    scan = _scan_config(arguments)
    if arguments.out.suffix != ".npz":
        raise ValueError(f"--out must end in .npz, got {arguments.out.name!r}.")
    prepared = _carry_out(scan)
    write_measurement(arguments.out, scan, prepared)
    v, n, u = prepared.A.range_shape
    if arguments.json:
        print(json.dumps({"out": str(arguments.out), "shape": [v, n, u], "config": scan.to_json()}))
    else:
        print(f"{arguments.out}: {n} views of {v} x {u} pixels")


def _reconstruct(arguments: argparse.Namespace) -> None:
    if not arguments.out.name.endswith((".nii", ".nii.gz")):
        raise ValueError(f"--out must end in .nii or .nii.gz, got {arguments.out.name!r}.")
    given = {
        k.removeprefix("param_"): v
        for k, v in vars(arguments).items()
        if k.startswith("param_") and v is not None
    }
    params = make_params(
        arguments.method, _with_seed(arguments.method, _typed(arguments.method, given), arguments.seed)
    )
    if arguments.volume.endswith(".npz"):
        A, measurement = read_measurement(arguments.volume)
    else:
        prepared = _carry_out(_scan_config(arguments))
        A, measurement = prepared.A, prepared.measurement
    prior = _prior(arguments.prior, A.vg.voxel_size) if METHODS[arguments.method].needs_prior else None
    with _bar(METHODS[arguments.method].label) as callback:
        result = reconstruct(arguments.method, A, measurement, params=params, prior=prior, callback=callback)
    write_nifti(arguments.out, result.volume)
    if arguments.json:
        print(json.dumps({"out": str(arguments.out), **_summary(result)}))
    else:
        print(f"{arguments.out}: {METHODS[arguments.method].label} in {result.seconds:.1f} s")


def _compare(arguments: argparse.Namespace) -> None:
    scan = _scan_config(arguments)
    names = [n.strip() for n in arguments.methods.split(",") if n.strip()]
    unknown = [n for n in names if n not in METHODS]
    if unknown:
        raise ValueError(f"unknown method {unknown[0]!r}; known are {', '.join(METHODS)}.")
    given: dict[str, dict[str, str]] = {}
    for text in arguments.set:
        target, equals, value = text.partition("=")
        method, dot, name = target.partition(".")
        if not equals or not dot or method not in METHODS:
            raise ValueError(f"--set takes METHOD.NAME=VALUE with a known method, got {text!r}.")
        given.setdefault(method, {})[name] = value
    params = {m: make_params(m, _with_seed(m, _typed(m, given.get(m, {})), scan.seed)) for m in METHODS}
    if arguments.out.exists() and not arguments.out.is_dir():
        raise ValueError(f"--out {arguments.out} is a file; give a folder.")
    prepared = _carry_out(scan)
    priors: dict[str, Any] = {}

    def prior() -> Any:
        if "prior" not in priors:
            priors["prior"] = _prior(arguments.prior, prepared.reference.geometry.voxel_size)
        return priors["prior"]

    comparison = compare(prepared, names, params, prior=prior, progress=_bar)
    report = write_comparison(arguments.out, scan, prepared, comparison)
    print(json.dumps(report) if arguments.json else format_table(report))


def _sample(arguments: argparse.Namespace) -> None:
    from core.prior.volumes import draw

    if not arguments.out.name.endswith((".nii", ".nii.gz")):
        raise ValueError(f"--out must end in .nii or .nii.gz, got {arguments.out.name!r}.")
    geometry = VolumeGeometry(arguments.grid, tuple(arguments.voxel_size))
    prior = _prior(arguments.prior, geometry.voxel_size)
    with _bar("Sampling") as callback:
        volume = draw(prior, geometry, num_steps=arguments.steps, seed=arguments.seed, callback=callback)
    write_nifti(arguments.out, volume)
    print(f"{arguments.out}: {'x'.join(map(str, volume.shape))} in {arguments.steps} passes")


def _train(arguments: argparse.Namespace) -> None:
    from core.runs.train import train

    network = PRESETS[arguments.network]
    if arguments.without:
        network = replace(network, **{f"use_{arguments.without}": False})  # type: ignore[arg-type]
    config = TrainConfig(
        network=network,
        data=DataConfig(voxel_xy=tuple(arguments.voxel_xy), voxel_z=tuple(arguments.voxel_z)),
        num_steps=arguments.steps,
        rate=arguments.rate,
        volumes=arguments.volumes,
        crops=arguments.crops,
        seed=arguments.seed,
        bf16=bf16_pays("cuda" if torch.cuda.is_available() else "cpu"),
    )
    train(
        arguments.folder,
        arguments.out,
        config,
        validation=[n for n in arguments.validation.split(",") if n],
        num_drafts=arguments.drafts,
        minutes=arguments.minutes,
        validate_every=arguments.validate_every,
        start=arguments.start,
        cache=arguments.cache,
        say=lambda text: print(text, flush=True),
    )


def _bench(arguments: argparse.Namespace) -> None:
    from core.runs.bench import bench, format_bench

    rows = bench(arguments.grid, arguments.views)
    print(json.dumps(rows) if arguments.json else format_bench(rows))


def _app(arguments: argparse.Namespace) -> int:
    app = Path(__file__).resolve().parents[1] / "app.py"
    if not app.exists():
        raise ValueError(
            f"the app's files are not beside the engine ({app} is missing); run it from a checkout."
        )
    return subprocess.call(
        [sys.executable, "-m", "streamlit", "run", str(app), "--server.port", str(arguments.port)],
        cwd=app.parent,
    )


# ---- pieces ---------------------------------------------------------------------------------------------


def _carry_out(scan: ScanConfig) -> Prepared:
    return scan_volume(source_volume(scan), scan)


def _prior(name: str | None, voxel_size: tuple[float, float, float]) -> Any:
    from core.prior.denoiser import load_prior

    return (load_prior(name) if name else load_prior()).at(voxel_size)


def _typed(method: str, given: dict[str, str]) -> dict[str, Any]:
    """Parameters typed on a command line, as what their fields hold."""
    known = {f.name: f for f in fields(METHODS[method].params)}
    made: dict[str, Any] = {}
    for name, text in given.items():
        kind: Any = type(known[name].default) if name in known else str
        try:
            if kind is bool:
                made[name] = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[
                    text.lower()
                ]
            else:
                made[name] = kind(text)
        except (ValueError, KeyError):
            raise ValueError(f"{method}: {name} must be of type {kind.__name__}, got {text!r}.") from None
    return made


def _with_seed(method: str, params: dict[str, Any], seed: int) -> dict[str, Any]:
    has_seed = any(f.name == "seed" for f in fields(METHODS[method].params))
    return {"seed": seed, **params} if has_seed else params


def _summary(result: Result) -> dict[str, Any]:
    return {
        "method": result.method,
        "params": result.params,
        "status": result.status,
        "seconds": result.seconds,
        "peak_memory_mb": result.peak_memory_mb,
    }


class _bar:
    """A progress bar on stderr, where that is a terminal: `with _bar("SIRT") as callback`."""

    def __init__(self, label: str) -> None:
        self.bar = tqdm(desc=label, disable=not sys.stderr.isatty(), leave=False)

    def __enter__(self) -> Callback:
        return self._show

    def __exit__(self, *error: object) -> None:
        self.bar.close()

    def _show(self, step: Step) -> None:
        self.bar.total = step.total
        self.bar.update(step.i - self.bar.n)
        if step.residual is not None:
            self.bar.set_postfix(residual=f"{step.residual:.3g}")


def _grid(text: str) -> tuple[int, int, int]:
    try:
        z, y, x = (int(n) for n in text.lower().split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"a grid is three counts like 64x128x128, got {text!r}") from None
    return z, y, x


def _photons(text: str) -> float | None:
    if text.lower() in ("none", "inf"):
        return None
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"photons are a number like 1e5, or none; got {text!r}") from None


if __name__ == "__main__":
    sys.exit(main())
