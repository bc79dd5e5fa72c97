"""The CUDA projector against the CPU one. Skips where there is no CUDA device, or no tomosipo."""

import pytest
import torch

from tests.conftest import SCANS
from tests.gpu.conftest import adjoint_error, smooth
from tomopatch import ConeBeam, ParallelBeam, Projector, VolumeGeometry
from tomopatch.projector.cuda import why_not

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(why_not() is not None, reason=why_not() or "")]


@pytest.mark.parametrize("name", [name for name in SCANS if name != "parallel tilted"])  # refused
def test_same_line_integrals_as_on_the_cpu(name):
    vg = VolumeGeometry((20, 24, 28), (2.0, 1.5, 1.0), (1.0, -2.0, 3.0))
    pg = SCANS[name](vg)
    x = smooth(vg)
    a, b = Projector(vg, pg, "joseph")(x), Projector(vg, pg, "tomosipo")(x.cuda()).cpu()
    # two interpolations of a smooth object: a percent of its largest value
    assert float((a - b).abs().max()) < 0.01 * float(a.max())


@pytest.mark.parametrize("width", [31, 32, 33, 50, 64])
def test_odd_widths_are_not_corrupted(width):
    vg = VolumeGeometry((16, width, width))
    for make in (ParallelBeam, ConeBeam):
        pg = make.circular(vg, num_views=7)
        x = smooth(vg)
        a, b = Projector(vg, pg, "joseph")(x), Projector(vg, pg, "tomosipo")(x.cuda()).cpu()
        assert float((a - b).abs().max()) < 0.01 * float(a.max())


@pytest.mark.parametrize(("make", "tolerance"), [(ParallelBeam, 1e-4), (ConeBeam, 5e-3)])
def test_transpose(make, tolerance):
    vg = VolumeGeometry((32, 64, 64))
    A = Projector(vg, make.circular(vg, num_views=30), "tomosipo")
    assert adjoint_error(A, torch.Generator().manual_seed(0)) < tolerance


def test_gradient_flows():
    vg = VolumeGeometry((16, 32, 32))
    A = Projector(vg, ParallelBeam.circular(vg, num_views=9), "tomosipo")
    x = smooth(vg).cuda().requires_grad_()
    y = torch.zeros(A.range_shape, device="cuda")
    (0.5 * (A(x) - y).square().sum()).backward()
    torch.testing.assert_close(x.grad, A.T(A(x.detach()) - y), atol=1e-4, rtol=1e-3)
