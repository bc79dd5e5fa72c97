"""Coarse to fine: the same scan at half the resolution, and total variation that begins there."""

import pytest
import torch

from tomopatch import ConeBeam, ParallelBeam, Projector, VolumeGeometry
from tomopatch.progress import Step, last
from tomopatch.reconstruct.classical.coarse import coarser, on_grid, tv_coarse_to_fine
from tomopatch.reconstruct.classical.total_variation import tv
from tomopatch.volume import area_average

VG = VolumeGeometry((16, 64, 64), (3.0, 1.0, 1.0))


def ball(vg: VolumeGeometry) -> torch.Tensor:
    z, y, x = torch.meshgrid(*(vg.axis(i) for i in range(3)), indexing="ij")
    return (0.02 * torch.exp(-((z / 15) ** 2 + ((y - 4) / 12) ** 2 + ((x + 6) / 9) ** 2))).to(torch.float32)


@pytest.mark.parametrize("vg", [VG, VolumeGeometry((32, 64, 65), (1.0, 1.0, 1.0), (0.0, 2.0, -3.0))])
@pytest.mark.parametrize(
    "scan",
    [
        lambda vg: ParallelBeam.circular(vg, num_views=7),
        lambda vg: ConeBeam.circular(vg, num_views=7, src_orig_dist=150, src_det_dist=250),
        lambda vg: ConeBeam.circular(
            vg, num_views=5, src_orig_dist=150, src_det_dist=250, det_shape=(31, 77), det_offset=(2.0, 9.0)
        ),
        lambda vg: ConeBeam.circular(vg, num_views=5, src_orig_dist=150, src_det_dist=250, det_shape=(1, 90)),
    ],
)
def test_the_coarser_scan_sees_the_same_object(vg, scan):
    """Pixels are means of pixels, voxels of voxels: for a smooth object line integrals differ by what lies
    between rays.
    """
    A = Projector(vg, scan(vg), "joseph")
    x = ball(vg)
    found = coarser(A, A(x))
    assert found is not None
    A_coarse, y_coarse, _ = found
    assert A_coarse.vg.shape == vg.halved().shape
    assert y_coarse.shape == A_coarse.range_shape
    expected = A_coarse(area_average(x, A_coarse.vg.shape))
    # second differences of a ball of 9 mm over pixels of 2 to 4 mm
    assert float((expected - y_coarse).abs().max()) < 0.03 * float(y_coarse.max())


def test_inverse_variances_of_averaged_pixels():
    """The mean of two pixels of variance 1/w has variance 1/(2 w): rows stay, for slices are thick."""
    A = Projector(VG, ParallelBeam.circular(VG, num_views=3), "joseph")
    found = coarser(A, torch.zeros(A.range_shape), torch.full(A.range_shape, 5.0))
    assert found is not None
    _, y, weights = found
    assert y.shape[0] == A.range_shape[0]
    torch.testing.assert_close(weights, torch.full(y.shape, 10.0))


def test_grids_that_are_coarse_enough_stay_as_they_are():
    vg = VolumeGeometry((8, 40, 40))
    A = Projector(vg, ParallelBeam.circular(vg, num_views=3), "joseph")
    assert coarser(A, torch.zeros(A.range_shape)) is None


@pytest.fixture(scope="module")
def limited():
    """A flat chest, a body with two lungs, scanned over 100 degrees."""
    vg = VolumeGeometry((2, 128, 128))
    y, x = torch.meshgrid(vg.axis(1), vg.axis(2), indexing="ij")
    slice_ = 0.0192 * ((x / 50) ** 2 + (y / 40) ** 2 < 1)
    for side in (-18, 18):
        slice_ = slice_ - 0.015 * (((x - side) / 14) ** 2 + ((y + 5) / 18) ** 2 < 1)
    x_true = slice_.to(torch.float32).expand(vg.shape).contiguous()
    A = Projector(vg, ParallelBeam.limited(vg, num_views=40, angle_range=1.75), "joseph")
    return x_true, A, A(x_true)


def test_where_angles_are_missing_it_comes_nearer_in_as_many_iterations(limited):
    """Both go to the same minimum; the plain one needs more iterations."""
    x_true, A, y = limited
    near, plain = (
        float((last(method(A, y, lam=1.5e-5, num_iterations=20)).x - x_true).norm())
        for method in (tv_coarse_to_fine, tv)
    )
    assert near < 0.85 * plain


def test_the_coarser_steps_are_told_as_a_start_on_the_finest_grid_and_can_be_stopped(limited):
    _, A, y = limited
    steps: list[Step] = []

    def stop(step: Step) -> None:
        steps.append(step)
        if len(steps) == 3:
            raise StopIteration

    x = last(tv_coarse_to_fine(A, y, lam=0.00025, num_iterations=20), stop).x
    assert len(steps) == 3
    assert all(s.stage == "initial" and tuple(s.x.shape) == A.domain_shape and s.state is None for s in steps)
    assert tuple(x.shape) == A.domain_shape
    torch.testing.assert_close(x, steps[-1].x)  # what there was is kept


def test_a_resumed_run_equals_an_uninterrupted_one(limited):
    _, A, y = limited
    whole = last(tv_coarse_to_fine(A, y, lam=0.00025, num_iterations=8)).x
    kept = {}

    def keep(step: Step) -> None:
        if not step.stage and step.i == 5:
            assert step.state is not None
            kept.update({n: v.clone() if isinstance(v, torch.Tensor) else v for n, v in step.state.items()})
            raise StopIteration

    last(tv_coarse_to_fine(A, y, lam=0.00025, num_iterations=8), keep)
    again = last(tv_coarse_to_fine(A, y, lam=0.00025, num_iterations=8, state=kept)).x
    assert torch.equal(again, whole)


def test_what_is_interpolated_keeps_constants_and_extent():
    x = torch.full((4, 5, 6), 3.0)
    assert torch.equal(on_grid(x, (8, 10, 12)), torch.full((8, 10, 12), 3.0))
