"""What a worker does for each kind of run."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from tomopatch.execution.live import Live
from tomopatch.prior.denoiser import PatchPrior
from tomopatch.prior.files import BODY, GENERATOR
from tomopatch.prior.generation import generate
from tomopatch.prior.noise import add_noise, denoise
from tomopatch.reconstruct.memory import PeakMemory
from tomopatch.reconstruct.methods import Result, make_params, reconstruct
from tomopatch.runs.config import RunConfig
from tomopatch.runs.prepare import prepare, reference_volume
from tomopatch.runs.prior import Config, DenoiseConfig, GenerateConfig
from tomopatch.store.checkpoint import Checkpoint
from tomopatch.store.store import RunStore
from tomopatch.volume import Volume, VolumeGeometry


@dataclass(frozen=True, eq=False)
class Done:
    """What a run made, the volume that it is to be measured against, if there is one, and where it was made."""

    result: Result
    reference: Volume | None = None
    device: str = "cpu"


def work(
    config: Config,
    store: RunStore,
    live: Live,
    tell: Callable[[str], None],
    resume: Checkpoint | None,
    load: Callable[[str], PatchPrior],
) -> Done:
    """Carry out a run, or go on with it: `live` is told of every step, `tell` of what takes long before the first."""
    if isinstance(config, RunConfig):
        return _reconstruct(config, store, live, tell, resume, load)
    tell("Loading the prior")
    prior = load(GENERATOR)
    if isinstance(config, GenerateConfig):
        return _generate(config, prior, load(BODY), live, tell, resume)
    return _denoise(config, store, prior, live, tell)


def _reconstruct(
    config: RunConfig,
    store: RunStore,
    live: Live,
    tell: Callable[[str], None],
    resume: Checkpoint | None,
    load: Callable[[str], PatchPrior],
) -> Done:
    tell("Scanning the volume")
    prepared = prepare(config.scan, store)
    prior = None
    if config.prior:
        tell("Loading the prior")
        prior = load(config.prior)
    tell("")
    live.begin(reference=prepared.reference, resume=resume)
    result = reconstruct(
        config.method,
        prepared.A,
        prepared.measurement,
        params=make_params(config.method, config.params),
        prior=prior,
        callback=live,
        state=None if resume is None else resume.state,
        on_tiles=live.within,
    )
    if live.wish is not None:  # within a pass, too, of which the method's callback is not told
        result = replace(result, status="stopped")
    return Done(result, prepared.reference, str(prepared.A.device))


def _generate(
    config: GenerateConfig,
    prior: PatchPrior,
    body: PatchPrior,
    live: Live,
    tell: Callable[[str], None],
    resume: Checkpoint | None,
) -> Done:
    tell("")
    live.begin(parts=("noisy", "x"), resume=resume)  # nothing bends the denoised estimate: it is x
    with PeakMemory() as memory:
        volume = generate(
            prior,
            VolumeGeometry(config.grid, config.voxel_size),
            body=body,
            num_steps=config.num_steps,
            seed=config.seed,
            on_tiles=live.within,
            callback=live,
            state=None if resume is None else resume.state,
        )
    return _done(config, volume, live, memory, prior)


def _denoise(
    config: DenoiseConfig, store: RunStore, prior: PatchPrior, live: Live, tell: Callable[[str], None]
) -> Done:
    tell("Preparing the volume")
    clean = reference_volume(config.scan, store)
    tell("")
    live.begin()
    with PeakMemory() as memory:
        volume = denoise(
            prior.without(**dict.fromkeys(config.without, True)),
            add_noise(clean, config.sigma, seed=config.seed),
            config.sigma,
            seed=config.seed,
            on_tiles=live.tick,
        )
    return _done(config, volume, live, memory, prior, clean)


def _done(
    config: GenerateConfig | DenoiseConfig,
    volume: Volume,
    live: Live,
    memory: PeakMemory,
    prior: PatchPrior,
    reference: Volume | None = None,
) -> Done:
    seconds = time.perf_counter() - live.started - live.spent
    status = "done" if live.wish is None else "stopped"
    result = Result(volume, config.method, config.params, status, seconds, memory.peak_mb)
    return Done(result, reference, str(prior.device))
