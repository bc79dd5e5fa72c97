"""Fixtures of the tests of both CUDA projectors."""

import torch


def smooth(vg):
    """A smooth object: on it two discretisations differ by their interpolation alone."""
    z, y, x = torch.meshgrid(*(vg.axis(i) for i in range(3)), indexing="ij")
    r2 = ((z - 2) / 9) ** 2 + ((y + 3) / 8) ** 2 + ((x - 2) / 7) ** 2
    return (0.02 * torch.exp(-r2)).to(torch.float32)


def adjoint_error(A, generator):
    """|<Ax, y> - <x, A.T y>| / (|Ax| |y|) of random x and y on the projector's device."""
    x = torch.rand(A.domain_shape, generator=generator).to(A.device)
    y = torch.rand(A.range_shape, generator=generator).to(A.device)
    Ax, ATy = A(x), A.T(y)
    difference = float((Ax.double() * y.double()).sum() - (x.double() * ATy.double()).sum())
    return abs(difference) / float(Ax.double().norm() * y.double().norm())
