"""Reconstruction with a prior whose answer is known: a network of zeros is the exact Gaussian denoiser."""

from dataclasses import replace

import pytest
import torch

from core import MU_WATER, ParallelBeam, Projector, Volume, VolumeGeometry, quality, reconstruct, simulate
from core.prior.denoiser import PatchPrior, Precond
from core.prior.network import NetworkConfig
from core.reconstruct.coarse import halved_grid, on_grid
from core.reconstruct.diffusion import DataConsistency, diffusion
from core.reconstruct.starts import (
    EVEN,
    GUIDE_VIEWS,
    NARROWER,
    STARTS,
    even_share,
    expected_error,
    least_squares,
)

CONFIG = NetworkConfig(
    patch_size=8, channels=(8, 8), blocks=(1, 1), embed=8, fine_channels=4, fine_blocks=1, smoothings=()
)


@pytest.fixture
def gaussian():
    """Its data are N(0.5, 0.5^2), voxel by voxel, in network space."""
    torch.manual_seed(0)
    return PatchPrior(Precond(CONFIG))


@pytest.fixture
def scan():
    vg = VolumeGeometry((4, 8, 8), (8.0, 8.0, 8.0))
    A = Projector(vg, ParallelBeam.circular(vg, num_views=5))
    generator = torch.Generator().manual_seed(5)
    x = MU_WATER * (0.5 + 0.5 * torch.randn(vg.shape, generator=generator))
    noise_std = 0.05
    y = A(x)
    return A, x, y + noise_std * torch.randn(y.shape, generator=generator), noise_std


def posterior_mean(A, y, noise_std):
    """Closed form for the linear-Gaussian problem."""
    n = A.vg.shape[0] * A.vg.shape[1] * A.vg.shape[2]
    matrix = torch.stack([A(e).flatten() for e in torch.eye(n).view(n, *A.vg.shape)], 1).double()
    prior_precision = 1 / (0.5 * MU_WATER) ** 2
    mean = torch.full((n,), 0.5 * MU_WATER, dtype=torch.float64)
    H = matrix.T @ matrix / noise_std**2 + prior_precision * torch.eye(n)
    return torch.linalg.solve(H, matrix.T @ y.flatten().double() / noise_std**2 + prior_precision * mean)


def test_data_consistency_solves_what_it_says(scan, gaussian):
    A, x, y, noise_std = scan
    weights = torch.full_like(y, 1 / noise_std**2)
    correct = DataConsistency(A, y, warm=PatchPrior.to_network(x), weights=weights, num_iterations=200)
    estimate = torch.full(A.domain_shape, 0.5)
    out = PatchPrior.from_network(correct(estimate, 0.5))
    error = MU_WATER * 0.5 / (1 + 0.5**2) ** 0.5
    gradient = A.T(A(out) - y) / correct.noise2 + (out - PatchPrior.from_network(estimate)) / error**2
    start = A.T(A(PatchPrior.from_network(estimate)) - y) / correct.noise2
    assert float(gradient.norm()) < 1e-3 * float(start.norm())


def test_averaged_samples_come_near_the_posterior_mean(scan, gaussian):
    """Data consistency at every step is an approximation; on the whole it must land near the exact answer."""
    A, _, y, noise_std = scan
    weights = torch.full_like(y, 1 / noise_std**2)
    mean, std = diffusion(
        A, y, gaussian, weights=weights, num_steps=30, sigma_max=2.0, warm_start="noise",
        cg_iterations=30, num_samples=8, generator=torch.Generator().manual_seed(1),
    )  # fmt: skip
    exact = posterior_mean(A, y, noise_std).view(A.domain_shape).float()
    blind = torch.full_like(exact, 0.5 * MU_WATER)
    # the spread of a mean of 8 samples alone is a third of the posterior's
    assert float((mean - exact).norm()) < 0.45 * float((blind - exact).norm())
    assert std is not None
    assert float(std.mean()) > 0


def test_more_views_fit_better(small, gaussian):
    psnrs = []
    for views in (5, 12, 40):
        A = Projector(small.geometry, ParallelBeam.circular(small.geometry, num_views=views))
        result = reconstruct("diffusion", A, simulate(small, A), prior=gaussian, num_steps=3, sigma_max=0.05)
        psnrs.append(quality(small, result.volume).psnr)
    assert psnrs == sorted(psnrs)


