import json
import math
from dataclasses import replace

import pytest
import safetensors.torch
import torch

from tests.conftest import TINY
from tomopatch import MU_WATER, load_prior
from tomopatch.prior.conditions import Condition
from tomopatch.prior.denoiser import PatchPrior, alternately_mirrored
from tomopatch.prior.files import BODY, priors, save_prior
from tomopatch.prior.network.layers import depth_to_space, space_to_depth
from tomopatch.prior.patches import PatchGrid
from tomopatch.prior.precond import Precond
from tomopatch.prior.ranges import TrainedRanges
from tomopatch.prior.rof import rof

BLANK = replace(TINY, smoothings=())  # a fresh network returns 0
SIZE = (2.0, 2.0, 2.0)  # voxel size [mm]

pytestmark = pytest.mark.usefixtures("one_thread")


def tiny(seed=0, trained=True, config=TINY):
    """A small network; `trained`: with weights that are not the zeros of a fresh one."""
    torch.manual_seed(seed)
    model = Precond(config)
    if trained:
        for weight in model.parameters():
            torch.nn.init.normal_(weight, std=0.1)
    return model.eval()


def exact(model, **options):
    """A prior that computes in float32 on every machine."""
    return PatchPrior(model, bf16=False, **options)


def denoise(prior, x, sigma, *, voxel_size=SIZE, **bound):
    """One pass of the prior over x."""
    return prior.bind(voxel_size, **bound)(x, sigma)


def test_own_weights_are_offered_after_the_default(tmp_path, monkeypatch):
    assert priors()[0] == "base"
    monkeypatch.setattr("tomopatch.prior.files.PRETRAINED", tmp_path)
    for name in ("another", BODY, "base", "mine", "my own", "mine.v2"):  # the last two are no valid names
        (tmp_path / f"{name}.safetensors").touch()
    assert priors() == ["base", "another", "mine"]
    (tmp_path / "base.safetensors").unlink()
    assert priors() == ["another", "mine"]


