"""Detector faults: gain errors, dead pixels and columns, lag, saturation."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from tomopatch.physics.effects import DetectorFaults


class Pixels(NamedTuple):
    """Gain (v, u) of each pixel, around 1, and whether it is dead."""

    gain: Tensor
    dead: Tensor


def pixels_of(faults: DetectorFaults, det_shape: tuple[int, int]) -> Pixels:
    """Return the faults of each pixel; the same seed gives the same detector.

    Raises
    ------
    ValueError
        If all columns would be dead.
    """
    v, u = det_shape
    if faults.dead_columns >= u:
        raise ValueError(f"{faults.dead_columns} dead columns leave none of the {u} columns of the detector.")
    rng = np.random.default_rng(faults.seed)
    gain = 1 + faults.gain * rng.standard_normal((v, u))
    dead = np.zeros((v, u), bool)
    dead.flat[rng.choice(v * u, round(faults.dead * v * u), replace=False)] = True
    dead[:, rng.choice(u, faults.dead_columns, replace=False)] = True
    # gains are not negative
    return Pixels(torch.from_numpy(np.maximum(gain, 0)).to(torch.float32), torch.from_numpy(dead))


def lagged(signal: Tensor, lag: float) -> Tensor:
    """Return signals (v, angle, u) with lag from the previous view; view 0 is its own previous view."""
    if not lag:
        return signal
    before = torch.cat([signal[:, :1], signal[:, :-1]], 1)
    return (1 - lag) * signal + lag * before


def read_out(
    signal: Tensor, faults: DetectorFaults, unattenuated: Tensor | float, electronic: Tensor | None = None
) -> Tensor:
    """Return the output (v, angle, u) of a detector with faults, in the unit of the signal.

    Lag, gain, electronic noise, saturation, dead pixels, in this order. A dead pixel reads 0.

    Parameters
    ----------
    signal : Tensor (v, angle, u)
    unattenuated : Tensor or float
        Signal without an object; the saturation is a share of it.
    electronic : Tensor or None
        Electronic noise, in the unit of the signal.
    """
    pixels = pixels_of(faults, (signal.shape[0], signal.shape[2]))
    signal = lagged(signal, faults.lag) * pixels.gain.to(signal.device)[:, None]
    if electronic is not None:
        signal = signal + electronic
    if faults.saturation is not None:
        limit = faults.saturation * torch.as_tensor(unattenuated).to(signal)
        signal = torch.minimum(signal, limit.expand_as(signal))
    return torch.where(pixels.dead.to(signal.device)[:, None], 0.0, signal)