def test_same_seed_same_volume_and_stopping_keeps_the_estimate(small, gaussian):
    A = Projector(small.geometry, ParallelBeam.circular(small.geometry, num_views=8))
    m = simulate(small, A, photon_count=1e4)
    a, b, c = (
        reconstruct("diffusion", A, m, prior=gaussian, num_steps=3, seed=s, warm_start="sirt").volume.data
        for s in (1, 1, 2)
    )
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    steps = []

    def stop_at_two(step):
        if step.stage:
            return
        steps.append(step)
        if step.i == 2:
            raise StopIteration

    stopped = reconstruct("diffusion", A, m, prior=gaussian, num_steps=3, callback=stop_at_two)
    assert stopped.status == "stopped"
    torch.testing.assert_close(stopped.volume.data, steps[-1].x)
    assert all(s.sigma and s.noisy is not None and s.denoised is not None and s.residual for s in steps)


class Stopping:
    """A prior that ends in the midst of its so manyth pass."""

    def __init__(self, prior, number):
        self.prior, self.left = prior, number

    def __getattr__(self, name):
        return getattr(self.prior, name)

    def __call__(self, x, sigma, **options):
        self.left -= 1
        if not self.left:
            raise StopIteration
        return self.prior(x, sigma, **options)


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("number", [1, 3, 4, 6])
def test_stopped_within_a_pass_it_returns_what_was_before(small, gaussian, number, mirror):
    """The start, the pass before, or, of several samples, the mean of the whole ones."""
    A = Projector(small.geometry, ParallelBeam.circular(small.geometry, num_views=8))
    y, steps = simulate(small, A, photon_count=1e4).projections, []
    common = {"num_steps": 3, "start_iterations": 3, "mirror": mirror, "num_samples": 2}
    x, std = diffusion(
        A, y, Stopping(gaussian, number * (1 + mirror)), callback=steps.append,
        generator=torch.Generator().manual_seed(0), **common,
    )  # fmt: skip
    assert std is None
    done = number - 1
    assert sum(not s.stage for s in steps) == done
    torch.testing.assert_close(x, steps[-1 if done <= 3 else 3 - 1 - done].x)


@pytest.mark.parametrize("num_samples", [1, 2])
def test_from_noise_alone_there_is_nothing_before_the_first_pass(small, gaussian, num_samples):
    A = Projector(small.geometry, ParallelBeam.circular(small.geometry, num_views=8))
    with pytest.raises(StopIteration):
        diffusion(A, A(small.data), Stopping(gaussian, 1), warm_start="noise", num_samples=num_samples)


def test_the_start_is_told_step_by_step_and_can_be_stopped(small, gaussian):
    A = Projector(small.geometry, ParallelBeam.circular(small.geometry, num_views=8))
    m = simulate(small, A)
    steps = []

    def stop_in_the_start(step):
        steps.append((step.stage, step.i, step.total))
        if step.i == 3:
            raise StopIteration

    stopped = reconstruct("diffusion", A, m, prior=gaussian, warm_start="sirt", callback=stop_in_the_start)
    assert [s[:2] for s in steps] == [("start", 1), ("start", 2), ("start", 3)]
    assert stopped.status == "stopped"
    sirt = reconstruct("sirt", A, m, num_iterations=3)
    torch.testing.assert_close(stopped.volume.data, sirt.volume.data)


def test_steps_tell_the_tiles_that_were_computed(small, gaussian):
    """Tiles of air are passed over; no two tiles share a voxel; the pattern moves from pass to pass."""
    A = Projector(small.geometry, ParallelBeam.circular(small.geometry, num_views=30))
    tilings = []
    reconstruct(
        "diffusion", A, simulate(small, A), prior=gaussian, num_steps=4, warm_start="sirt",
        callback=lambda step: tilings.append(step.tiles) if not step.stage else None,
    )  # fmt: skip
    shape = small.shape  # a multiple of the tile, so that nothing is padded
    size = CONFIG.patch_size
    every = shape[0] * shape[1] * shape[2] // size**3
    for tiles in tilings:
        assert tiles.size == CONFIG.tile
        assert 0 < len(tiles.starts) < every  # the corners of the volume are air
        covered = torch.zeros(shape, dtype=torch.int)
        for start in tiles.starts:
            index = [torch.arange(s, s + size) % n for s, n in zip(start, shape, strict=True)]
            covered[torch.meshgrid(*index, indexing="ij")] += 1
        assert int(covered.max()) == 1
        assert bool(covered[small.data > 0].all())
    assert len({tiles.starts for tiles in tilings}) > 1


