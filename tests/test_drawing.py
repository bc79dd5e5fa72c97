"""Drawing a volume from noise, coarse to fine: what the coarse prior knows of the whole is what the fine one fills."""

from dataclasses import dataclass
from itertools import pairwise

import pytest
import torch

from core.prior.denoiser import PatchPrior
from core.prior.drawing import COARSE_VOXELS, RENOISED, draw, resized
from core.prior.network import NetworkConfig
from core.volume import VolumeGeometry, area_average

FINE = VolumeGeometry((16, 64, 64), (6.0, 3.0, 3.0))  # of voxels that the fine prior knows


def body(shape):
    """A wide ellipse of water in air, network space, on any grid."""
    axes = [(torch.arange(n) + 0.5) / n * 2 - 1 for n in shape]
    z, y, x = torch.meshgrid(*axes, indexing="ij")
    return ((y / 0.5) ** 2 + (x / 0.8) ** 2 < 1).float() + 0 * z


@dataclass
class Knowing:
    """A prior that knows that every volume is the body."""

    patch_size: int = 16
    asked: tuple = ()

    def __post_init__(self):
        self.config, self.asked = NetworkConfig(patch_size=self.patch_size), []

    def at(self, voxel_size):
        self.voxel_size = voxel_size
        return self

    def __call__(self, x, sigma, *, grid):
        self.asked.append((tuple(x.shape), self.voxel_size[2], sigma))
        return body(x.shape)


class Local(Knowing):
    """A prior that knows of nothing beyond some voxels: it takes their mean."""

    def __call__(self, x, sigma, *, grid):
        super().__call__(x, sigma, grid=grid)
        return torch.nn.functional.avg_pool3d(x[None, None], 5, 1, 2, count_include_pad=False)[0, 0]


def likeness(volume):
    """Correlation with the body, in blocks of several voxels."""
    blocks = [
        area_average(v, (8, 16, 16)).flatten() for v in (PatchPrior.to_network(volume.data), body(FINE.shape))
    ]
    return float(torch.corrcoef(torch.stack(blocks))[0, 1])


def test_the_whole_comes_from_the_coarse_prior_and_stays():
    """A prior that only smooths keeps what it was given to begin with, blurred, and has no idea of the whole by itself."""
    assert likeness(draw(Local(32), FINE, coarse=Knowing(), num_steps=20, seed=0)) > 0.85
    assert abs(likeness(draw(Local(32), FINE, num_steps=20, seed=0))) < 0.3


def test_each_grid_has_the_prior_of_its_voxels_and_a_tile_holds_the_coarsest():
    coarse, fine = Knowing(), Knowing(32)
    draw(fine, FINE, coarse=coarse, num_steps=20, seed=0)
    assert [shape for shape, _, _ in coarse.asked[:1]] == [(4, 16, 16)]
    assert all(voxel > COARSE_VOXELS for _, voxel, _ in coarse.asked)
    assert all(voxel <= COARSE_VOXELS for _, voxel, _ in fine.asked)
    assert {shape for shape, _, _ in fine.asked} == {(8, 32, 32), FINE.shape}
    assert coarse.asked[0][2] == pytest.approx(40)
    assert max(sigma for _, _, sigma in fine.asked) == pytest.approx(RENOISED)


@pytest.mark.parametrize("num_steps", [2, 3, 7, 40])
def test_it_takes_as_many_passes_as_asked_for_and_shows_them_on_the_given_grid(num_steps):
    coarse, fine, steps = Knowing(), Knowing(32), []
    volume = draw(fine, FINE, coarse=coarse, num_steps=num_steps, seed=0, callback=steps.append)
    assert len(coarse.asked) + len(fine.asked) == num_steps
    assert [step.i for step in steps] == list(range(1, num_steps + 1))
    assert {step.total for step in steps} == {num_steps}
    assert all(0 < a.work < b.work for a, b in pairwise(steps))
    assert steps[-1].work == pytest.approx(1)
    assert all(tuple(part.shape) == FINE.shape for s in steps for part in (s.x, s.noisy, s.denoised))
    assert tuple(volume.shape) == FINE.shape
    assert torch.isfinite(volume.data).all()


@pytest.mark.parametrize("number", [1, 6, 10, 11, 13, 19])
def test_from_any_step_it_goes_on_bit_by_bit(number):
    """Steps within a grid, and the last of a coarse one."""
    kept = {}

    def keep(step):
        if step.i == number:
            kept.update({k: v.clone() if torch.is_tensor(v) else v for k, v in step.state().items()})

    common = {"coarse": Knowing(), "num_steps": 20, "seed": 3}
    whole = draw(Local(32), FINE, callback=keep, **common)
    again = draw(Local(32), FINE, resume=kept, **common)
    assert torch.equal(again.data, whole.data)


@pytest.mark.parametrize("number", [3, 12, 20])
def test_stopped_at_any_step_it_gives_what_it_has(number):
    def stop(step):
        if step.i == number:
            raise StopIteration

    asked = Knowing()
    volume = draw(asked, FINE, coarse=asked, num_steps=20, callback=stop)
    assert len(asked.asked) == number
    assert tuple(volume.shape) == FINE.shape


class Stopping(Knowing):
    """Ends within its so manyth pass."""

    def __init__(self, number):
        super().__init__()
        self.number = number

    def __call__(self, x, sigma, *, grid):
        if len(self.asked) == self.number - 1:
            raise StopIteration
        return super().__call__(x, sigma, grid=grid)


@pytest.mark.parametrize("number", [2, 11, 12, 20])
def test_stopped_within_a_pass_it_gives_what_the_pass_before_made(number):
    """Within a grid, and within the first pass on a finer one."""
    steps, prior = [], Stopping(number)
    volume = draw(prior, FINE, coarse=prior, num_steps=20, callback=steps.append)
    assert len(steps) == number - 1
    assert torch.equal(volume.data, steps[-1].x)


def test_stopped_within_the_very_first_pass_there_is_nothing():
    with pytest.raises(StopIteration):
        draw(Stopping(1), FINE, num_steps=3)


def test_resizing_keeps_the_mean_and_blocks_stay_blocks():
    x = torch.rand(3, 5, 7)
    assert torch.equal(resized(x, (6, 10, 14), "nearest")[::2, ::2, ::2], x)
    assert torch.equal(resized(x, (3, 5, 7)), x)
