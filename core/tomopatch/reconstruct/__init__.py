"""Reconstruction: methods are generators of steps, f(A, y, ...) -> Iterator[Step]; `METHODS` lists them.

Methods without training are in `classical`, the one with a diffusion prior is in `diffusion`. `params` holds
the parameters of all methods, and `run` runs one.
"""

from tomopatch.reconstruct.classical.analytic import FILTERS, fbp, fdk
from tomopatch.reconstruct.classical.iterative import cgls, sirt
from tomopatch.reconstruct.classical.total_variation import tv
from tomopatch.reconstruct.methods import METHODS, Method, available, make_params
from tomopatch.reconstruct.run import Result, reconstruct

__all__ = [
    "FILTERS",
    "METHODS",
    "Method",
    "Result",
    "available",
    "cgls",
    "fbp",
    "fdk",
    "make_params",
    "reconstruct",
    "sirt",
    "tv",
]
