import json
import math
from dataclasses import replace

import pytest
import safetensors.torch
import torch

from core import MU_WATER, load_prior
from core.prior.denoiser import PatchPrior, Precond
from core.prior.files import COARSE, priors, save_prior
from core.prior.network import depth_to_space, space_to_depth
from core.prior.patches import PatchGrid
from core.prior.rof import rof
from tests.conftest import TINY

BLANK = replace(TINY, smoothings=())  # begins as nothing rather than as total variation

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


def test_own_weights_are_offered_after_the_usual_ones(tmp_path, monkeypatch):
    assert priors()[0] == "base"
    assert COARSE not in priors()  # it draws, it does not reconstruct
    monkeypatch.setattr("core.prior.files.PRETRAINED", tmp_path)
    for name in ("another", COARSE, "base", "mine", "my own", "mine.v2"):  # the last two no run can name
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
        torch.testing.assert_close(prior(x, sigma), expected, atol=1e-5, rtol=1e-5)


def test_a_fresh_network_is_total_variation(generator):
    x = torch.rand(8, 8, 8, generator=generator)
    size = (5.0, 2.5, 2.5)
    expected = rof(x[None, None], torch.tensor([0.5 * 0.3]), torch.tensor([size]))[0, 0]
    D_x = exact(tiny(trained=False)).at(size)(x, 0.3, grid=PatchGrid((8, 8, 8), (8, 8, 8)))
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
    """Training on a GPU goes through torch, use on a CPU through the kernel: rounding apart they are one function."""
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
    torch.testing.assert_close(exact(tiny())(x, 1e-5), x, atol=1e-3, rtol=0)


