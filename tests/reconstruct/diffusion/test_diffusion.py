"""Reconstruction with a prior whose answer is known: a network of zeros is the exact Gaussian denoiser."""

import itertools
from dataclasses import replace

import pytest
import torch

from tomopatch import (
    MU_WATER,
    ParallelBeam,
    Projector,
    Volume,
    VolumeGeometry,
    quality,
    reconstruct,
    simulate,
)
from tomopatch.library import load_volume
from tomopatch.prior.denoiser import PatchPrior, VolumeDenoiser
from tomopatch.prior.files import load_prior
from tomopatch.prior.network import NetworkConfig
from tomopatch.prior.precond import Precond
from tomopatch.prior.ranges import TrainedRanges
from tomopatch.progress import Interrupted, last
from tomopatch.reconstruct.classical.coarse import on_grid
from tomopatch.reconstruct.diffusion import tuned
from tomopatch.reconstruct.diffusion.consistency import DataConsistency, photon_and_grid_variance
from tomopatch.reconstruct.diffusion.initial import INITIALIZERS, Inputs, flat_fraction, least_squares
from tomopatch.reconstruct.diffusion.method import diffusion
from tomopatch.reconstruct.diffusion.plan import Effort, Problem
from tomopatch.reconstruct.diffusion.tuned import FLAT_FRACTION, FLAT_SHARE
from tomopatch.reconstruct.params import DiffusionParams, migrated
from tomopatch.volume import resample

CONFIG = NetworkConfig(
    patch_size=8, channels=(8,), blocks=(1,), embed=8, fine_channels=4, fine_blocks=1, smoothings=()
)
CONDITIONAL = replace(CONFIG, conditional=True, least_squares=True)


def run(*arguments, callback=None, **options):
    """The last step of a reconstruction with a prior."""
    return last(diffusion(*arguments, **options), callback)


def unconditional(**values):
    return DiffusionParams(mode="posterior", condition="none", **values)


@pytest.fixture
def gaussian():
    """Its data are N(0.5, 0.5^2), voxel by voxel, in network space."""
    torch.manual_seed(0)
    return PatchPrior(Precond(CONFIG))


@pytest.fixture
def white(gaussian):
    """The same prior, trained on white noise alone: it is told no streaks, so its chain is exact."""
    return replace(gaussian, trained=TrainedRanges(modes=("unconditional",)))


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


def posterior_deviation(A, noise_std):
    """Deviation of each voxel, closed form."""
    n = A.vg.shape[0] * A.vg.shape[1] * A.vg.shape[2]
    matrix = torch.stack([A(e).flatten() for e in torch.eye(n).view(n, *A.vg.shape)], 1).double()
    H = matrix.T @ matrix / noise_std**2 + torch.eye(n) / (0.5 * MU_WATER) ** 2
    return torch.linalg.inv(H).diagonal().sqrt()


def test_data_consistency_is_the_posterior_mean_given_the_denoised_estimate(scan):
    """Closed form of min |A x - y|^2 / variance + |x - estimate|^2 / error^2: its gradient vanishes."""
    A, _, y, noise_std = scan
    variance = torch.full_like(y, noise_std**2)
    correct = DataConsistency(
        A, y, variance=variance, error=lambda sigma: 0.4 * sigma, max_iterations=300, tolerance=1e-5
    )
    estimate = torch.full(A.domain_shape, 0.5)
    start = PatchPrior.from_network(estimate)
    out = PatchPrior.from_network(correct(estimate, 0.5))
    gradient = A.T(A(out) - y) / noise_std**2 + (out - start) / (MU_WATER * 0.2) ** 2
    assert float(gradient.norm()) < 1e-3 * float((A.T(A(start) - y) / noise_std**2).norm())


def test_data_consistency_ends_at_its_tolerance(scan):
    A, _, y, _ = scan

    def iterations(tolerance):
        count = [0]

        def counted(x):
            count[0] += 1
            return A(x)

        class Counting:
            T = A.T
            domain_shape = A.domain_shape
            __call__ = staticmethod(counted)

        correct = DataConsistency(
            Counting(), y, variance=torch.full_like(y, 1e-4), error=lambda sigma: 0.5, max_iterations=100,
            tolerance=tolerance,
        )  # fmt: skip
        correct(torch.full(A.domain_shape, 0.5), 1.0)
        return count[0]

    assert 2 < iterations(0.1) < iterations(0.001) < 100


