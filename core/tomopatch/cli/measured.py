"""`tomopatch reconstruct` for measured scans: its flags, and the command itself."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict
from functools import partial
from typing import Any

from tomopatch.cli import memory_check
from tomopatch.cli.arguments import (
    check_file,
    check_folder,
    convert,
    explicit_flags,
    named_values,
    refuse_explicit,
)
from tomopatch.cli.flags import StoreExplicit, path
from tomopatch.cli.output import note_plans
from tomopatch.io.nifti import write_nifti
from tomopatch.io.projections import read_projections
from tomopatch.physics.corrections import prepare_projections
from tomopatch.prior.denoiser import PatchPrior
from tomopatch.progress import Callback
from tomopatch.projector import Projector
from tomopatch.reconstruct.methods import METHODS, available, make_params
from tomopatch.runs.limits import memory_mb
from tomopatch.runs.selection import Selection
from tomopatch.studies.measured import (
    format_table,
    reconstruct_measured,
    report_of,
    write_study,
)

FLAGS = (
    "geometry_file", "methods", "set", "every", "hold_out", "axis", "roll", "stripes", "bin", "axisymmetric",
    "all_views",
)  # fmt: skip
"""Flags that act on measured scans only."""
COMMON = ("grid", "seed")
"""Flags of a scan that also act on a measured one."""


def add_measured(sub: argparse.ArgumentParser) -> None:
    """Add the flags of measured scans."""
    group = sub.add_argument_group("measured scan")
    flag = partial(group.add_argument, action=StoreExplicit)
    flag("--geometry-file", type=path, metavar="FILE.json", help="geometry of the scan; see docs/measured.md")
    flag("--methods", metavar="LIST", help="several methods, comma-separated; --out is then a folder")
    flag("--set", nargs="+", default=[], metavar="METHOD.NAME=VALUE", help="parameters of the --methods")
    flag("--every", type=int, default=1, metavar="N", help="use every Nth view (default 1)")
    flag(
        "--hold-out",
        type=int,
        metavar="N",
        help="hold out every Nth view and predict it from the reconstruction of the others",
    )
    flag(
        "--axis",
        type=number_or_auto,
        help="column of the rotation axis, or auto (default: the column in the file, else auto)",
    )
    flag(
        "--roll",
        type=number_or_auto,
        default=0.0,
        help="roll of the detector in degrees, or auto (default 0)",
    )
    flag(
        "--stripes",
        choices=("auto", "on", "off"),
        default="auto",
        help="remove stripes (default auto: only from raw values with enough views)",
    )
    flag("--bin", type=int, default=1, metavar="N", help="average N x N detector pixels (default 1)")
    flag(
        "--axisymmetric",
        type=int,
        metavar="N",
        help="repeat the single view of an axisymmetric object N times",
    )
    flag(
        "--all-views",
        choices=tuple(METHODS),
        metavar="METHOD",
        help="also reconstruct from all views, as a stand-in for a reference",
    )


def number_or_auto(text: str) -> float | str:
    if text.lower() == "auto":
        return "auto"
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"expected a number or auto, got {text!r}")
    return value


def refuse_measured(arguments: argparse.Namespace) -> None:
    """Refuse flags of measured scans if the input is not a measured scan."""
    refuse_explicit(arguments, FLAGS, "cannot act on a simulated scan, which takes --method NAME")


def reconstruct(
    arguments: argparse.Namespace,
    *,
    prior: Callable[[Any], PatchPrior],
    progress: Callable[[str], AbstractContextManager[Callback | None]],
) -> None:
    """Reconstruct a measured scan; `prior(params)` loads the prior of a method."""
    others = [dest for dest in explicit_flags(arguments) if dest not in (*COMMON, *FLAGS)]
    refuse_explicit(arguments, others, "cannot act on a measured scan; state its geometry in --geometry-file")
    names = _names(arguments)
    single = arguments.method is not None
    if single:
        check_file(arguments.out, ".nii", ".nii.gz")
    else:
        check_folder(arguments.out)
    projections = read_projections(arguments.volume, geometry=arguments.geometry_file, max_mb=memory_mb())
    if arguments.axisymmetric is not None:
        projections = projections.repeated(arguments.axisymmetric)
    if arguments.bin != 1:
        projections = projections.bin(arguments.bin)
    prepared = prepare_projections(
        projections,
        axis=arguments.axis,
        roll=arguments.roll if isinstance(arguments.roll, str) else math.radians(arguments.roll),
        stripes={"auto": None, "on": True, "off": False}[arguments.stripes],
    )
    grid = prepared.grid if arguments.grid is None else prepared.grid.with_shape(arguments.grid)
    pg = prepared.measurement.geometry
    names = names or [name for name in available(pg) if not METHODS[name].needs_prior]
    given = _given(arguments, names)
    methods = {name: make_params(name, given[name]) for name in names}
    A = Projector(grid, pg)
    for name, params in methods.items():
        memory_check.check_measured(A, name, asdict(params))
    study = reconstruct_measured(
        prepared,
        methods,
        grid=grid,
        selection=Selection.of(pg.num_views, every=arguments.every, hold_out=arguments.hold_out),
        reference=arguments.all_views,
        prior=prior,
        progress=progress,
    )
    note_plans(study.results.values())
    report = report_of(study, projections.name, [*projections.notes, *arguments.notes])
    if single:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        write_nifti(arguments.out, study.results[names[0]].volume)
    else:
        write_study(arguments.out, study, report)
    print(json.dumps(report) if arguments.json else format_table(report))


def _names(arguments: argparse.Namespace) -> list[str]:
    """Chosen methods; empty = all methods that suit the scan and need no prior."""
    if arguments.method is not None and arguments.methods is not None:
        raise ValueError("--method and --methods exclude each other; leave one out.")
    if arguments.method is not None:
        return [arguments.method]
    names = [n.strip() for n in (arguments.methods or "").split(",") if n.strip()]
    unknown = [n for n in names if n not in METHODS]
    if unknown:
        raise ValueError(f"unknown method {unknown[0]!r}; known are {', '.join(METHODS)}.")
    if arguments.prior and names and not any(METHODS[n].needs_prior for n in names):
        raise ValueError("--prior cannot act: none of the methods uses a prior; leave it out.")
    return names


def _given(arguments: argparse.Namespace, names: list[str]) -> dict[str, dict[str, Any]]:
    """Explicit parameters by method: flags with --method, --set with --methods."""
    texts: dict[str, dict[str, str]] = {name: {} for name in names}
    flags = {
        k.removeprefix("param_"): v
        for k, v in vars(arguments).items()
        if k.startswith("param_") and v is not None
    }
    if flags and arguments.method is None:
        raise ValueError(
            f"--{next(iter(flags)).replace('_', '-')} needs --method; use --set METHOD.NAME=VALUE."
        )
    if arguments.method is not None:
        texts[arguments.method] |= flags
    for target, value in named_values(arguments.set, "--set").items():
        method, dot, name = target.partition(".")
        if not dot or method not in names:
            raise ValueError(
                f"--set {target} cannot act: expected METHOD.NAME with one of {', '.join(names)}."
            )
        texts[method][name] = value
    return {
        name: ({"seed": arguments.seed} if name == "diffusion" else {})
        | convert(name, METHODS[name].params, texts[name])
        for name in names
    }