def test_a_fresh_network_without_smoothings_is_the_exact_gaussian_denoiser(generator):
    prior = exact(tiny(trained=False, config=BLANK))
    x = torch.randn(10, 9, 20, generator=generator)
    for sigma in (0.05, 1.0, 20.0):
        shrink = TINY.sigma_data**2 / (TINY.sigma_data**2 + sigma**2)
        expected = TINY.mean + shrink * (x - TINY.mean)
        torch.testing.assert_close(denoise(prior, x, sigma), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("sigma", [0.01, 0.1, 1.0, 30.0])
@pytest.mark.parametrize("error", [0.02, 0.1])
def test_a_zero_network_is_the_gaussian_posterior_mean_given_x_and_the_condition(sigma, error, generator):
    """If the clean value is N(c, s^2) and x = clean + N(0, sigma^2), precisions add up."""
    prior = exact(tiny(trained=False, config=replace(BLANK, conditional=True)))
    x, c = (torch.rand(10, 9, 20, generator=generator) for _ in range(2))
    found = denoise(prior, x, sigma, condition=Condition(c, error))
    expected = (x / sigma**2 + c / error**2) / (1 / sigma**2 + 1 / error**2)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_without_a_condition_a_conditional_network_is_preconditioned_about_the_mean(generator):
    prior = exact(tiny(trained=False, config=replace(BLANK, conditional=True)))
    x = torch.randn(8, 8, 16, generator=generator)
    shrink = TINY.sigma_data**2 / (TINY.sigma_data**2 + 0.7**2)
    torch.testing.assert_close(
        denoise(prior, x, 0.7), TINY.mean + shrink * (x - TINY.mean), atol=1e-5, rtol=0
    )


def test_a_condition_changes_the_output_at_every_noise_level(generator):
    """The network sees the condition: two conditions that differ far from a tile still change it."""
    prior = exact(tiny(config=replace(TINY, conditional=True, neighbourhoods=2)))
    x, c = (torch.rand(32, 16, 16, generator=generator) for _ in range(2))
    far = c.clone()
    far[16:] += 0.3
    grid = PatchGrid((32, 16, 16), (8, 8, 8))
    for sigma in (0.05, 3.0):
        a, b = (denoise(prior, x, sigma, grid=grid, condition=Condition(v, 0.1))[:8] for v in (c, far))
        assert not torch.allclose(a, b, atol=1e-6)
        tight = denoise(prior, x, sigma, grid=grid, condition=Condition(c, 0.02))[:8]
        assert not torch.allclose(a, tight, atol=1e-6)


def test_a_prior_without_channels_for_a_condition_ignores_it(generator):
    prior, x = exact(tiny()), torch.rand(8, 8, 8, generator=generator)
    grid = PatchGrid((8, 8, 8), (8, 8, 8))
    with_it = denoise(prior, x, 0.3, grid=grid, condition=Condition(torch.rand(8, 8, 8), 0.1))
    assert torch.equal(with_it, denoise(prior, x, 0.3, grid=grid))


def test_numbers_outside_the_trained_range_are_clamped_and_reported(generator):
    trained = TrainedRanges(
        voxel_xy=(1.0, 12.0), voxel_z=(2.0, 14.0), error=(0.02, 0.2), sampling_ratio=(0.02, 1)
    )
    prior = exact(tiny(config=replace(TINY, conditional=True)), trained=trained)
    inside = prior.bind((2.0, 3.0, 3.0), condition=Condition(torch.zeros(8, 8, 8), 0.1, sampling_ratio=0.5))
    assert inside.voxel_size == (2.0, 3.0, 3.0)
    assert inside.remarks == ()
    outside = prior.bind(
        (0.02, 3.0, 20.0), condition=Condition(torch.zeros(8, 8, 8), 0.9, sampling_ratio=0.001)
    )
    assert outside.voxel_size == (2.0, 3.0, 12.0)
    assert (outside.condition.error, outside.condition.sampling_ratio) == (0.2, 0.02)
    voxels, error, ratio = outside.remarks
    assert "2 to 14 mm along z and 1 to 12 mm in plane" in voxels
    assert "voxels of 0.02 x 3 x 20 mm (z, y, x) as 2 x 3 x 12 mm" in voxels
    assert "900 HU" in error
    assert "200 HU" in error
    assert "0.001 as 0.02" in ratio
    x = torch.rand(8, 8, 8, generator=generator)
    grid = PatchGrid((8, 8, 8), (8, 8, 8))
    edge, beyond = (
        denoise(prior, x, 0.3, voxel_size=v, grid=grid) for v in ((2.0, 1.0, 1.0), (0.01, 0.01, 0.01))
    )
    assert torch.equal(edge, beyond)


def test_a_fresh_network_is_total_variation(generator):
    x = torch.rand(8, 8, 8, generator=generator)
    size = (5.0, 2.5, 2.5)
    expected = rof(x[None, None], torch.tensor([0.5 * 0.3]), torch.tensor([size]))[0, 0]
    grid = PatchGrid((8, 8, 8), (8, 8, 8))
    D_x = denoise(exact(tiny(trained=False)), x, 0.3, voxel_size=size, grid=grid)
    torch.testing.assert_close(D_x, expected, atol=1e-5, rtol=1e-5)


def test_total_variation_removes_noise_and_keeps_edges_and_the_mean(generator):
    step = torch.zeros(1, 1, 16, 16, 16)
    step[..., 8:] = 1.0
    noisy = step + 0.1 * torch.randn(step.shape, generator=generator)
    smooth = rof(noisy, torch.tensor([0.06]), torch.ones(1, 3), num_iterations=60)
    assert float((smooth - step).square().mean()) < 0.1 * float((noisy - step).square().mean())
    assert float(smooth[..., 8].mean() - smooth[..., 7].mean()) > 0.9
    torch.testing.assert_close(smooth.mean(), noisy.mean(), atol=1e-5, rtol=0)


def test_smoothing_is_the_same_by_the_kernel_and_by_torch(generator):
    """Training on a GPU goes through torch, use on a CPU through the kernel: rounding apart they are one
    function.
    """
    noisy = torch.rand(3, 1, 6, 9, 7, generator=generator)
    strength, size = torch.tensor([0.02, 0.1, 0.5]), torch.tensor([[1.0, 1, 1], [3, 1, 2], [5, 2, 2]])
    by_torch = rof(noisy, strength, size)
    with torch.no_grad():
        by_kernel = rof(noisy, strength, size)
    assert float((by_torch - noisy).abs().max()) > 0.05
    torch.testing.assert_close(by_kernel, by_torch, atol=1e-5, rtol=0)


def test_total_variation_minimises_its_objective(generator):
    noisy, size, lam = (
        torch.rand(2, 1, 6, 5, 7, generator=generator),
        torch.tensor([[4.0, 2, 2], [1, 1, 1]]),
        0.3,
    )

    def objective(x):
        total = 0.5 * (x - noisy).square().sum()
        for patch, voxel in zip(x[:, 0], size, strict=True):
            squares = torch.zeros_like(patch)
            for axis in range(3):
                n = patch.shape[axis] - 1
                rise = patch.narrow(axis, 1, n) - patch.narrow(axis, 0, n)
                squares.narrow(axis, 0, n).add_((rise * voxel.min() / voxel[axis]).square())
            total = total + lam * squares.sqrt().sum()
        return float(total)

    best = rof(noisy, torch.full((2,), lam), size, num_iterations=500)
    for scale in (1e-1, 1e-2):
        other = best + scale * torch.randn(best.shape, generator=generator)
        assert objective(other) > objective(best)
    # a convex objective: what is least among its neighbours is least; a few iterations come near it
    few = rof(noisy, torch.full((2,), lam), size)
    assert objective(few) < objective(best) + 0.05 * (objective(noisy) - objective(best))


def test_without_noise_it_changes_nothing(generator):
    x = torch.rand(8, 16, 8, generator=generator)
    torch.testing.assert_close(denoise(exact(tiny()), x, 1e-5), x, atol=1e-3, rtol=0)


@pytest.mark.parametrize("factors", [(2, 2, 2), (1, 2, 2)])
def test_space_to_depth_is_inverted(factors, generator):
    x = torch.rand(2, 3, 4, 6, 8, generator=generator)
    packed = space_to_depth(x, factors)
    assert packed.shape == (2, 3 * math.prod(factors), 4 // factors[0], 3, 4)
    assert torch.equal(depth_to_space(packed, factors), x)


def test_a_prior_of_slices_sees_nothing_of_the_others(generator):
    config = replace(TINY, two_d=True, neighbourhoods=0, use_context=False, use_coordinates=False)
    prior = exact(tiny(config=config))
    x = torch.rand(5, 16, 16, generator=generator)
    grid = PatchGrid((5, 16, 16), config.tile)
    out = denoise(prior, x, 0.3, grid=grid)
    other = torch.rand(5, 16, 16, generator=generator)
    other[2] = x[2]
    found = denoise(prior, other, 0.3, grid=grid)
    torch.testing.assert_close(found[2], out[2], atol=1e-5, rtol=0)
    assert not torch.allclose(found[1], out[1], atol=1e-3)


def test_batches_of_tiles_do_not_change_the_result(generator):
    x = torch.rand(16, 16, 24, generator=generator)
    grid = PatchGrid.random((16, 16, 24), (8, 8, 8), generator=generator)
    a, b = (denoise(exact(tiny(), tile_batch=n), x, 0.3, grid=grid) for n in (1, 5))
    torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


def test_a_tile_depends_on_the_rest_of_the_volume_only_through_its_context(generator):
    x = torch.rand(32, 16, 16, generator=generator)
    grid = PatchGrid((32, 16, 16), (8, 8, 8))
    far = x.clone()
    far[28:] += 1.0  # three tiles away from the first
    prior = exact(tiny())
    a, b = (denoise(prior, v, 0.5, grid=grid)[:8] for v in (x, far))
    assert not torch.allclose(a, b, atol=1e-6)
    blind = prior.without(context=True, neighbourhoods=True)
    assert torch.equal(*(denoise(blind, v, 0.5, grid=grid)[:8] for v in (x, far)))


def test_inputs_can_be_switched_off_one_by_one(generator):
    x = torch.rand(16, 16, 16, generator=generator)
    grid = PatchGrid((16, 16, 16), (8, 8, 8), (0, 4, 0))
    full = exact(tiny())
    outputs = [denoise(full, x, 0.5, grid=grid)]
    for off in ("context", "neighbourhoods", "coordinates"):
        outputs.append(denoise(full.without(**{off: True}), x, 0.5, grid=grid))
    assert all(not torch.allclose(outputs[0], o, atol=1e-6) for o in outputs[1:])


def test_conditioning_images_are_cut_where_the_tile_is(generator):
    """A network that returns one of its images, tile by tile, gives the image back."""
    torch.manual_seed(0)
    config = replace(TINY, least_squares=True, conditional=True)
    prior = PatchPrior(Precond(config))
    x, c, ls = (torch.rand(13, 20, 17, generator=generator) for _ in range(3))

    class Echo(torch.nn.Module):
        def __init__(self, name):
            super().__init__()
            self.config, self.channel = config, config.input_names.index(name)
            self.somewhere = torch.nn.Parameter(torch.zeros(()))

        def forward(self, inputs, numbers):
            return inputs[:, self.channel : self.channel + 1]

    condition = Condition(c, 0.1, ls)
    for name, image in (("patch", x), ("condition", c), ("least squares", ls)):
        prior.model = Echo(name)
        found = denoise(prior, x, 0.3, condition=condition, generator=generator)
        torch.testing.assert_close(found, image)
        if name != "patch":  # a missing image is replaced by the data's mean
            assert bool((denoise(prior, x, 0.3, generator=generator) == config.mean).all())


def test_a_mirrored_pass_is_the_mirror_of_a_pass_over_the_mirrored_volume(generator):
    """Tiles at offset 0 fill this volume, so that those of the mirrored volume lie on the same voxels."""
    x, c, ls = (torch.rand(8, 16, 24, generator=generator) for _ in range(3))
    grid = PatchGrid((8, 16, 24), (8, 8, 8))
    prior = exact(tiny(config=replace(TINY, least_squares=True, conditional=True)))
    bound = prior.bind(SIZE, condition=Condition(c, 0.1, ls), grid=grid)
    plain = bound(x, 0.3)
    bound.mirrored = True
    mirrored = bound(x, 0.3)
    images = Condition(c.flip(2), 0.1, ls.flip(2))
    expected = prior.bind(SIZE, condition=images, grid=grid)(x.flip(2), 0.3).flip(2)
    torch.testing.assert_close(mirrored, expected)
    assert not torch.allclose(mirrored, plain, atol=1e-4)


def test_passes_alternate_between_the_volume_and_its_mirror_image(generator):
    prior, seen = exact(tiny()), []
    bound = prior.bind(SIZE, generator=generator)

    def look(x, sigma):
        seen.append(bound.mirrored)
        return bound(x, sigma)

    levels = [1.0, 0.5, 0.2, 0.1]
    denoiser = alternately_mirrored(look, bound, levels[1::2])
    for sigma in levels:
        denoiser(torch.rand(8, 8, 8, generator=generator), sigma)
    assert seen == [False, True, False, True]


def test_the_least_squares_image_can_be_switched_off(generator):
    x, ls = (torch.rand(16, 16, 16, generator=generator) for _ in range(2))
    grid = PatchGrid((16, 16, 16), (8, 8, 8), (0, 4, 0))
    prior, known = exact(tiny(config=replace(TINY, least_squares=True))), Condition(least_squares=ls)
    with_it, without = (denoise(prior, x, 0.5, grid=grid, condition=c) for c in (known, None))
    assert not torch.allclose(with_it, without, atol=1e-6)
    off = denoise(prior.without(least_squares=True), x, 0.5, grid=grid, condition=known)
    torch.testing.assert_close(off, without)


def test_half_precision_changes_the_estimate_by_less_than_a_hundredth_of_the_noise(generator):
    """bfloat16 touches F alone, which enters D times c_out <= sigma: 8 bits of it are 0.4 % of sigma."""
    x = torch.rand(16, 8, 16, generator=generator)
    grid = PatchGrid((16, 8, 16), (8, 8, 8))
    for sigma in (0.02, 0.3, 3.0):
        exact, half = (denoise(PatchPrior(tiny(), bf16=b), x, sigma, grid=grid) for b in (False, True))
        assert not torch.equal(exact, half)
        assert float((exact - half).square().mean().sqrt()) < 0.01 * sigma


def test_voxel_size_is_a_condition(generator):
    x = torch.rand(8, 8, 8, generator=generator)
    grid = PatchGrid((8, 8, 8), (8, 8, 8))
    sizes = ((5.0, 2.8, 2.8), (2.0, 2.0, 2.0))
    a, b = (denoise(exact(tiny()), x, 0.5, voxel_size=size, grid=grid) for size in sizes)
    assert not torch.allclose(a, b, atol=1e-6)


def test_tiles_outside_the_mask_are_air(generator):
    x = torch.rand(8, 8, 24, generator=generator)
    mask = torch.zeros(8, 8, 24, dtype=torch.bool)
    mask[:, :, :8] = True
    done = []
    out = denoise(
        exact(tiny()),
        x,
        0.5,
        mask=mask,
        grid=PatchGrid((8, 8, 24), (8, 8, 8)),
        on_tiles=lambda *a: done.append(a),
    )
    assert done == [(1, 1)]
    assert float(out[:, :, 8:].abs().max()) == 0
    assert float(out[:, :, :8].abs().min()) > 0


def test_network_space_is_relative_to_water():
    mu = torch.tensor([0.0, MU_WATER])
    assert PatchPrior.to_network(mu).tolist() == [0, 1]
    torch.testing.assert_close(PatchPrior.from_network(PatchPrior.to_network(mu)), mu)


# ---- files ----------------------------------------------------------------------------------------------


def test_what_is_saved_is_what_is_loaded(tmp_path, generator):
    model = tiny()
    trained = TrainedRanges(modes=("restore",), voxel_xy=(1.0, 3.0))
    save_prior(tmp_path / "p.safetensors", model, trained=trained, info={"steps": 7})
    loaded = load_prior(tmp_path / "p.safetensors")
    assert loaded.config == TINY
    assert loaded.trained == trained
    assert loaded.info["steps"] == 7
    prior = exact(loaded.model)
    x = torch.rand(8, 8, 16, generator=generator)
    grid = PatchGrid((8, 8, 16), (8, 8, 8))
    torch.testing.assert_close(denoise(prior, x, 0.3, grid=grid), denoise(exact(model), x, 0.3, grid=grid))
    assert [p.name for p in tmp_path.iterdir()] == ["p.safetensors"]


def corrupt(path, how):
    weights = {k: v.contiguous() for k, v in Precond(TINY).network.state_dict().items()}
    metadata = {
        "format": "tomopatch-prior-3",
        "config": json.dumps(TINY.__dict__),
        "trained": json.dumps(TrainedRanges().to_json()),
        "info": "{}",
    }
    name = next(iter(weights))
    if how == "foreign":
        metadata["format"] = "another"
    elif how == "missing":
        del weights[name]
    elif how == "shape":
        weights[name] = torch.zeros(3)
    elif how == "nan":
        weights[name] = torch.full_like(weights[name], float("nan"))
    elif how == "config":
        metadata["config"] = json.dumps({**TINY.__dict__, "layers": 3})
    elif how == "huge":
        metadata["config"] = json.dumps({**TINY.__dict__, "channels": [10**6, 10**6]})
    elif how == "ranges":
        metadata["trained"] = json.dumps({"voxel_xy": [2.0, 1.0]})
    elif how == "unknown mode":
        metadata["trained"] = json.dumps({"modes": ["dream"]})
    elif how == "no ranges":
        del metadata["trained"]
    elif how == "no json":
        metadata["config"] = "{"
    safetensors.torch.save_file(weights, path, metadata=metadata)
    if how == "truncated":
        path.write_bytes(path.read_bytes()[:-100])
    elif how == "pickle":
        torch.save({"a": 1}, path)


@pytest.mark.parametrize(
    "how",
    [
        "foreign",
        "missing",
        "shape",
        "nan",
        "config",
        "huge",
        "ranges",
        "unknown mode",
        "no ranges",
        "no json",
        "truncated",
        "pickle",
    ],
)
def test_wrong_files_are_refused_in_a_sentence(tmp_path, how):
    path = tmp_path / "p.safetensors"
    corrupt(path, how)
    with pytest.raises(ValueError, match=r"p\.safetensors"):
        load_prior(path)


def test_a_checkpoint_of_the_format_without_conditions_is_converted(tmp_path, generator):
    """Its config has the names of that time; its weights give what they gave."""
    model = tiny(config=replace(TINY, neighbourhoods=2, least_squares=True))
    old = {name: value for name, value in vars(model.config).items() if name != "conditional"}
    for now, then in (
        ("two_d", "flat"), ("neighbourhoods", "surrounds"), ("least_squares", "guided"),
        ("use_neighbourhoods", "use_surround"), ("use_least_squares", "use_guide"),
    ):  # fmt: skip
        old[then] = old.pop(now)
    metadata = {
        "format": "tomopatch-prior-2",
        "config": json.dumps(old | {"context_by": "area"}),
        "info": json.dumps({"calibration": {"spread": 2.0}}),
    }
    weights = {k: v.contiguous() for k, v in model.network.state_dict().items()}
    safetensors.torch.save_file(weights, tmp_path / "old.safetensors", metadata=metadata)
    prior = load_prior(tmp_path / "old.safetensors")
    assert prior.config == model.config
    assert "posterior" not in prior.trained.modes
    assert prior.info["calibrations"] == {"restore": {"spread": 2.0}}
    x, grid = torch.rand(8, 8, 16, generator=generator), PatchGrid((8, 8, 16), (8, 8, 8))
    assert torch.equal(
        denoise(exact(prior.model), x, 0.3, grid=grid), denoise(exact(model), x, 0.3, grid=grid)
    )
    metadata["config"] = json.dumps(old | {"context_by": "trilinear"})
    safetensors.torch.save_file(weights, tmp_path / "trilinear.safetensors", metadata=metadata)
    with pytest.raises(ValueError, match="retrain"):
        load_prior(tmp_path / "trilinear.safetensors")


def test_a_prior_that_is_not_there_names_those_that_are():
    with pytest.raises(ValueError, match="known are"):
        load_prior("nothing")


# ---- what ships -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", priors())
def test_a_shipped_prior_removes_noise_at_every_level(name, generator):
    """On a phantom, which it was not trained on: far better than the best that knows only mean and
    variance.
    """
    from tomopatch import phantom

    volume = phantom("thorax", (32, 64, 64))
    prior = load_prior(name)
    clean = PatchPrior.to_network(volume.data)
    for sigma in (0.1, 0.3, 1.0):
        noisy = clean + sigma * torch.randn(clean.shape, generator=generator)
        D_x = denoise(prior, noisy, sigma, voxel_size=volume.geometry.voxel_size, generator=generator)
        rmse = float((D_x - clean).square().mean().sqrt())
        gaussian = sigma / (1 + (sigma / prior.config.sigma_data) ** 2) ** 0.5
        assert rmse < 0.75 * gaussian