def test_the_variance_of_a_ray_is_photon_noise_and_what_the_grid_cannot_represent():
    y = torch.tensor([[[1.0, 3.0]]])
    grid = photon_and_grid_variance(y, None, 0.01)
    torch.testing.assert_close(grid, torch.full_like(y, (0.01 * 2) ** 2))
    weights = torch.tensor([[[100.0, 25.0]]])
    torch.testing.assert_close(photon_and_grid_variance(y, weights, 0.01), grid + 1 / weights)


def test_posterior_samples_have_the_mean_and_deviation_of_the_posterior(scan, white):
    """For a Gaussian prior and a linear measurement both are known in closed form.

    Data consistency is exact for the Gaussian denoiser only in the limit of small steps, and takes the errors
    of the denoised voxels as independent.
    """
    A, _, y, noise_std = scan
    weights = torch.full_like(y, 1 / noise_std**2)
    found = run(A, y, white, params=unconditional(num_steps=30, num_samples=24, seed=1), weights=weights)
    exact = posterior_mean(A, y, noise_std).view(A.domain_shape).float()
    blind = torch.full_like(exact, 0.5 * MU_WATER)
    # 24 samples leave a fifth of the posterior's deviation in the mean, which is about half of the prior's
    assert float((found.x - exact).norm()) < 0.25 * float((blind - exact).norm())
    deviation = posterior_deviation(A, noise_std).view(A.domain_shape).float()
    ratio = found.std / deviation
    assert float(ratio.median()) == pytest.approx(1, abs=0.25)


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
        reconstruct("diffusion", A, m, prior=gaussian, num_steps=3, seed=s, initial="sirt").volume.data
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
    """on_tiles that stops within the given pass; each pass has one batch of tiles."""

    def __init__(self, number):
        self.left = number

    def __call__(self, done, total):
        if done == total:
            self.left -= 1
            if not self.left:
                raise StopIteration


@pytest.mark.parametrize("number", [1, 3, 4, 6])
def test_stopped_within_a_pass_it_returns_the_estimate_before(small, gaussian, number):
    """The initial reconstruction, or the pass before."""
    A = Projector(small.geometry, ParallelBeam.circular(small.geometry, num_views=20))
    y, steps = simulate(small, A, photon_count=1e4).projections, []
    found = run(
        A, y, gaussian, params=DiffusionParams(num_steps=3, num_samples=2, sigma_max=0.1),
        initial_iterations=3, on_tiles=Stopping(number), callback=steps.append,
    )  # fmt: skip
    assert found.std is None
    assert sum(not s.stage for s in steps) == number - 1
    assert found is steps[-1]


@pytest.mark.parametrize("num_samples", [1, 2])
def test_without_a_condition_there_is_nothing_before_the_first_pass(small, gaussian, num_samples):
    A = Projector(small.geometry, ParallelBeam.circular(small.geometry, num_views=8))
    given = unconditional(num_samples=num_samples)
    with pytest.raises(Interrupted):
        run(A, A(small.data), gaussian, params=given, on_tiles=Stopping(1))


def test_the_initial_reconstruction_is_shown_step_by_step_and_can_be_stopped(small, gaussian):
    A = Projector(small.geometry, ParallelBeam.circular(small.geometry, num_views=20))
    m = simulate(small, A)
    steps = []

    def stop_in_the_start(step):
        steps.append((step.stage, step.i, step.total))
        if step.i == 3:
            raise StopIteration

    stopped = reconstruct("diffusion", A, m, prior=gaussian, initial="sirt", callback=stop_in_the_start)
    assert [s[:2] for s in steps] == [("initial", 1), ("initial", 2), ("initial", 3)]
    assert stopped.status == "stopped"
    sirt = reconstruct("sirt", A, m, num_iterations=3)
    torch.testing.assert_close(stopped.volume.data, sirt.volume.data)