@pytest.mark.parametrize("mirror", [False, True])
def test_a_guided_prior_is_shown_the_least_squares_volume_of_the_scan(small, mirror):
    A = Projector(small.geometry, ParallelBeam.circular(small.geometry, num_views=12))
    m = simulate(small, A)
    shown = []

    class Watched(PatchPrior):
        def __call__(self, x, sigma, *, guide, **options):
            shown.append(guide)
            return super().__call__(x, sigma, guide=guide, **options)

    prior = Watched(Precond(replace(CONFIG, guided=True)), voxel_size=A.vg.voxel_size)
    diffusion(A, m.projections, prior, num_steps=2, warm_start="sirt", mirror=mirror)
    expected = PatchPrior.to_network(least_squares(A, m.projections))
    assert len(shown) == (4 if mirror else 2)
    for i, guide in enumerate(shown):
        torch.testing.assert_close(guide, expected.flip(2) if mirror and i % 2 else expected)
    few = A.subset(range(GUIDE_VIEWS - 1))
    diffusion(few, m.subset(range(GUIDE_VIEWS - 1)).projections, prior, num_steps=1, warm_start="sirt")
    assert shown[-1] is None
    # what it says fits the scan better than nothing, and worse than an estimate that knows what volumes look like
    misfit = (A(least_squares(A, m.projections)) - m.projections).norm() / m.projections.norm()
    assert 0 < float(misfit) < 0.2


def test_samples_differ_where_the_data_say_nothing(gaussian):
    """One view fixes sums along rays and nothing else: the deviation stays near the prior's."""
    vg = VolumeGeometry((8, 16, 16), (4.0, 4.0, 4.0))
    volume = Volume(torch.full(vg.shape, 0.5 * MU_WATER), vg)
    A = Projector(vg, ParallelBeam.circular(vg, num_views=1))
    result = reconstruct(
        "diffusion", A, simulate(volume, A), prior=gaussian, num_steps=12, num_samples=4, warm_start="noise"
    )
    assert result.std is not None
    assert float(result.std.data.mean()) > 0.2 * 0.5 * MU_WATER


def test_a_prior_is_asked_for(small):
    A = Projector(small.geometry, ParallelBeam.circular(small.geometry, num_views=8))
    with pytest.raises(ValueError, match="load_prior"):
        reconstruct("diffusion", A, simulate(small, A))


def test_the_error_that_is_expected_of_a_start_grows_with_what_is_missing(small):
    def of(photon_count=None, **scan):
        A = Projector(small.geometry, ParallelBeam.circular(small.geometry, **scan))
        m = simulate(small, A, photon_count=photon_count)
        return expected_error(A, m.projections, m.weights)

    few, many = of(num_views=4), of(num_views=20)
    assert few > many > 0
    assert of(num_views=20, angle_range=1.5) > many
    assert of(1e2, num_views=20) > of(1e4, num_views=20) > many
    assert of(10.0, num_views=1) <= 0.5  # a guess, but no absurd one


def test_what_is_made_of_even_regions_is_left_to_total_variation_more(small, gaussian):
    """The level that sampling begins at, of one object with and without texture in it, all else alike."""
    A = Projector(small.geometry, ParallelBeam.circular(small.geometry, num_views=24))
    texture = 0.02 * MU_WATER * torch.randn(small.shape, generator=torch.Generator().manual_seed(3))
    rough = replace(small, data=(small.data + texture * (small.data > 0)).clamp(min=0))

    def first_sigma(volume, **options):
        steps = []
        reconstruct("diffusion", A, simulate(volume, A), prior=gaussian, callback=steps.append, **options)
        return max(step.sigma for step in steps if step.stage != "start")

    assert first_sigma(small) == pytest.approx(NARROWER * first_sigma(rough), rel=1e-3)
    assert first_sigma(small, sigma_max=0.3) == pytest.approx(0.3)  # what is asked for is taken


def test_the_even_share_is_that_of_the_object_and_not_of_the_air(small):
    x, size = PatchPrior.to_network(small.data), small.geometry.voxel_size
    assert EVEN < even_share(x, size) < 1  # all but its edges
    lone = torch.zeros(4, 9, 9)
    assert even_share(lone, size) == 0  # air alone is nothing
    lone[:, 4, 4] = 1.0
    assert even_share(lone, size) == 0
    assert even_share(x + 0.001 * torch.rand(x.shape), size) < even_share(x, size)


