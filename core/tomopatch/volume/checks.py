"""Checks of user input: arrays of any kind, counts, numbers that fit a float."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

Shape = tuple[int, int, int]


def as_tensor(data: Any, what: str) -> Tensor:
    """Float32 tensor of real numbers from a torch tensor, a numpy array or an array-like.

    A float32 tensor or a writable float32 array is not copied.

    Parameters
    ----------
    data : Tensor, ndarray or array-like
    what : str
        Name of the data in messages: "the volume".

    Raises
    ------
    TypeError
        If the data holds no real numbers.
    """
    if isinstance(data, Tensor):
        if data.is_complex():
            raise TypeError(f"{what} holds complex numbers; expected real ones; take the real part.")
        return data.to(torch.float32)
    try:
        array = np.asarray(data)
    except (ValueError, TypeError) as error:  # lists of unequal lengths
        raise TypeError(
            f"{what} is not an array of numbers ({error}); expected a torch tensor or a numpy array."
        ) from None
    if array.dtype.kind not in "biuf":
        raise TypeError(
            f"{what} must be a torch tensor or a numpy array of real numbers, got "
            f"{type(data).__name__} of {array.dtype.name}."
        )
    array = np.ascontiguousarray(array, np.float32) if array.ndim else array.astype(np.float32)
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def finite(value: Any) -> bool:
    """Whether `value` is a real number that fits a float."""
    try:
        return isinstance(value, numbers.Real) and math.isfinite(value)
    except OverflowError:  # an integer with hundreds of digits
        return False


def checked_shape(shape: Any, what: str = "a shape") -> Shape:
    """Return the three counts (z, y, x) as integers; raise ValueError unless each is at least 1."""
    counts = tuple(shape) if isinstance(shape, Iterable) else (shape,)
    if len(counts) != 3 or any(not finite(n) or int(n) != n or n < 1 for n in counts):
        raise ValueError(f"{what} must be three counts (z, y, x) of at least 1, got {shape}.")
    z, y, x = (int(n) for n in counts)
    return z, y, x