def test_steps_tell_the_tiles_that_were_computed(small, gaussian):
    """Tiles of air are passed over; no two tiles share a voxel; the pattern moves from pass to pass."""
    A = Projector(small.geometry, ParallelBeam.circular(small.geometry, num_views=30))
    tilings = []
    reconstruct(
        "diffusion", A, simulate(small, A), prior=gaussian, num_steps=4, initial="sirt",
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


@pytest.fixture
def bound(monkeypatch):
    """The arguments of every `PatchPrior.bind`."""
    seen, bind = [], PatchPrior.bind

    def watched(self, voxel_size, **arguments):
        seen.append({"voxel_size": voxel_size, **arguments})
        return bind(self, voxel_size, **arguments)

    monkeypatch.setattr(PatchPrior, "bind", watched)
    return seen


@pytest.mark.parametrize("mode", ["restore", "posterior"])
def test_the_prior_is_conditioned_on_the_images_of_the_scan(small, bound, mode):
    A = Projector(small.geometry, ParallelBeam.circular(small.geometry, num_views=20))
    m = simulate(small, A)
    prior = PatchPrior(Precond(CONDITIONAL))
    run(A, m.projections, prior, params=DiffusionParams(mode=mode, num_steps=2, initial="sirt"))
    condition = bound[-1]["condition"]
    initial = PatchPrior.to_network(last(INITIALIZERS["sirt"](Inputs(A, m.projections, None, 300))).x)
    torch.testing.assert_close(condition.image, initial)
    torch.testing.assert_close(
        condition.least_squares, PatchPrior.to_network(least_squares(A, m.projections))
    )
    assert condition.sampling_ratio == pytest.approx(20 / (torch.pi / 2 * 48))
    assert 0.01 <= condition.error <= 0.4


@pytest.mark.parametrize("options", [{}, {"mode": "posterior", "num_steps": 9}])
def test_every_second_pass_is_mirrored(small, gaussian, monkeypatch, options):
    A = Projector(small.geometry, ParallelBeam.circular(small.geometry, num_views=12))
    seen = []
    denoise = VolumeDenoiser.__call__

    def watched(bound, x, sigma):
        seen.append(bound.mirrored)
        return denoise(bound, x, sigma)

    monkeypatch.setattr(VolumeDenoiser, "__call__", watched)
    monkeypatch.setattr(tuned, "PULLED_BACK", 9.0)  # no pass is repeated
    monkeypatch.setattr(tuned, "REJECTED", 10.0)
    monkeypatch.setattr(tuned, "LITTLE_CHANGE", (0.0, 1e-6))
    result = reconstruct("diffusion", A, simulate(small, A), prior=gaussian, **options)
    passes = len(result.plan.sigmas) - 1
    assert seen[-4:] == [i % 2 == 1 for i in range(passes)][-4:]
    assert not seen[0]  # it is judged, and reused while noise hides the object


def test_without_a_condition_the_prior_sees_nothing_of_the_scan(small, bound):
    A = Projector(small.geometry, ParallelBeam.circular(small.geometry, num_views=8))
    run(A, A(small.data), PatchPrior(Precond(CONDITIONAL)), params=unconditional(num_steps=2))
    assert len(bound) == 1  # one grid
    assert bound[0]["condition"] is None
    assert bound[0]["mask"] is None


@pytest.mark.parametrize(
    ("views", "angle_range", "grids"), [(20, torch.pi, 1), (8, torch.pi, 1), (20, 1.5, 2)]
)
def test_missing_angles_begin_at_half_the_resolution(small, gaussian, views, angle_range, grids):
    A = Projector(
        small.geometry, ParallelBeam.circular(small.geometry, num_views=views, angle_range=angle_range)
    )
    found = run(A, A(small.data), gaussian, params=DiffusionParams(num_steps=1), initial_iterations=3)
    plan, shapes = found.plan, []
    while plan is not None:
        shapes.append(plan.grid)
        plan = plan.coarse
    assert len(shapes) == grids
    assert shapes[0] == small.shape
    assert all(fine[2] == 2 * coarse[2] for fine, coarse in itertools.pairwise(shapes))


def test_the_result_records_what_the_plan_resolved_to(small):
    prior = PatchPrior(Precond(CONDITIONAL), trained=TrainedRanges(voxel_xy=(1.5, 4.0), voxel_z=(1.0, 4.0)))
    A = Projector(small.geometry, ParallelBeam.circular(small.geometry, num_views=20))
    m = simulate(small, A)
    result = reconstruct("diffusion", A, m, prior=prior, mode="posterior", num_steps=3, initial="sirt")
    plan = result.plan
    assert plan.grid == small.shape
    assert plan.voxel_size == (2.0, 1.5, 1.5)  # the voxels of 1 mm in plane were clamped
    about_voxels = [remark for remark in plan.remarks if "trained on voxels" in remark]
    assert len(about_voxels) == 1
    assert "voxels of 2 x 1 x 1 mm (z, y, x) as 2 x 1.5 x 1.5 mm" in about_voxels[0]
    assert len(plan.sigmas) == 4
    assert plan.sigmas[-1] == 0
    assert plan.eta == 1
    assert plan.expected_error > 0
    assert plan.to_json()["mode"] == "posterior"
    assert reconstruct("sirt", A, m, num_iterations=1).plan is None


def test_a_mode_that_the_prior_was_not_trained_for_is_refused(small):
    prior = PatchPrior(Precond(CONFIG), trained=TrainedRanges(modes=("restore",)), info={"name": "mine"})
    A = Projector(small.geometry, ParallelBeam.circular(small.geometry, num_views=20))
    with pytest.raises(ValueError, match="mine was trained for restore"):
        reconstruct("diffusion", A, simulate(small, A), prior=prior, mode="posterior", condition="none")


@pytest.mark.parametrize("config", [CONFIG, CONDITIONAL])
def test_a_prior_that_restores_can_be_sampled(small, config):
    """With eta 0 and the whole noise, the first estimate restores the initial reconstruction."""
    trained = TrainedRanges(modes=("restore",))
    prior = PatchPrior(Precond(config), trained=trained)
    A = Projector(small.geometry, ParallelBeam.circular(small.geometry, num_views=20))
    m, steps = simulate(small, A), []
    result = reconstruct(
        "diffusion", A, m, prior=prior, mode="posterior", num_steps=5, sigma_max=30.0, initial="sirt",
        callback=steps.append,
    )  # fmt: skip
    first = next(step for step in steps if step.stage != "initial")
    away = torch.linalg.vector_norm(first.denoised - first.initial) / torch.linalg.vector_norm(first.initial)
    assert away < 0.2
    assert torch.linalg.vector_norm(first.noisy) > 10 * torch.linalg.vector_norm(first.initial)
    assert torch.isfinite(result.volume.data).all()


def test_restoring_without_a_condition_is_refused():
    with pytest.raises(ValueError, match="nothing to restore"):
        DiffusionParams(mode="restore", condition="none")


def test_parameters_of_earlier_versions_are_migrated():
    stored = {"num_steps": 3, "warm_start": "fbp", "trust": 2.0, "churn": 0.5, "mirror": True}
    assert migrated("diffusion", stored) == {
        "num_steps": 3, "initial": "fbp", "data_weight": 2.0, "eta": 0.5,
    }  # fmt: skip
    assert DiffusionParams(**migrated("diffusion", {"warm_start": "noise"})).condition == "none"
    assert migrated("diffusion", {"num_steps": 3}) == {"num_steps": 3}
    assert migrated("tv", {"trust": 1}) == {"trust": 1}


def test_samples_differ_where_the_data_say_nothing(white):
    """One view fixes sums along rays and nothing else: the deviation stays near the prior's."""
    vg = VolumeGeometry((8, 16, 16), (4.0, 4.0, 4.0))
    volume = Volume(torch.full(vg.shape, 0.5 * MU_WATER), vg)
    A = Projector(vg, ParallelBeam.circular(vg, num_views=1))
    result = reconstruct(
        "diffusion", A, simulate(volume, A), prior=white, mode="posterior", condition="none", num_steps=12,
        num_samples=4,
    )  # fmt: skip
    assert result.std is not None
    assert float(result.std.data.mean()) > 0.2 * 0.5 * MU_WATER


def test_without_a_condition_a_prior_that_restores_is_told_the_streaks_of_few_views(monkeypatch):
    """Data consistency leaves streaks in every sample: white noise alone is too low a level for them."""
    fine = load_volume("phantom:thorax:5", shape=(32, 128, 128))
    reference = resample(fine, (16, 64, 64))
    A = Projector(reference.geometry, ParallelBeam.circular(reference.geometry, num_views=20))
    measurement, prior = simulate(fine, A), load_prior("small", "cpu")

    def error():
        found = reconstruct("diffusion", A, measurement, prior=prior, params=unconditional(num_steps=6))
        return float((found.volume.data - reference.data).norm())

    expecting = error()
    monkeypatch.setattr(tuned, "STREAKS", 0.0)
    assert expecting < 0.95 * error()


def test_a_prior_is_asked_for(small):
    A = Projector(small.geometry, ParallelBeam.circular(small.geometry, num_views=8))
    with pytest.raises(ValueError, match="load_prior"):
        reconstruct("diffusion", A, simulate(small, A))


def test_piecewise_constant_objects_are_left_to_total_variation(small, gaussian):
    """The first noise level for one object with and without texture."""
    A = Projector(small.geometry, ParallelBeam.circular(small.geometry, num_views=24))
    texture = 0.02 * MU_WATER * torch.randn(small.shape, generator=torch.Generator().manual_seed(3))
    rough = replace(small, data=(small.data + texture * (small.data > 0)).clamp(min=0))

    def first_sigma(volume, **options):
        steps = []
        reconstruct("diffusion", A, simulate(volume, A), prior=gaussian, callback=steps.append, **options)
        return max(step.sigma for step in steps if step.stage != "initial")

    assert first_sigma(small) == pytest.approx(FLAT_SHARE * first_sigma(rough), rel=1e-3)
    assert first_sigma(small, sigma_max=0.3) == pytest.approx(0.3)  # as given


def test_the_flat_fraction_is_that_of_the_object_and_not_of_the_air(small):
    x, size = PatchPrior.to_network(small.data), small.geometry.voxel_size
    assert FLAT_FRACTION < flat_fraction(x, size) < 1  # all but its edges
    lone = torch.zeros(4, 9, 9)
    assert flat_fraction(lone, size) == 0
    lone[:, 4, 4] = 1.0
    assert flat_fraction(lone, size) == 0
    assert flat_fraction(x + 0.001 * torch.rand(x.shape), size) < flat_fraction(x, size)


@pytest.mark.parametrize(("per_mm", "flat"), [(0.1e-3, True), (0.15e-3, False)])
@pytest.mark.parametrize("size", [(2.0, 1.0, 1.0), (1.0, 0.5, 0.5), (5.0, 3.0, 3.0)])
def test_a_flat_slope_is_the_same_on_every_grid(size, per_mm, flat):
    slope = (0.5 + per_mm * size[2] * torch.arange(12.0)).expand(4, 9, 12)
    assert flat_fraction(slope, size) == pytest.approx(1.0 if flat else 1 / 12)  # the last column has no next


def test_coarse_to_fine_reconstructs_on_the_whole_grid(small, gaussian):
    A = Projector(small.geometry, ParallelBeam.circular(small.geometry, num_views=16))
    measurement = simulate(small, A)
    shown, few = [], DiffusionParams(num_steps=3, sigma_max=0.05)
    y = measurement.projections
    coarse = run(A, y, gaussian, params=few, stages=2, initial_iterations=30, callback=shown.append)
    alone = run(A, y, gaussian, params=few, stages=1, initial_iterations=30)
    assert {tuple(step.x.shape) for step in shown} == {small.shape}
    errors = [float((found.x - small.data).norm() / small.data.norm()) for found in (coarse, alone)]
    assert errors[0] < 1.1 * errors[1]

    def stop(step):
        raise StopIteration

    stopped = run(A, y, gaussian, params=few, stages=2, callback=stop)
    assert stopped.x.shape == small.shape
    assert stopped.std is None


def test_coarser_grids_cover_the_same_box():
    vg = VolumeGeometry((9, 64, 65), (5.0, 1.0, 1.0), (0.0, 3.0, 0.0))
    half = vg.halved()
    assert half.shape == (9, 32, 33)  # thick slices stay
    assert half.size == pytest.approx(vg.size)
    assert half.pos == vg.pos
    ramp = torch.linspace(0, 1, 32)[None, None].expand(4, 4, 32)
    finer = on_grid(ramp.contiguous(), (8, 4, 64))
    assert float((finer.diff(dim=2) >= 0).float().mean()) == 1
    assert float(finer.mean()) == pytest.approx(0.5, abs=1e-4)


@pytest.mark.parametrize("name", INITIALIZERS)
def test_every_initial_reconstruction_is_nearer_to_the_object_than_nothing(small, name):
    A = Projector(small.geometry, ParallelBeam.circular(small.geometry, num_views=24))
    y = simulate(small, A).projections
    x = last(INITIALIZERS[name](Inputs(A, y, None, 50))).x
    assert float((x - small.data).norm()) < 0.6 * float(small.data.norm())
    assert float(x.min()) >= 0


@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 12, 2), (2, 9, 33)])
def test_thin_volumes_are_reconstructed_too(shape, gaussian):
    vg = VolumeGeometry(shape, (4.0, 4.0, 4.0))
    A = Projector(vg, ParallelBeam.circular(vg, num_views=6))
    x = torch.full(shape, MU_WATER)
    out = run(A, A(x), gaussian, params=DiffusionParams(num_steps=2), initial_iterations=10).x
    assert out.shape == shape
    assert float((out - x).norm() / x.norm()) < 0.5


