"""Parameters of each method: defaults, limits and texts, from which forms and flags are built."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from tomopatch.reconstruct.classical.analytic import FILTERS
from tomopatch.reconstruct.diffusion.initial import INITIALIZERS
from tomopatch.reconstruct.diffusion.tuned import POSTERIOR_STEPS, RESTORE_STEPS, UNCONDITIONAL_STEPS
from tomopatch.volume import finite


def option(default: Any, label: str, help: str, **limits: Any) -> Any:
    """A parameter: default; label, help and limits (low, high, step, choices, names) of forms and flags.

    at_most: the method may need less than the value. automatic: 0 lets the method choose.
    """
    return field(default=default, metadata={"label": label, "help": help, **limits})


@dataclass(frozen=True)
class AnalyticParams:
    """Parameters of FBP and FDK."""

    filter: str = option(
        "ram-lak",
        "Filter",
        "Window on the ramp: softer ones trade detail for less noise.",
        choices=tuple(FILTERS),
    )
    extrapolate: bool = option(
        False,
        "Extrapolate",
        "Extrapolate the projections of an object wider than the detector. This avoids a bright rim.",
    )


@dataclass(frozen=True)
class SirtParams:
    """Parameters of SIRT."""

    num_iterations: int = option(
        100, "Iterations", "More iterations: sharper, and noisier.", low=1, high=2000
    )
    nonnegative: bool = option(True, "No negative attenuation", "Keep every voxel at or above vacuum.")


@dataclass(frozen=True)
class CglsParams:
    """Parameters of CGLS."""

    num_iterations: int = option(
        15,
        "Iterations",
        "Too many iterations fit the noise; stopping early is the smoothing.",
        low=1,
        high=500,
    )


@dataclass(frozen=True)
class TvParams:
    """Parameters of total variation."""

    lam: float = option(
        0.00025,
        "Smoothness",
        "Weight of the total variation, relative to water: contrasts well below it vanish.",
        low=0.0,
        high=1.0,
        step=0.00005,
    )
    num_iterations: int = option(
        250,
        "Most iterations",
        "It stops earlier when the picture no longer changes.",
        low=1,
        high=2000,
        at_most=True,
    )
    nonnegative: bool = option(True, "No negative attenuation", "Keep every voxel at or above vacuum.")


MODES = ("restore", "posterior")
CONDITIONS = ("scan", "none")


@dataclass(frozen=True)
class DiffusionParams:
    """Parameters of reconstruction with the diffusion prior; noise levels in network units (1000 HU)."""

    mode: str = option(
        "restore",
        "Mode",
        "restore: a few passes from an initial reconstruction. posterior: sampling from noise, in more"
        " steps.",
        choices=MODES,
        names={"restore": "Restore (fast)", "posterior": "Sample from noise"},
    )
    num_steps: int = option(
        0,
        "Steps",
        "Passes of the prior over the volume, per sample; 0 = by the mode: 4 to restore, 20 to sample, 40"
        " without a condition.",
        low=0,
        high=200,
    )
    condition: str = option(
        "scan",
        "Condition",
        "Input of the prior in addition to the noisy volume. none: the measurement is the only constraint on"
        " the result.",
        choices=CONDITIONS,
        names={"scan": "Images of the scan", "none": "None"},
    )
    initial: str = option(
        "tv",
        "Initial reconstruction",
        "The image that is restored, or that conditions the sampling.",
        choices=tuple(INITIALIZERS),
    )
    sigma_max: float = option(
        0.0,
        "First noise level",
        "In units of 1000 HU; 0 = by views, angles and dose to restore, 3 to sample, 10 without a condition.",
        low=0.0,
        high=100.0,
        step=0.01,
        automatic=True,
    )
    data_weight: float = option(
        1.0,
        "Data-fidelity weight",
        "Above 1: fit the measurement more closely, noise included.",
        low=0.01,
        high=100.0,
        step=0.1,
    )
    eta: float = option(
        1.0,
        "Eta",
        "Share of fresh noise in each step of the posterior mode: 0 is deterministic.",
        low=0.0,
        high=1.0,
        step=0.1,
    )
    num_samples: int = option(
        1, "Samples", "More than one: their mean, and how much they differ.", low=1, high=64
    )
    seed: int = option(0, "Seed", "The same seed gives the same volume.", low=0, high=2**31 - 1)

    def __post_init__(self) -> None:
        if self.mode == "restore" and self.condition == "none":
            raise ValueError(
                "the mode 'restore' needs the condition 'scan': without one there is nothing to restore;"
                " choose the mode 'posterior'."
            )

    @property
    def trained_mode(self) -> str:
        """The mode that a prior must have been trained for; see `tomopatch.prior.ranges`."""
        return "restore" if self.condition == "scan" else "unconditional"

    @property
    def sampling(self) -> bool:
        """Whether volumes are sampled from noise with images of the scan."""
        return self.mode == "posterior" and self.condition == "scan"

    @property
    def planned_steps(self) -> int:
        """Number of steps per sample."""
        by_mode = RESTORE_STEPS if self.mode == "restore" else POSTERIOR_STEPS
        return self.num_steps or (by_mode if self.condition == "scan" else UNCONDITIONAL_STEPS)


RENAMED = {"warm_start": "initial", "trust": "data_weight", "churn": "eta"}


def migrated(method: str, values: dict[str, Any]) -> dict[str, Any]:
    """Rename stored parameters of an earlier version to the present names."""
    if method != "diffusion" or not isinstance(values, dict) or not ({"mirror", *RENAMED} & set(values)):
        return values
    known = {RENAMED.get(name, name): value for name, value in values.items() if name != "mirror"}
    if known.get("initial") == "noise":
        known |= {"initial": "tv", "mode": "posterior", "condition": "none"}
    return known


def checked(kind: type, values: dict[str, Any], method: str) -> Any:
    """Make the params dataclass from a dict; `method` names it in error messages.

    Raises
    ------
    ValueError
        For an unknown name, a value of another type, or one out of range.
    """
    if not isinstance(values, dict):
        raise ValueError(f"the parameters of {method} must be an object, got {str(values)[:80]!r}.")
    known = {f.name: f for f in fields(kind)}
    made: dict[str, Any] = {}
    for name, value in values.items():
        if name not in known:
            raise ValueError(f"{method} has no parameter {name!r}; it has {', '.join(known)}.")
        limits, wanted = known[name].metadata, type(known[name].default)
        if isinstance(value, (int, float)) and not finite(value):
            raise ValueError(f"{method}: {name} must be a finite number, got {str(value)[:40]}.")
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