@pytest.mark.parametrize(("per_mm", "even"), [(0.1e-3, True), (0.15e-3, False)])
@pytest.mark.parametrize("size", [(2.0, 1.0, 1.0), (1.0, 0.5, 0.5), (5.0, 3.0, 3.0)])
def test_what_counts_as_even_is_the_same_on_every_grid(size, per_mm, even):
    slope = (0.5 + per_mm * size[2] * torch.arange(12.0)).expand(4, 9, 12)
    assert even_share(slope, size) == pytest.approx(1.0 if even else 1 / 12)  # the last column has no next


def test_coarse_to_fine_reconstructs_on_the_whole_grid(small, gaussian):
    A = Projector(small.geometry, ParallelBeam.circular(small.geometry, num_views=16))
    measurement = simulate(small, A)
    told = []
    options = {"num_steps": 3, "sigma_max": 0.05}
    # a third of the start's iterations are made on the fine grid, so both make as many there
    coarse, _ = diffusion(
        A, measurement.projections, gaussian.at(A.vg.voxel_size), stages=2, start_iterations=90,
        callback=told.append, **options,
    )  # fmt: skip
    alone, _ = diffusion(
        A, measurement.projections, gaussian.at(A.vg.voxel_size), stages=1, start_iterations=30, **options
    )
    assert {tuple(step.x.shape) for step in told} == {small.shape}
    error = [float((x - small.data).norm() / small.data.norm()) for x in (coarse, alone)]
    assert (
        error[0] < 1.3 * error[1]
    )  # a third of the iterations on the fine grid, begun from the coarse result

    def stop(step):
        raise StopIteration

    x, std = diffusion(
        A, measurement.projections, gaussian.at(A.vg.voxel_size), stages=2, callback=stop, **options
    )
    assert x.shape == small.shape
    assert std is None


def test_coarser_grids_cover_the_same_box():
    vg = VolumeGeometry((9, 64, 65), (5.0, 1.0, 1.0), (0.0, 3.0, 0.0))
    half = halved_grid(vg)
    assert half.shape == (9, 32, 33)  # thick slices stay
    assert half.size == pytest.approx(vg.size)
    assert half.pos == vg.pos
    ramp = torch.linspace(0, 1, 32)[None, None].expand(4, 4, 32)
    finer = on_grid(ramp.contiguous(), (8, 4, 64))
    assert float((finer.diff(dim=2) >= 0).float().mean()) == 1
    assert float(finer.mean()) == pytest.approx(0.5, abs=1e-4)


@pytest.mark.parametrize("name", [n for n, start in STARTS.items() if start is not None])
def test_every_start_is_nearer_to_the_object_than_nothing(small, name):
    A = Projector(small.geometry, ParallelBeam.circular(small.geometry, num_views=24))
    y = simulate(small, A).projections
    x = STARTS[name](A, y, None, 50)
    assert float((x - small.data).norm()) < 0.6 * float(small.data.norm())
    assert float(x.min()) >= 0


def test_mirrored_passes_take_away_what_favours_a_side(scan, gaussian):
    """A prior that adds a slope from left to right: averaged with the mirrored pass, the slope is gone."""
    A, _, y, _ = scan

    class Slanted:
        def __init__(self, slope):
            self.slope = slope

        def __getattr__(self, name):
            return getattr(gaussian, name)

        def __call__(self, x, sigma, **options):
            return x + self.slope * torch.linspace(-1, 1, x.shape[2])

    upright, slanted = (
        diffusion(A, y, Slanted(slope), num_steps=2, start_iterations=5, mirror=True)[0]
        for slope in (0.0, 0.5)
    )
    torch.testing.assert_close(slanted, upright, atol=1e-6, rtol=1e-4)
    alone, _ = diffusion(A, y, Slanted(0.5), num_steps=2, start_iterations=5, mirror=False)
    assert float((alone - upright).abs().max()) > 1e-3


@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 12, 2), (2, 9, 33)])
def test_thin_volumes_are_reconstructed_too(shape, gaussian):
    vg = VolumeGeometry(shape, (4.0, 4.0, 4.0))
    A = Projector(vg, ParallelBeam.circular(vg, num_views=6))
    x = torch.full(shape, MU_WATER)
    out, _ = diffusion(A, A(x), gaussian, num_steps=2, start_iterations=10)
    assert out.shape == shape
    assert float((out - x).norm() / x.norm()) < 0.5