@pytest.mark.parametrize("cell", [(2, 2, 2), (1, 2, 2)])
def test_space_to_depth_is_inverted(cell, generator):
    x = torch.rand(2, 3, 4, 6, 8, generator=generator)
    packed = space_to_depth(x, cell)
    assert packed.shape == (2, 3 * math.prod(cell), 4 // cell[0], 3, 4)
    assert torch.equal(depth_to_space(packed, cell), x)


def test_a_prior_of_slices_sees_nothing_of_the_others(generator):
    """Whatever lies beside a slice, the result is the same."""
    config = replace(TINY, flat=True, surrounds=0, use_context=False, use_coordinates=False)
    prior = exact(tiny(config=config))
    x = torch.rand(5, 16, 16, generator=generator)
    grid = PatchGrid((5, 16, 16), config.tile)
    out = prior(x, 0.3, grid=grid)
    other = torch.rand(5, 16, 16, generator=generator)
    other[2] = x[2]
    found = prior(other, 0.3, grid=grid)
    torch.testing.assert_close(found[2], out[2], atol=1e-5, rtol=0)
    assert not torch.allclose(found[1], out[1], atol=1e-3)


def test_batches_of_tiles_do_not_change_the_result(generator):
    x = torch.rand(16, 16, 24, generator=generator)
    grid = PatchGrid.random((16, 16, 24), (8, 8, 8), generator=generator)
    a, b = (exact(tiny(), tile_batch=n)(x, 0.3, grid=grid) for n in (1, 5))
    torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


def test_a_tile_knows_of_the_rest_of_the_volume_only_through_its_context(generator):
    x = torch.rand(32, 16, 16, generator=generator)
    grid = PatchGrid((32, 16, 16), (8, 8, 8))
    far = x.clone()
    far[28:] += 1.0  # three tiles away from the first
    prior = exact(tiny())
    a, b = prior(x, 0.5, grid=grid)[:8], prior(far, 0.5, grid=grid)[:8]
    assert not torch.allclose(a, b, atol=1e-6)
    blind = prior.without(context=True, surround=True)
    assert torch.equal(blind(x, 0.5, grid=grid)[:8], blind(far, 0.5, grid=grid)[:8])


def test_inputs_can_be_switched_off_one_by_one(generator):
    x = torch.rand(16, 16, 16, generator=generator)
    grid = PatchGrid((16, 16, 16), (8, 8, 8), (0, 4, 0))
    full = exact(tiny())
    outputs = [full(x, 0.5, grid=grid)]
    for off in ({"context": True}, {"surround": True}, {"coordinates": True}):
        outputs.append(full.without(**off)(x, 0.5, grid=grid))
    assert all(not torch.allclose(outputs[0], o, atol=1e-6) for o in outputs[1:])


def test_the_guide_is_cut_where_the_tile_is(generator):
    """A network that gives its guide back, tile by tile, gives the guide; one that has none is told nothing."""
    torch.manual_seed(0)
    prior = PatchPrior(Precond(replace(TINY, guided=True)))
    x, guide = (torch.rand(13, 20, 17, generator=generator) for _ in range(2))
    told = []

    class Echo(torch.nn.Module):
        config = prior.config

        def __init__(self):
            super().__init__()
            self.somewhere = torch.nn.Parameter(torch.zeros(()))

        def forward(self, inputs, sigma, factor, voxel_size):
            told.append(inputs[:, self.config.channel["guide"]])
            return told[-1]

    prior.model = Echo()
    torch.testing.assert_close(prior(x, 0.3, guide=guide, generator=generator), guide)
    prior(x, 0.3, generator=generator)
    assert bool((told[-1] == prior.config.mean).all())


def test_a_guide_can_be_switched_off_and_is_none_of_a_prior_without_a_channel_for_it(generator):
    x, guide = (torch.rand(16, 16, 16, generator=generator) for _ in range(2))
    grid = PatchGrid((16, 16, 16), (8, 8, 8), (0, 4, 0))
    guided, plain = exact(tiny(config=replace(TINY, guided=True))), exact(tiny())
    with_it, without = guided(x, 0.5, grid=grid, guide=guide), guided(x, 0.5, grid=grid)
    assert not torch.allclose(with_it, without, atol=1e-6)
    torch.testing.assert_close(guided.without(guide=True)(x, 0.5, grid=grid, guide=guide), without)
    assert torch.equal(plain(x, 0.5, grid=grid, guide=guide), plain(x, 0.5, grid=grid))


def test_half_precision_changes_the_estimate_by_less_than_a_hundredth_of_the_noise(generator):
    """bfloat16 touches F alone, which enters D times c_out <= sigma: 8 bits of it are 0.4 % of sigma."""
    x = torch.rand(16, 8, 16, generator=generator)
    grid = PatchGrid((16, 8, 16), (8, 8, 8))
    for sigma in (0.02, 0.3, 3.0):
        exact, half = (PatchPrior(tiny(), bf16=b)(x, sigma, grid=grid) for b in (False, True))
        assert not torch.equal(exact, half)
        assert float((exact - half).square().mean().sqrt()) < 0.01 * sigma


def test_voxel_size_is_a_condition(generator):
    x = torch.rand(8, 8, 8, generator=generator)
    grid = PatchGrid((8, 8, 8), (8, 8, 8))
    a, b = (exact(tiny()).at(size)(x, 0.5, grid=grid) for size in ((5.0, 2.8, 2.8), (2.0, 2.0, 2.0)))
    assert not torch.allclose(a, b, atol=1e-6)


def test_air_is_not_computed_when_asked(generator):
    x = torch.rand(8, 8, 24, generator=generator)
    keep = torch.zeros(8, 8, 24, dtype=torch.bool)
    keep[:, :, :8] = True
    told = []
    out = exact(tiny())(
        x, 0.5, keep=keep, grid=PatchGrid((8, 8, 24), (8, 8, 8)), on_tiles=lambda *a: told.append(a)
    )
    assert told == [(1, 1)]
    assert float(out[:, :, 8:].abs().max()) == 0
    assert float(out[:, :, :8].abs().min()) > 0


def test_network_space_is_relative_to_water():
    mu = torch.tensor([0.0, MU_WATER])
    assert PatchPrior.to_network(mu).tolist() == [0, 1]
    torch.testing.assert_close(PatchPrior.from_network(PatchPrior.to_network(mu)), mu)


# ---- files ----------------------------------------------------------------------------------------------


def test_what_is_saved_is_what_is_loaded(tmp_path, generator):
    model = tiny()
    save_prior(tmp_path / "p.safetensors", model, info={"steps": 7})
    loaded = load_prior(tmp_path / "p.safetensors")
    assert loaded.config == TINY
    assert loaded.info["steps"] == 7
    prior = exact(loaded.model)
    x = torch.rand(8, 8, 16, generator=generator)
    grid = PatchGrid((8, 8, 16), (8, 8, 8))
    torch.testing.assert_close(prior(x, 0.3, grid=grid), exact(model)(x, 0.3, grid=grid))
    assert [p.name for p in tmp_path.iterdir()] == ["p.safetensors"]


def spoil(path, how):
    weights = {k: v.contiguous() for k, v in Precond(TINY).network.state_dict().items()}
    metadata = {"format": "tomopatch-prior-2", "config": json.dumps(TINY.__dict__), "info": "{}"}
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
    elif how == "no json":
        metadata["config"] = "{"
    safetensors.torch.save_file(weights, path, metadata=metadata)
    if how == "truncated":
        path.write_bytes(path.read_bytes()[:-100])
    elif how == "pickle":
        torch.save({"a": 1}, path)


@pytest.mark.parametrize(
    "how", ["foreign", "missing", "shape", "nan", "config", "huge", "no json", "truncated", "pickle"]
)
def test_wrong_files_are_refused_in_a_sentence(tmp_path, how):
    path = tmp_path / "p.safetensors"
    spoil(path, how)
    with pytest.raises(ValueError, match=r"p\.safetensors"):
        load_prior(path)


def test_a_prior_that_is_not_there_names_those_that_are():
    with pytest.raises(ValueError, match="known are"):
        load_prior("nothing")


# ---- what ships -----------------------------------------------------------------------------------------


def test_the_shipped_prior_removes_noise_at_every_level(generator):
    """On a phantom, which it was not trained on: far better than the best that knows only mean and variance."""
    from core import phantom

    volume = phantom("thorax", (32, 64, 64))
    prior = load_prior().at(volume.geometry.voxel_size)
    clean = PatchPrior.to_network(volume.data)
    for sigma in (0.1, 0.3, 1.0):
        noisy = clean + sigma * torch.randn(clean.shape, generator=generator)
        rmse = float((prior(noisy, sigma, generator=generator) - clean).square().mean().sqrt())
        gaussian = sigma / (1 + (sigma / prior.config.sigma_data) ** 2) ** 0.5
        assert rmse < 0.75 * gaussian
