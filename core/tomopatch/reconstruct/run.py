"""One reconstruction: `reconstruct` runs a method on a measurement and returns a `Result`."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor

from tomopatch.physics.measurement import Measurement
from tomopatch.progress import Callback, Interrupted, State, Step, moved, stops
from tomopatch.progress_bar import notebook_progress
from tomopatch.projector import Projector
from tomopatch.reconstruct.diffusion.plan import Plan, check_trained
from tomopatch.reconstruct.memory import PeakMemory
from tomopatch.reconstruct.methods import METHODS, MethodInput, check_suited, make_params
from tomopatch.reconstruct.threads import few_threads
from tomopatch.volume import Volume, VolumeGeometry, resample


@dataclass(frozen=True, eq=False)
class Result:
    """A reconstruction and the record of its computation.

    Attributes
    ----------
    volume : Volume
    method : str
    params : dict
    status : "done" or "stopped"
        Stopped: the callback ended it early; the volume is the last iterate.
    seconds, peak_memory_mb : float
        Wall time without the callback's; rise of the process's memory.
    residuals : tuple of float
        |A(x) - y| / |y| after each iteration, if the method measures it.
    std : Volume or None
        Expected error of each voxel, if the method estimates it.
    initial : Volume or None
        The initial reconstruction that a prior changed.
    plan : Plan or None
        Resolved settings of a reconstruction with a prior: grids, noise levels, conditions, clamped numbers.
    """

    volume: Volume
    method: str
    params: dict[str, Any]
    status: str
    seconds: float
    peak_memory_mb: float
    residuals: tuple[float, ...] = ()
    std: Volume | None = None
    initial: Volume | None = None
    plan: Plan | None = None

    @property
    def iterations(self) -> int | None:
        """Iterations made; None for methods that do not count them."""
        return len(self.residuals) or None

    @property
    def ending(self) -> str:
        """The status, with the number of iterations if the method converged."""
        after = converged_after(self.status, self.params, len(self.residuals))
        return self.status if after is None else f"converged after {after} iterations"

    def summary(self) -> dict[str, Any]:
        """Settings and cost of the reconstruction, for JSON."""
        plan = {} if self.plan is None else {"plan": self.plan.to_json()}
        return {
            "params": self.params,
            "status": self.status,
            "ending": self.ending,
            "iterations": self.iterations,
            "seconds": self.seconds,
            "peak_memory_mb": self.peak_memory_mb,
            **plan,
        }

    def __repr__(self) -> str:
        residual = f", residual {self.residuals[-1]:.3g}" if self.residuals else ""
        return f"Result({self.method!r}, {self.status} in {self.seconds:.1f} s{residual}, {self.volume!r})"


def converged_after(status: str, params: dict[str, Any], iterations: int) -> int | None:
    """Number of iterations after which a method converged; None if it made all of them or was stopped."""
    early = 0 < iterations < params.get("num_iterations", 0)
    return iterations if status == "done" and early else None


def reconstruct(
    method: str,
    A: Projector,
    measurement: Measurement,
    *,
    params: Any = None,
    prior: Any = None,
    callback: Callback | None = None,
    state: State | None = None,
    on_tiles: Callable[[int, int], None] | None = None,
    **options: Any,
) -> Result:
    """Reconstruct a measurement on A's grid.

    A's device computes; the result is on the device of the measurement.

    Parameters
    ----------
    method : str
        A name in METHODS.
    A : Projector
        Its geometry must be that of the measurement.
    params : the method's params dataclass, or None
    prior : PatchPrior or None
        For methods that need one.
    callback : f(Step) or None
        Called after each iteration; raises StopIteration to stop and keep the iterate. None in a notebook
        shows a progress bar.
    state : State or None
        State of a step of the same reconstruction, which continues after that step, to the same result.
    on_tiles : f(done, total) or None
        Called after each batch of tiles of the prior; raises StopIteration to stop and keep the last step.
    **options
        Fields of the params dataclass by name, instead of `params`.

    Raises
    ------
    Interrupted
        If the first step was interrupted, so that there is no result.
    """
    if params is None:
        params = make_params(method, options)
    elif options or not is_dataclass(params) or not isinstance(params, METHODS[method].params):
        raise TypeError(
            f"give {method} either params={METHODS[method].params.__name__}(...) or its fields by name."
        )
    if not isinstance(A, Projector) or not isinstance(measurement, Measurement):
        raise TypeError(
            "reconstruct takes a method, a Projector and a Measurement, "
            f"got {type(A).__name__} and {type(measurement).__name__}."
        )
    chosen = METHODS[method]
    check_suited([method], A.pg)
    measurement.check_projector(A)
    if chosen.needs_prior and prior is None:
        raise ValueError(f"{method} needs a prior: pass prior=load_prior().")
    if chosen.needs_prior:
        check_trained(prior, params)
    home = measurement.projections.device
    measurement = measurement.to(A.device)
    if callback is None:
        callback = notebook_progress(chosen.label)
    state = {} if state is None else moved(state, A.device)
    residuals: list[float] = torch.as_tensor(state.get("residuals", ())).tolist()
    before = state.get("seconds", 0.0)
    given = MethodInput(
        A, measurement.projections, measurement.weights, params, prior, state.get("method"), on_tiles
    )
    final: Step | None = None
    stopped, watching = False, 0.0
    with PeakMemory() as memory, torch.inference_mode(), few_threads(math.prod(A.domain_shape)):
        started = time.perf_counter()
        try:
            for final in chosen.steps(given):
                if final.residual is not None and not final.stage:
                    residuals.append(final.residual)
                now = time.perf_counter()
                step = final
                if final.state is not None:
                    figures = torch.tensor(residuals, dtype=torch.float64)
                    seconds = before + now - started - watching
                    step = replace(
                        final, state={"residuals": figures, "seconds": seconds, "method": final.state}
                    )
                stopped = stops(callback, step)
                watching += time.perf_counter() - now
                if stopped:
                    break
        except Interrupted:
            stopped = True
            if final is None:
                raise
        seconds = before + time.perf_counter() - started - watching
    assert final is not None, f"{method} made no step"
    x, std, initial = final.x, final.std, final.initial
    if not bool(torch.isfinite(x).all()) or (std is not None and not bool(torch.isfinite(std).all())):
        raise ValueError(
            f"{chosen.label} gave a volume that is not finite; expected finite attenuation; check the"
            " measurement for values far beyond the others, or choose another method."
        )
    x = x.detach().to(home).clone()
    std, initial = (None if v is None else v.detach().to(home).clone() for v in (std, initial))
    if measurement.metal is not None:
        metal = _on_grid(measurement.metal, A.vg).to(x)
        x = torch.where(metal > 0, metal, x)
    return Result(
        volume=Volume(x, A.vg, chosen.label),
        method=method,
        params=asdict(params),
        status="stopped" if stopped else "done",
        seconds=seconds,
        peak_memory_mb=memory.peak_mb,
        residuals=tuple(residuals),
        std=None if std is None else Volume(std, A.vg, f"{chosen.label}, deviation"),
        initial=None if initial is None else Volume(initial, A.vg, "Initial reconstruction"),
        plan=final.plan,
    )


def _on_grid(metal: Volume, vg: VolumeGeometry) -> Tensor:
    """The metal of a measurement on another grid of the same extent."""
    if metal.geometry.with_shape(vg.shape) != vg:
        raise ValueError(
            "the metal of this measurement was found on a grid of another extent; reconstruct on a grid that"
            f" covers {' x '.join(f'{s:.4g}' for s in metal.geometry.size)} mm."
        )
    return metal.data if metal.shape == vg.shape else resample(metal, vg.shape).data
