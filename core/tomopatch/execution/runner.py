"""The computation of each kind of run: reconstruct a scan, generate a volume, denoise a volume."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from tomopatch.execution.monitor import RunMonitor
from tomopatch.prior.denoiser import PatchPrior
from tomopatch.prior.files import BODY, GENERATOR
from tomopatch.prior.generation import generate
from tomopatch.prior.noise import add_noise, denoise
from tomopatch.reconstruct.held_out import MeasuredQuality, supported
from tomopatch.reconstruct.memory import PeakMemory
from tomopatch.reconstruct.methods import make_params
from tomopatch.reconstruct.run import Result
from tomopatch.reconstruct.scaled import reconstruct_scaled
from tomopatch.runs.config import RunConfig
from tomopatch.runs.measured import PreparedMeasured, measured_quality, prepare_any, stand_in
from tomopatch.runs.measured_scan import MeasuredScan
from tomopatch.runs.prepare import Prepared, reference_volume
from tomopatch.runs.prior import Config, DenoiseConfig, GenerateConfig
from tomopatch.store.checkpoint import Checkpoint
from tomopatch.store.store import RunStore
from tomopatch.volume import Volume, VolumeGeometry


@dataclass(frozen=True, eq=False)
class Output:
    """Result of a run, its reference volume if there is one, and the device that computed it.

    A run of a measured scan has the figures `measured` instead of a reference.
    """

    result: Result
    reference: Volume | None = None
    device: str = "cpu"
    measured: MeasuredQuality | None = None


def run_config(
    config: Config,
    store: RunStore,
    monitor: RunMonitor,
    on_message: Callable[[str], None],
    resume: Checkpoint | None,
    load_prior: Callable[[str], PatchPrior],
) -> Output:
    """Run a config, or resume it from a checkpoint.

    `monitor` receives every step, `on_message` the names of the slow stages before the first step.
    """
    if isinstance(config, RunConfig):
        return _reconstruct(config, store, monitor, on_message, resume, load_prior)
    on_message("Loading the prior")
    prior = load_prior(GENERATOR)
    if isinstance(config, GenerateConfig):
        return _generate(config, prior, load_prior(BODY), monitor, on_message, resume)
    return _denoise(config, store, prior, monitor, on_message)


def _reconstruct(
    config: RunConfig,
    store: RunStore,
    monitor: RunMonitor,
    on_message: Callable[[str], None],
    resume: Checkpoint | None,
    load_prior: Callable[[str], PatchPrior],
) -> Output:
    scan = config.scan
    on_message("Preparing the scan" if isinstance(scan, MeasuredScan) else "Simulating the scan")
    prepared = prepare_any(scan, store)
    prior = None
    if config.prior:
        on_message("Loading the prior")
        prior = load_prior(config.prior)
    on_message("")
    reference = prepared.reference if isinstance(prepared, Prepared) else None
    monitor.begin(reference=reference, resume=resume)
    result = reconstruct_scaled(
        config.method,
        prepared.A,
        prepared.measurement,
        typical=prepared.typical,
        params=make_params(config.method, config.params),
        prior=prior,
        callback=monitor,
        state=None if resume is None else resume.state,
        on_tiles=monitor.on_tiles,
    )
    if monitor.stop_request is not None:  # the method does not see a stop within a pass of the prior
        result = replace(result, status="stopped")
    measured = None
    if isinstance(scan, MeasuredScan) and isinstance(prepared, PreparedMeasured):
        on_message("Predicting the held-out views")
        result = supported(result, prepared.held_out)
        measured = measured_quality(result.volume, prepared, stand_in(scan, store))
    return Output(result, reference, str(prepared.A.device), measured)


def _generate(
    config: GenerateConfig,
    prior: PatchPrior,
    body: PatchPrior,
    monitor: RunMonitor,
    on_message: Callable[[str], None],
    resume: Checkpoint | None,
) -> Output:
    on_message("")
    # without a measurement the denoised volume is x itself
    monitor.begin(parts=("noisy", "x"), resume=resume)
    with PeakMemory() as memory:
        volume = generate(
            prior,
            VolumeGeometry(config.grid, config.voxel_size),
            body=body,
            num_steps=config.num_steps,
            seed=config.seed,
            on_tiles=monitor.on_tiles,
            callback=monitor,
            state=None if resume is None else resume.state,
        )
    return _output(config, volume, monitor, memory, prior)


def _denoise(
    config: DenoiseConfig,
    store: RunStore,
    prior: PatchPrior,
    monitor: RunMonitor,
    on_message: Callable[[str], None],
) -> Output:
    on_message("Preparing the volume")
    clean = reference_volume(config.scan, store)
    on_message("")
    monitor.begin()
    with PeakMemory() as memory:
        volume = denoise(
            prior.without(**dict.fromkeys(config.without, True)),
            add_noise(clean, config.sigma, seed=config.seed),
            config.sigma,
            seed=config.seed,
            on_tiles=monitor.on_single_pass,
        )
    return _output(config, volume, monitor, memory, prior, clean)


def _output(
    config: GenerateConfig | DenoiseConfig,
    volume: Volume,
    monitor: RunMonitor,
    memory: PeakMemory,
    prior: PatchPrior,
    reference: Volume | None = None,
) -> Output:
    seconds = time.perf_counter() - monitor.started - monitor.overhead
    status = "done" if monitor.stop_request is None else "stopped"
    result = Result(volume, config.method, config.params, status, seconds, memory.peak_mb)
    return Output(result, reference, str(prior.device))
