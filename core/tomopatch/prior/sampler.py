"""Sampling from a denoiser: noise levels and solvers, independent of tomography."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator

import torch
from torch import Tensor

from tomopatch.prior.denoiser import Denoiser
from tomopatch.progress import State, Step

Correct = Callable[[Tensor, float], Tensor]
"""correct(denoised, sigma) -> the corrected estimate; called with falling sigma."""


def karras_sigmas(num_steps: int, sigma_min: float, sigma_max: float, rho: float = 7.0) -> list[float]:
    """`num_steps` falling noise levels and a final 0. (Karras et al. 2022, eq. 5)"""
    if num_steps < 1:
        raise ValueError(f"num_steps must be at least 1, got {num_steps}.")
    if not 0 < sigma_min <= sigma_max:
        raise ValueError(f"noise levels need 0 < sigma_min <= sigma_max, got {sigma_min} and {sigma_max}.")
    high, low = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    ramp = [i / max(1, num_steps - 1) for i in range(num_steps)]
    return [(high + t * (low - high)) ** rho for t in ramp] + [0.0]


def sample(
    denoiser: Denoiser,
    x: Tensor,
    sigmas: list[float],
    *,
    order: int = 2,
    eta: float = 0.0,
    correct: Correct | None = None,
    generator: torch.Generator | None = None,
    state: State | None = None,
) -> Generator[Step, None, Tensor]:
    """Solve from x, which has noise of level sigmas[0], down to the last level.

    Each step is one pass of the denoiser. Its `x` is the corrected estimate, `noisy` and `denoised` are the
    denoiser's input and output.

    Parameters
    ----------
    denoiser : D(x, sigma)
        May raise Interrupted within a pass.
    x : Tensor (z, y, x)
        Noisy volume to start from, network space.
    sigmas : list of float
        Falling noise levels. The last one is the end of the last step, usually 0.
    order : 1 or 2
        1: Euler, which is DDIM. 2: DPM-Solver++(2M), which also uses the estimate of the step before. (Lu et
        al. 2022, alg. 2; in the form of k-diffusion, for sigma with alpha = 1)
    eta : float, 0 to 1
        DDIM's stochasticity: 0 is the deterministic flow, 1 the ancestral chain, which adds as much fresh
        noise as the step allows. (Song et al. 2021, eq. 16)
    correct : f(denoised, sigma) -> denoised, or None
        Data consistency, applied to every estimate.
    generator : torch.Generator or None
        Source of the fresh noise.
    state : State or None
        State of an earlier step to continue after; the generator must be in its state of that time.

    Returns
    -------
    Tensor (z, y, x)
        Value of the generator: the sample at the last level; at level 0 the last corrected estimate.
    """
    if order not in (1, 2):
        raise ValueError(f"order must be 1 (Euler) or 2 (DPM-Solver++ 2M), got {order}.")
    if not 0 <= eta <= 1:
        raise ValueError(f"eta must lie between 0 and 1, got {eta}.")
    num_steps = len(sigmas) - 1
    done, estimate = 0, x
    before: Tensor | None = None  # the estimate of the previous step
    if state is not None:
        done, x, estimate, before = state["i"], state["x"], state["estimate"], state.get("before")

    def descend(i: int) -> Tensor:
        """The sample at level i."""
        sigma, sigma_next = sigmas[i - 1], sigmas[i]
        fresh = eta * sigma_next * math.sqrt(1 - (sigma_next / sigma) ** 2)
        kept = math.sqrt(sigma_next**2 - fresh**2)
        guess = estimate
        if order == 2 and before is not None:
            r = (math.log(sigmas[i - 2]) - math.log(sigma)) / (math.log(sigma) - math.log(sigma_next))
            guess = (1 + 0.5 / r) * estimate - (0.5 / r) * before
        lower = guess + (kept / sigma) * (x - guess)
        return lower + fresh * _randn_like(x, generator) if fresh > 0 else lower

    for i in range(done, num_steps):
        if i:
            x, before = descend(i), estimate
        denoised = denoiser(x, sigmas[i])
        estimate = denoised if correct is None else correct(denoised, sigmas[i])
        state = {"i": i + 1, "x": x, "estimate": estimate} | ({} if before is None else {"before": before})
        yield Step(i + 1, num_steps, estimate, sigma=sigmas[i], noisy=x, denoised=denoised, state=state)
    return estimate if sigmas[-1] == 0 else descend(num_steps)


def _randn_like(x: Tensor, generator: torch.Generator | None) -> Tensor:
    """Noise drawn on the CPU, so that a seed gives the same volume on every device."""
    return torch.randn(x.shape, generator=generator, dtype=torch.float32).to(x.device)
