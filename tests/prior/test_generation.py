"""Unconditional generation, coarse to fine, with priors whose answer is known."""

from itertools import pairwise

import pytest
import torch

from tomopatch.prior.denoiser import PatchPrior
from tomopatch.prior.generation import FINER_SIGMA_MAX, SIGMA_MAX, generate
from tomopatch.prior.network import NetworkConfig
from tomopatch.prior.precond import Precond
from tomopatch.prior.ranges import TrainedRanges
from tomopatch.prior.upsampling import MIN_ERROR, upsampled, upsampling_error
from tomopatch.progress import Interrupted
from tomopatch.volume import VolumeGeometry, area_average

FINE = VolumeGeometry((16, 64, 64), (4.0, 3.0, 3.0))
CONFIG = NetworkConfig(
    patch_size=16, channels=(8, 8), blocks=(1, 1), embed=8, fine_channels=4, fine_blocks=1, smoothings=(),
    conditional=True,
)  # fmt: skip


def body(shape):
    """A wide ellipse of water in air, network space, on any grid."""
    axes = [(torch.arange(n) + 0.5) / n * 2 - 1 for n in shape]
    z, y, x = torch.meshgrid(*axes, indexing="ij")
    return ((y / 0.5) ** 2 + (x / 0.8) ** 2 < 1).float() + 0 * z


class Known(PatchPrior):
    """A prior that takes every volume without a condition for the body, and one with a condition for that."""

    def __init__(self, stop_at=0, trained=None):
        super().__init__(Precond(CONFIG), trained=trained or TrainedRanges())
        self.passes, self.stop_at = [], stop_at

    def bind(self, voxel_size, *, condition=None, generator=None, on_tiles=None):
        bound = super().bind(voxel_size, condition=condition, generator=generator)
        prior = self

        class Answer(type(bound)):
            def __call__(self, x, sigma):
                if len(prior.passes) == prior.stop_at - 1:
                    raise Interrupted
                prior.passes.append((tuple(x.shape), voxel_size[2], sigma))
                self.tiling = None
                return body(x.shape) if condition is None else condition.image

        return Answer(**vars(bound))


def likeness(volume):
    """Correlation with the body, in blocks of several voxels."""
    blocks = [
        area_average(v, (8, 16, 16)).flatten() for v in (PatchPrior.to_network(volume.data), body(FINE.shape))
    ]
    return float(torch.corrcoef(torch.stack(blocks))[0, 1])


def test_what_the_coarsest_grid_shows_stays_on_the_finer_grids():
    assert likeness(generate(Known(), FINE, num_steps=20)) > 0.9


def test_one_tile_holds_the_coarsest_grid_and_each_finer_one_has_twice_the_voxels():
    prior = Known()
    generate(prior, FINE, num_steps=20)
    grids = list(dict.fromkeys((shape, voxel) for shape, voxel, _ in prior.passes))
    assert grids == [((4, 16, 16), 12.0), ((8, 32, 32), 6.0), ((16, 64, 64), 3.0)]
    first = {shape: sigma for shape, _, sigma in reversed(prior.passes)}
    assert first[4, 16, 16] == pytest.approx(SIGMA_MAX)
    assert first[16, 64, 64] == pytest.approx(FINER_SIGMA_MAX)


@pytest.mark.parametrize("num_steps", [2, 3, 7, 40])
def test_it_takes_the_given_number_of_passes_and_shows_them_on_the_given_grid(num_steps):
    prior, steps = Known(), []
    volume = generate(prior, FINE, num_steps=num_steps, callback=steps.append)
    assert len(prior.passes) == num_steps
    assert [step.i for step in steps] == list(range(1, num_steps + 1))
    assert {step.total for step in steps} == {num_steps}
    assert all(0 < a.work < b.work for a, b in pairwise(steps))
    assert steps[-1].work == pytest.approx(1)
    assert all(tuple(part.shape) == FINE.shape for s in steps for part in (s.x, s.noisy, s.denoised))
    assert tuple(volume.shape) == FINE.shape
    assert torch.isfinite(volume.data).all()


@pytest.fixture
def learned():
    """A network of random weights: its output depends on every voxel and on the tiling."""
    torch.manual_seed(0)
    model = Precond(CONFIG)
    with torch.no_grad():
        for weights in model.parameters():
            weights.add_(0.05 * torch.randn(weights.shape))
    return PatchPrior(model, bf16=False)


@pytest.mark.parametrize("number", [1, 6, 10, 11, 13, 19])
def test_from_any_step_it_continues_bit_by_bit(number, learned, one_thread):
    """Steps within a grid, and the last of a coarse one."""
    kept = {}

    def keep(step):
        if step.i == number:
            kept.update(step.state)

    small = VolumeGeometry((8, 48, 40), (8.0, 5.0, 5.0))
    whole = generate(learned, small, num_steps=20, seed=3, callback=keep)
    again = generate(learned, small, num_steps=20, seed=3, state=kept)
    assert torch.equal(again.data, whole.data)
    assert not torch.equal(generate(learned, small, num_steps=20, seed=4).data, whole.data)


@pytest.mark.parametrize("number", [3, 12, 20])
def test_stopped_after_any_step_it_returns_the_estimate(number):
    def stop(step):
        if step.i == number:
            raise StopIteration

    prior = Known()
    volume = generate(prior, FINE, num_steps=20, callback=stop)
    assert len(prior.passes) == number
    assert tuple(volume.shape) == FINE.shape


@pytest.mark.parametrize("number", [2, 11, 12, 20])
def test_stopped_within_a_pass_it_returns_the_estimate_before(number):
    """Within a grid, and within the first pass on a finer one."""
    steps, prior = [], Known(stop_at=number)
    volume = generate(prior, FINE, num_steps=20, callback=steps.append)
    assert len(steps) == number - 1
    torch.testing.assert_close(volume.data, steps[-1].x)


def test_stopped_within_the_very_first_pass_there_is_nothing():
    with pytest.raises(Interrupted):
        generate(Known(stop_at=1), FINE, num_steps=3)


def test_a_prior_that_was_not_trained_for_it_is_refused():
    with pytest.raises(ValueError, match="trained for restore"):
        generate(Known(trained=TrainedRanges(modes=("restore",))), FINE)


def test_upsampling_keeps_the_mean_and_its_error_grows_with_the_detail(generator):
    x = torch.rand(6, 8, 10, generator=generator)
    fine = upsampled(x, (12, 16, 20))
    assert float(fine.mean()) == pytest.approx(float(x.mean()), abs=0.02)
    assert torch.equal(upsampled(x, (6, 8, 10)), x)
    assert upsampling_error(torch.full((8, 8, 8), 0.7)) == MIN_ERROR
    assert upsampling_error(fine) > upsampling_error(0.5 * fine) > MIN_ERROR


def test_the_expected_error_of_an_upsampled_body_is_about_its_error():
    """Edges of the body, halved and upsampled again: within a factor of two."""
    clean = body((16, 64, 64))
    image = upsampled(area_average(clean, (8, 32, 32)), (16, 64, 64))
    true = float((image - clean).square().mean().sqrt())
    assert 0.5 < upsampling_error(image) / true < 2


def test_thick_slices_are_not_halved_until_voxels_are_nearly_cubes():
    prior = Known()
    generate(prior, VolumeGeometry((16, 64, 64), (6.0, 3.0, 3.0)), num_steps=8)
    assert list(dict.fromkeys(shape for shape, _, _ in prior.passes)) == [
        (8, 16, 16), (16, 32, 32), (16, 64, 64),
    ]  # fmt: skip
