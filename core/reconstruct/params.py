"""The parameters of each method: their defaults, limits and words, from which forms and flags are built."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from core.reconstruct.analytic import FILTERS
from core.reconstruct.starts import STARTS


def option(default: Any, label: str, help: str, **limits: Any) -> Any:
    """A parameter: its default, and what a form or a command line says of it.

    limits: low, high, step, choices.
    """
    return field(default=default, metadata={"label": label, "help": help, **limits})


@dataclass(frozen=True)
class AnalyticParams:
    filter: str = option(
        "ram-lak",
        "Filter",
        "Window on the ramp: softer ones trade detail for less noise.",
        choices=tuple(FILTERS),
    )


@dataclass(frozen=True)
class SirtParams:
    num_iterations: int = option(
        100, "Iterations", "More iterations: sharper, and noisier.", low=1, high=2000
    )
    nonnegative: bool = option(True, "No negative attenuation", "Keep every voxel at or above vacuum.")


@dataclass(frozen=True)
class CglsParams:
    num_iterations: int = option(
        15, "Iterations", "Too many fit the noise: this number is the regularisation.", low=1, high=500
    )


@dataclass(frozen=True)
class TvParams:
    lam: float = option(
        0.00025,
        "Smoothness",
        "Weight of the total variation, relative to water: contrasts well below it vanish.",
        low=0.0,
        high=1.0,
        step=0.00005,
    )
    num_iterations: int = option(250, "Iterations", "Until the picture stops changing.", low=1, high=2000)
    nonnegative: bool = option(True, "No negative attenuation", "Keep every voxel at or above vacuum.")


@dataclass(frozen=True)
class DiffusionParams:
    num_steps: int = option(4, "Steps", "Passes of the prior over the volume, per sample.", low=1, high=200)
    sigma_max: float = option(
        0.0,
        "Noise at the start",
        "How far from its start the sampler may go, in units of 1000 HU; 0 = by views, angles and dose, little if all "
        "is of even regions.",
        low=0.0,
        high=20.0,
        step=0.01,
    )
    warm_start: str = option(
        "tv",
        "Start",
        "What the sampler starts from; noise alone asks the most of the prior.",
        choices=tuple(STARTS),
    )
    trust: float = option(
        1.0,
        "Trust in the data",
        "Above 1: fit the measurement more closely, noise included.",
        low=0.01,
        high=100.0,
        step=0.1,
    )
    churn: float = option(
        0.0,
        "Fresh noise",
        "Share of the noise drawn anew at each step: 0 is deterministic.",
        low=0.0,
        high=1.0,
        step=0.1,
    )
    mirror: bool = option(
        False,
        "Mirrored passes too",
        "Average each pass with that over the mirrored volume: hardly better, half as long again.",
    )
    num_samples: int = option(
        1, "Samples", "More than one: their mean, and how much they differ.", low=1, high=64
    )
    seed: int = option(0, "Seed", "The same seed gives the same volume.", low=0, high=2**31 - 1)


def checked(kind: type, values: dict[str, Any], method: str) -> Any:
    """The params dataclass made of a dict; `method` is for the sentence that refuses one.

    Raises
    ------
    ValueError
        For an unknown name, a value of another type, or one out of range.
    """
    known = {f.name: f for f in fields(kind)}
    made: dict[str, Any] = {}
    for name, value in values.items():
        if name not in known:
            raise ValueError(f"{method} has no parameter {name!r}; it has {', '.join(known)}.")
        limits, wanted = known[name].metadata, type(known[name].default)
        if wanted is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if wanted is not type(None) and not isinstance(value, wanted):
            raise ValueError(f"{method}: {name} must be of type {wanted.__name__}, got {value!r}.")
        if "choices" in limits and value not in limits["choices"]:
            raise ValueError(
                f"{method}: {name} must be one of {', '.join(map(str, limits['choices']))}, got {value!r}."
            )
        low, high = limits.get("low"), limits.get("high")
        if (low is not None and not value >= low) or (high is not None and not value <= high):
            raise ValueError(f"{method}: {name} must lie between {low} and {high}, got {value!r}.")
        made[name] = value
    return kind(**made)
