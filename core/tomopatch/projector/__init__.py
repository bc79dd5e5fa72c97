"""Projector A and its transpose A.T: line integrals of a volume along the rays of a scan geometry."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from tomopatch.geometry.beams import ConeBeam, Geometry, ParallelBeam
from tomopatch.geometry.views import Views
from tomopatch.notes import note
from tomopatch.projector.joseph import JosephOperator
from tomopatch.volume import Shape, VolumeGeometry, as_tensor, grid_of


class Backend(Protocol):
    """Linear map of one volume grid and one scan geometry, on tensors of its device."""

    device: torch.device

    def forward(self, x: Tensor) -> Tensor: ...

    def transpose(self, y: Tensor) -> Tensor: ...


def _tomosipo(vg: VolumeGeometry, views: Views) -> Backend:
    from tomopatch.projector.cuda import TomosipoOperator  # imports CUDA libraries: only on request

    return TomosipoOperator(vg, views)


def _triton(vg: VolumeGeometry, views: Views) -> Backend:
    from tomopatch.projector.triton_joseph import TritonOperator

    return TritonOperator(vg, views)


BACKENDS: dict[str, Callable[[VolumeGeometry, Views], Backend]] = {
    "joseph": JosephOperator,  # CPU
    "triton": _triton,  # CUDA, comes with torch
    "tomosipo": _tomosipo,  # CUDA, needs further packages
}


def best_backend(views: Views) -> str:
    """Name of the fastest backend that works here with these rays; warns if a CUDA device stays unused."""
    if not torch.cuda.is_available():
        return "joseph"
    from tomopatch.projector import cuda, triton_joseph

    no_triton = triton_joseph.why_not()
    if no_triton is None:
        return "triton"
    no_tomosipo = cuda.why_not() or cuda.unsuited(views)
    if no_tomosipo is None:
        return "tomosipo"
    note(f"{no_triton} {no_tomosipo} The CPU projector is used.", stacklevel=3)
    return "joseph"


class Projector:
    """A: volume (z, y, x) [1/mm] -> line integrals (v, angle, u), and its transpose A.T.

    Parameters
    ----------
    vg : VolumeGeometry
        A volume may be given instead; its grid is used.
    pg : ParallelBeam, ConeBeam or Views
    backend : "auto" or a name in BACKENDS
        "joseph" runs on the CPU, "tomosipo" and "triton" on CUDA. Tensors on another device are copied there
        and back.

    Both directions are differentiable. The attenuation outside the volume is zero.
    """

    def __init__(self, vg: VolumeGeometry, pg: Geometry, backend: str = "auto") -> None:
        if not isinstance(pg, ParallelBeam | ConeBeam | Views):
            raise TypeError(f"Projector takes a ParallelBeam, ConeBeam or Views, got {type(pg).__name__}.")
        vg = grid_of(vg)
        if backend != "auto" and backend not in BACKENDS:
            raise ValueError(
                f"unknown projector backend {backend!r}; known are {sorted(BACKENDS)} and 'auto'."
            )
        self.vg, self.pg = vg, pg
        views = pg.views()
        self.backend = best_backend(views) if backend == "auto" else backend
        self._operator = BACKENDS[self.backend](vg, views)
        self.domain_shape: Shape = vg.shape
        self.range_shape: Shape = (views.det_shape[0], views.num_views, views.det_shape[1])
        self.T = Transpose(self)
        self._norm: float | None = None

    def __repr__(self) -> str:
        voxels, rays = (" x ".join(map(str, shape)) for shape in (self.domain_shape, self.range_shape))
        return (
            f"Projector({type(self.pg).__name__}, {voxels} (z, y, x) -> {rays} (v, angle, u), {self.backend})"
        )

    def __call__(self, x: Any) -> Tensor:
        """Line integrals (v, angle, u) of x (z, y, x), a torch or numpy array of any real type."""
        x = self._checked(x, self.domain_shape, "the volume", "(z, y, x)")
        return _Linear.apply(x, self._operator.forward, self._operator.transpose)

    def subset(self, angle_index: Sequence[int] | slice) -> Projector:
        """Projector of these views only."""
        return Projector(self.vg, self.pg.subset(angle_index), self.backend)

    def norm(self, num_iterations: int = 20) -> float:
        """Return the largest singular value of A [mm], by power iteration from ones; computed once.

        A and x >= 0 have no negative entries, so ones are never orthogonal to the leading vector (Perron).
        """
        if self._norm is None:
            x = torch.ones(self.domain_shape)
            value = 0.0
            for _ in range(num_iterations):
                if not bool(x.any()):  # no ray meets the volume
                    break
                x = self.T(self(x / x.norm()))
                value = float(x.norm())
            self._norm = math.sqrt(value)
        return self._norm

    @property
    def device(self) -> torch.device:
        """The device on which this projector computes."""
        return self._operator.device

    def _checked(self, x: Any, shape: Shape, what: str, axes: str) -> Tensor:
        x = as_tensor(x, what)
        if tuple(x.shape) != shape:
            raise ValueError(
                f"{what} has shape {tuple(x.shape)} but the geometry asks for {axes} = {shape}; "
                "use the projector and the data of the same scan (subset both with the same angle_index)."
            )
        return x


class Transpose:
    """A.T: projections (v, angle, u) -> volume (z, y, x); `A.T.T` is A."""

    def __init__(self, projector: Projector) -> None:
        self.T = projector

    def __call__(self, y: Any) -> Tensor:
        A = self.T
        y = A._checked(y, A.range_shape, "the projections", "(v, angle, u)")
        return _Linear.apply(y, A._operator.transpose, A._operator.forward)

    @property
    def domain_shape(self) -> Shape:
        return self.T.range_shape

    @property
    def range_shape(self) -> Shape:
        return self.T.domain_shape


class _Linear(torch.autograd.Function):
    """A linear map whose derivative is its transpose."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, forward: Callable[[Tensor], Tensor], transpose: Callable[[Tensor], Tensor]
    ) -> Tensor:
        ctx.forward_map, ctx.transpose_map = forward, transpose
        return forward(x.detach().to(torch.float32)).to(x.device)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return _Linear.apply(grad, ctx.transpose_map, ctx.forward_map), None, None