class Answering(PatchPrior):
    """A prior whose answer is f(x), network space."""

    def __init__(self, answer):
        super().__init__(Precond(CONFIG))
        self.answer = answer

    def bind(self, voxel_size, **arguments):
        bound, answer = super().bind(voxel_size, **arguments), self.answer

        class Answer(type(bound)):
            def __call__(self, x, sigma):
                self.tiling = None
                return answer(x)

        return Answer(**vars(bound))


def test_a_change_that_the_scan_contradicts_lowers_the_noise_level(small):
    """Data consistency takes such a change back; restoration then starts at a lower level, and the result
    says so.
    """
    A = Projector(small.geometry, ParallelBeam.circular(small.geometry, num_views=40))
    texture = 0.02 * MU_WATER * torch.randn(small.shape, generator=torch.Generator().manual_seed(3))
    rough = replace(small, data=(small.data + texture * (small.data > 0)).clamp(min=0))
    y = simulate(rough, A).projections

    def bump(x):
        z, y, x_axis = (torch.linspace(-2, 2, n) for n in x.shape)
        return x + 0.1 * torch.exp(-(z[:, None, None] ** 2) - y[:, None] ** 2 - x_axis**2)

    priors = {"contrary": bump, "truthful": lambda x: PatchPrior.to_network(rough.data)}
    plans = {
        name: run(A, y, Answering(answer), params=DiffusionParams(num_steps=2), initial_iterations=20).plan
        for name, answer in priors.items()
    }
    assert plans["contrary"].sigmas[0] < 0.5 * plans["truthful"].sigmas[0]
    assert any("consistency undid" in remark for remark in plans["contrary"].remarks)
    assert not any("consistency undid" in remark for remark in plans["truthful"].remarks)
    given = run(
        A, y, Answering(bump), params=DiffusionParams(num_steps=2, sigma_max=0.2), initial_iterations=20
    )
    assert given.plan.sigmas[0] == pytest.approx(0.2)  # a given noise level is used unchanged


