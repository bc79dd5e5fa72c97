"""The commands that scan, reconstruct and compare, and the command of the app.

The commands of the prior are in `tomopatch.cli.prior_commands`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from functools import cache
from typing import Any

from tomopatch.cli import measured, memory_check
from tomopatch.cli.arguments import (
    check_file,
    check_folder,
    check_measured,
    check_set,
    chosen_methods,
    explicit_flags,
    has_seed,
    method_params,
    refuse_explicit,
    scan_config,
    varied_effects,
    with_covering_turns,
)
from tomopatch.cli.output import ProgressBar, note_plans, write_volume
from tomopatch.geometry.beams import ConeBeam, ParallelBeam
from tomopatch.geometry.remarks import Remark, few_views, remarks, unseen
from tomopatch.io.projections import is_projections
from tomopatch.io.projections.writing import tiff_zip_bytes
from tomopatch.io.writing import write_bytes
from tomopatch.notes import note
from tomopatch.physics.remarks import effect_remarks
from tomopatch.prior.denoiser import PatchPrior
from tomopatch.projector import Projector
from tomopatch.reconstruct.methods import METHODS, make_params
from tomopatch.reconstruct.params import DiffusionParams
from tomopatch.reconstruct.run import reconstruct as run_method
from tomopatch.runs.config import PHANTOM_GRID, ScanConfig
from tomopatch.runs.limits import memory_mb
from tomopatch.runs.measurements import read_measurement, write_measurement
from tomopatch.runs.prepare import Prepared, native_geometry, simulate_scan, source_volume
from tomopatch.studies.compare import compare as compare_methods
from tomopatch.studies.compare import format_table, write_comparison
from tomopatch.studies.sweep import suited
from tomopatch.volume import Volume, VolumeGeometry


def simulate(arguments: argparse.Namespace) -> None:
    scan = scan_config(arguments)
    check_file(arguments.out, ".npz", ".zip")
    scan, volume = _source(arguments, scan)
    prepared = simulate_scan(volume, scan)
    _note_remarks(prepared, scan)
    if arguments.out.suffix == ".zip":
        m = prepared.measurement
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(arguments.out, tiff_zip_bytes(m.projections.cpu().numpy(), m.geometry))
    else:
        write_measurement(arguments.out, scan, prepared)
    v, n, u = prepared.A.range_shape
    if arguments.json:
        print(json.dumps({"out": str(arguments.out), "shape": [v, n, u], "config": scan.to_json()}))
    else:
        print(f"{arguments.out}: {n} views of {v} x {u} pixels")


def reconstruct(arguments: argparse.Namespace) -> None:
    if is_projections(arguments.volume):
        measured.reconstruct(
            arguments, prior=lambda params: _prior(arguments.prior, params), progress=ProgressBar
        )
        return
    measured.refuse_measured(arguments)
    if arguments.method is None:
        raise ValueError(f"--method is needed, one of {', '.join(METHODS)}.")
    check_file(arguments.out, ".nii", ".nii.gz")
    given = {
        k.removeprefix("param_"): v
        for k, v in vars(arguments).items()
        if k.startswith("param_") and v is not None
    }
    params = make_params(
        arguments.method,
        method_params(arguments.method, given, arguments.seed),
    )
    if arguments.prior and not METHODS[arguments.method].needs_prior:
        raise ValueError(f"--prior cannot act: {arguments.method} has no prior; leave it out.")
    if arguments.volume.endswith(".npz"):
        check_measured(arguments)
        if not has_seed(arguments.method):
            refuse_explicit(arguments, ["seed"], f"cannot act: {arguments.method} draws no random numbers")
        A, measurement = read_measurement(arguments.volume, max_mb=memory_mb())
        if arguments.grid is not None:
            A = Projector(A.vg.with_shape(arguments.grid), A.pg)
        memory_check.check_measured(A, arguments.method, asdict(params))
        for remark in unseen(A.vg, A.pg):
            note(str(remark))
    else:
        scan = scan_config(arguments)
        scan, volume = _source(arguments, scan, [arguments.method], {arguments.method: asdict(params)})
        prepared = simulate_scan(volume, scan, methods=[arguments.method])
        A, measurement = prepared.A, prepared.measurement
        _note_remarks(prepared, scan)
    prior = _prior(arguments.prior, params) if METHODS[arguments.method].needs_prior else None
    with ProgressBar(METHODS[arguments.method].label) as callback:
        result = run_method(arguments.method, A, measurement, params=params, prior=prior, callback=callback)
    note_plans([result])
    write_volume(arguments.out, result.volume)
    if arguments.json:
        print(json.dumps({"out": str(arguments.out), "method": result.method, **result.summary()}))
    else:
        print(f"{arguments.out}: {METHODS[arguments.method].label} in {result.seconds:.1f} s")


def compare(arguments: argparse.Namespace) -> None:
    scan = scan_config(arguments)
    names, given = chosen_methods(arguments, scan.seed)
    params = {m: make_params(m, given.get(m)) for m in METHODS}
    check_set(arguments, names or suited(scan))
    check_folder(arguments.out)
    scan, volume = _source(arguments, scan, names or suited(scan), given)
    prepared = simulate_scan(volume, scan, methods=names)
    _note_remarks(prepared, scan)
    comparison = compare_methods(
        prepared, names, params, prior=_shared_prior(arguments, params["diffusion"]), progress=ProgressBar
    )
    note_plans(comparison.values())
    report = write_comparison(arguments.out, scan, prepared, comparison, remarks=arguments.notes)
    print(json.dumps(report) if arguments.json else format_table(report))


def sweep(arguments: argparse.Namespace) -> None:
    from tomopatch.store.store import RunStore
    from tomopatch.studies.sweep import SweepConfig, format_cells, run_sweep, table
    from tomopatch.studies.sweep.plot import plot_png

    varied = {"num_views": "views", "angle_range": "range", "photons": "photons"}
    lists = {
        name: getattr(arguments, flag) for name, flag in varied.items() if flag in explicit_flags(arguments)
    }
    for flag in varied.values():  # the scan's value is replaced by the list
        setattr(arguments, flag, next(iter(getattr(arguments, flag) or []), None))
    scan = scan_config(arguments)
    names, params = chosen_methods(arguments, scan.seed)
    effects = varied_effects(arguments)
    config = SweepConfig(scan, tuple(names or suited(scan)), **lists, params=params, effects=effects)
    check_set(arguments, config.methods)
    check_folder(arguments.out)
    native = native_geometry(scan)
    config = replace(config, scan=with_covering_turns(scan, arguments, native))
    scans: set[ScanConfig] = set()
    for cell in config.cells():
        assert isinstance(cell.scan, ScanConfig)
        memory_check.check_scan(cell.scan, [cell.method], {cell.method: cell.params}, native=native)
        scans.add(cell.scan)
    _note_unseen(scans, native)
    prior = _shared_prior(arguments, make_params("diffusion", params.get("diffusion")))
    # digests of runs contain the shipped weights only, so runs of other weights have a store of their own
    folder = f"store-{prior().info['digest']}" if arguments.prior else "store"
    store = RunStore(arguments.out / folder)
    for cells in run_sweep(config, store, prior=lambda name: prior(), progress=ProgressBar):
        report = {
            "config": config.to_json(),
            "remarks": arguments.notes,
            "cells": [cell.row() for cell in cells],
        }
        write_bytes(arguments.out / "sweep.csv", table(cells).encode())
        write_bytes(arguments.out / "sweep.json", json.dumps(report, indent=1).encode())
        write_bytes(arguments.out / "sweep.png", plot_png(config, cells))
    print(json.dumps(report) if arguments.json else format_cells(cells))


def reproduce(arguments: argparse.Namespace) -> int:
    from tomopatch.prior.files import load_prior
    from tomopatch.store.store import RunStore
    from tomopatch.studies.reproduction import reproduce as run_again

    if arguments.store is not None and not (arguments.store / "runs").is_dir():
        raise ValueError(f"--store {arguments.store} holds no runs; give the store of the app or of a sweep.")
    store = RunStore(arguments.store)
    with ProgressBar("Reproducing") as callback:
        found = run_again(store, arguments.id, prior=load_prior, callback=callback)
    print(json.dumps(found.to_json()) if arguments.json else found.sentence())
    return 0 if found.same else 1


def bench(arguments: argparse.Namespace) -> None:
    from tomopatch.studies.bench import bench as run_bench
    from tomopatch.studies.bench import format_bench

    rows = run_bench(arguments.grid, arguments.views)
    print(json.dumps(rows) if arguments.json else format_bench(rows))


def _source(
    arguments: argparse.Namespace,
    scan: ScanConfig,
    methods: Sequence[str] = (),
    params: dict[str, dict[str, Any]] | None = None,
) -> tuple[ScanConfig, Volume]:
    """Return the scan, with the turns of its helix, and its volume; check the memory first."""
    if scan.source.startswith("phantom:"):  # checked before it is drawn
        native = native_geometry(scan)
        scan = with_covering_turns(scan, arguments, native)
        memory_check.check_scan(scan, methods, params, native=native)
        return scan, source_volume(scan)
    volume = source_volume(scan)  # refused if it is too large
    scan = with_covering_turns(scan, arguments, volume.geometry)
    memory_check.check_scan(scan, methods, params, native=volume.geometry)
    return scan, volume


def _note_remarks(prepared: Prepared, scan: ScanConfig) -> None:
    """Print the remarks that the app shows for this scan."""
    pg = prepared.A.pg
    found: list[Remark] = []
    if isinstance(pg, ParallelBeam | ConeBeam):
        found = [*remarks(prepared.reference, pg), *few_views(prepared.reference, pg)]
    for remark in (*map(str, found), *effect_remarks(scan.effects, prepared.A.vg, pg, scan.photons)):
        note(remark)


def _note_unseen(scans: Iterable[ScanConfig], native: VolumeGeometry) -> None:
    """Print the parts of the volume that some scan of a sweep does not see."""
    for scan in scans:
        vg = native.with_shape(
            scan.grid or (PHANTOM_GRID if scan.source.startswith("phantom:") else native.shape)
        )
        for remark in unseen(vg, scan.geometry(vg)):
            note(f"{scan.num_views} views over {scan.angle_range:g} degrees: {remark}")


def _prior(name: str | None, params: DiffusionParams) -> PatchPrior:
    """Load the named prior, or the default one of the mode."""
    from tomopatch.prior.files import default_prior, load_prior

    return load_prior(name or default_prior(params.trained_mode, sampling=params.sampling))


def _shared_prior(arguments: argparse.Namespace, params: DiffusionParams) -> Callable[[], PatchPrior]:
    """Return a function that loads the prior on first use."""
    return cache(lambda: _prior(arguments.prior, params))
