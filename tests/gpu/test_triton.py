"""The CUDA projector in Triton against the CPU one, whose discretisation it shares. Skips where there is no
CUDA device.

With TRITON_INTERPRET=1 in the environment the kernels are interpreted on the CPU instead: slow, no GPU
needed.
"""

import os

import pytest
import torch

from tests.conftest import SCANS
from tests.gpu.conftest import adjoint_error, smooth
from tomopatch import ConeBeam, ParallelBeam, Projector, VolumeGeometry, reconstruct, simulate
from tomopatch.geometry.beams import Views
from tomopatch.progress import last
from tomopatch.projector.triton_joseph import why_not
from tomopatch.reconstruct import cgls, sirt, tv

REASON = None if os.environ.get("TRITON_INTERPRET") == "1" else why_not()
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(REASON is not None, reason=REASON or "")]


def both(vg, pg):
    return Projector(vg, pg, "joseph"), Projector(vg, pg, "triton")


def difference(a, b):
    """Of two results, relative to the largest value of the first."""
    return float((a.cpu() - b.cpu()).abs().max() / a.abs().max())


@pytest.mark.parametrize("name", list(SCANS))
def test_same_numbers_as_on_the_cpu(name, vg, generator):
    """Noise, so that every weight counts: float32 rounding alone remains."""
    A, B = both(vg, SCANS[name](vg))
    x, y = torch.rand(A.domain_shape, generator=generator), torch.rand(A.range_shape, generator=generator)
    assert difference(A(x), B(x.to(B.device))) < 1e-5
    assert difference(A.T(y), B.T(y.to(B.device))) < 1e-5
    assert adjoint_error(B, generator) < 1e-6


def test_a_detector_on_its_side_sees_the_same(vg, generator):
    views = ConeBeam.circular(vg, num_views=5, src_orig_dist=120, src_det_dist=200).views()
    sideways = Views(True, views.source, views.det_pos, views.det_u, views.det_v, views.det_shape[::-1])
    x = torch.rand(vg.shape, generator=generator)
    A, B = Projector(vg, views, "joseph"), Projector(vg, sideways, "triton")
    assert difference(A(x), B(x).permute(2, 1, 0)) < 1e-5
    y = torch.rand(A.range_shape, generator=generator)
    assert difference(A.T(y), B.T(y.permute(2, 1, 0))) < 1e-5


@pytest.mark.parametrize("width", [1, 31, 33, 50])
def test_odd_widths(width, generator):
    vg = VolumeGeometry((5, width, width + 2))
    for make in (ParallelBeam, ConeBeam):
        A, B = both(vg, make.circular(vg, num_views=7))
        x = torch.rand(vg.shape, generator=generator)
        assert difference(A(x), B(x)) < 1e-5


@pytest.mark.skipif(not torch.cuda.is_available(), reason="There is no CUDA device.")
@pytest.mark.parametrize("make", [ParallelBeam, ConeBeam])
def test_on_wide_grids_rays_keep_their_place(make, generator):
    """Some 1000 voxels along a ray, each of its weights a few 1e-5 off at most: 1e-5 of the largest sum."""
    vg = VolumeGeometry((3, 1024, 1000))
    A, B = both(vg, make.circular(vg, num_views=4, start=0.3))
    x, y = torch.rand(A.domain_shape, generator=generator), torch.rand(A.range_shape, generator=generator)
    assert difference(A(x), B(x)) < 1e-5
    assert adjoint_error(B, generator) < 1e-5
    assert difference(A.T(y), B.T(y)) < 1e-4


def test_results_stay_where_the_data_is(vg):
    B = Projector(vg, SCANS["cone"](vg), "triton")
    x = smooth(vg)
    assert B(x).device == x.device
    assert B(x.to(B.device)).device.type == B.T(torch.ones(B.range_shape, device=B.device)).device.type
    assert B(x.to(B.device)).device.type == B.device.type


def test_gradient_flows():
    vg = VolumeGeometry((8, 16, 16))
    B = Projector(vg, ParallelBeam.circular(vg, num_views=5), "triton")
    x = smooth(vg).to(B.device).requires_grad_()
    y = torch.zeros(B.range_shape, device=B.device)
    (0.5 * (B(x) - y).square().sum()).backward()
    expected = B.T(B(x.detach()) - y)
    assert difference(expected, x.grad) < 1e-5  # atomic sums come in another order each time


METHODS = {
    "sirt": lambda A, y: last(sirt(A, y, num_iterations=5)).x,
    "cgls": lambda A, y: last(cgls(A, y, num_iterations=5)).x,
    "tv": lambda A, y: last(tv(A, y, num_iterations=10)).x,
}


@pytest.mark.parametrize("make", [ParallelBeam, ConeBeam])
@pytest.mark.parametrize("name", list(METHODS))
def test_reconstructions_are_those_of_the_cpu(name, make, small):
    """A few iterations carry the rounding of 1e-6 on and, in CGLS's quotients, enlarge it: 1e-4 of the
    largest value.
    """
    A, B = both(small.geometry, make.circular(small.geometry, num_views=12))
    y = A(small.data)
    on_cpu = METHODS[name](A, y)
    there = METHODS[name](B, y.to(B.device))
    assert there.device.type == B.device.type
    assert difference(on_cpu, there) < 1e-4


def test_a_measurement_is_taken_to_the_projector_and_the_result_back(small):
    A, B = both(small.geometry, ParallelBeam.circular(small.geometry, num_views=12))
    m = simulate(small, A, photon_count=1e5)
    options = {"num_iterations": 5, "callback": lambda step: None}
    on_cpu, there = reconstruct("sirt", A, m, **options), reconstruct("sirt", B, m, **options)
    assert there.volume.data.device == m.projections.device
    assert difference(on_cpu.volume.data, there.volume.data) < 1e-4


def test_noise_is_the_same_on_every_device(small):
    A, B = both(small.geometry, ParallelBeam.circular(small.geometry, num_views=12))
    here, there = (simulate(v, P, photon_count=1e4) for v, P in ((small, A), (small.to(B.device), B)))
    assert there.projections.device.type == B.device.type
    # line integrals differ by rounding; a Poisson draw rarely turns out another for that
    apart = (here.projections - there.projections.cpu()).abs() > 1e-3
    assert float(apart.float().mean()) < 0.01