@pytest.mark.parametrize("values", [{}, {"mode": "posterior", "num_steps": 6}, {"num_samples": 2}])
def test_one_share_of_the_work_grows_from_the_first_iteration_to_the_last_pass(small, values):
    A = Projector(small.geometry, ParallelBeam.circular(small.geometry, num_views=20, angle_range=1.5))
    shares = []
    run(
        A, A(small.data), PatchPrior(Precond(CONDITIONAL)), params=DiffusionParams(**values),
        initial_iterations=5, callback=lambda step: shares.append(step.work),
    )  # fmt: skip
    assert shares == sorted(shares)
    assert shares[0] < 0.1
    assert shares[-1] == pytest.approx(1)


def test_a_pass_counts_less_beside_iterations_with_more_rays(small):
    def sampling(num_views, columns):
        pg = ParallelBeam.circular(small.geometry, num_views=num_views)
        A = Projector(small.geometry, replace(pg, det_shape=(pg.det_shape[0], columns * pg.det_shape[1])))
        problem = Problem(A, A(small.data), None, PatchPrior(Precond(CONDITIONAL)), DiffusionParams())
        return Effort.of(problem, small.geometry, 60, 1).sampling - tuned.PREPARATION_COST

    assert sampling(40, 1) == pytest.approx(sampling(20, 1) / 2)
    assert sampling(20, 3) == pytest.approx(sampling(20, 1) / 3)


def test_more_iterations_than_expected_keep_the_share_of_sampling():
    """The bar neither stands still before sampling begins, nor jumps when it does."""
    effort = Effort(steps=60, own=60, coarse=0.0, initial=70.0, sampling=140.0)
    assert effort.share(1.0) == pytest.approx(1 / 3)
    assert effort.share(1.0, 60) == effort.share(1.0, 30) == effort.share(1.0)
    assert effort.share(1.0, 270) == pytest.approx(2 / 3)  # 280 iterations' worth before 140
    assert effort.share(0.5, 270) == pytest.approx(1 / 3)


@pytest.mark.parametrize("mode", ["restore", "posterior"])
def test_another_default_type_of_torch_changes_nothing(small, mode):
    A = Projector(small.geometry, ParallelBeam.circular(small.geometry, num_views=8))
    m = simulate(small, A)

    def volume():
        prior = load_prior("small")
        return reconstruct("diffusion", A, m, prior=prior, mode=mode, num_steps=2, initial="fbp").volume.data

    expected = volume()
    torch.set_default_dtype(torch.float64)
    try:
        found = volume()
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(found, expected)
