import json

import numpy as np
import pytest
import safetensors.torch
import torch

from core import MU_WATER, load_prior
from core.prior.data import DataConfig, PatchSource, Scan
from core.prior.denoiser import PatchPrior, Precond, save_prior
from core.prior.network import NetworkConfig, depth_to_space, space_to_depth
from core.prior.patches import PatchGrid
from core.prior.training import TrainConfig, Trainer, ValidationSet, edm_loss, rate_factor
from core.volume import Volume, VolumeGeometry

TINY = NetworkConfig(patch_size=8, channels=(8, 12), blocks=(1, 1), embed=16, filters=4)


@pytest.fixture(autouse=True)
def one_thread():
    """Layers this small only wait for a second thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def tiny(seed=0, trained=True, config=TINY):
    """A small network; `trained`: with weights that are not the zeros of a fresh one."""
    torch.manual_seed(seed)
    model = Precond(config)
    if trained:
        for weight in model.parameters():
            torch.nn.init.normal_(weight, std=0.1)
    return model.eval()


def test_a_fresh_network_is_the_exact_gaussian_denoiser(generator):
    prior = PatchPrior(tiny(trained=False))
    x = torch.randn(10, 9, 20, generator=generator)
    for sigma in (0.05, 1.0, 20.0):
        shrink = TINY.sigma_data**2 / (TINY.sigma_data**2 + sigma**2)
        expected = TINY.mean + shrink * (x - TINY.mean)
        torch.testing.assert_close(prior(x, sigma), expected, atol=1e-5, rtol=1e-5)


def test_without_noise_it_changes_nothing(generator):
    x = torch.rand(8, 16, 8, generator=generator)
    torch.testing.assert_close(PatchPrior(tiny())(x, 1e-5), x, atol=1e-3, rtol=0)


def test_space_to_depth_is_inverted(generator):
    x = torch.rand(2, 3, 4, 6, 8, generator=generator)
    assert torch.equal(depth_to_space(space_to_depth(x)), x)


def test_batches_of_tiles_do_not_change_the_result(generator):
    x = torch.rand(16, 16, 24, generator=generator)
    grid = PatchGrid.random((16, 16, 24), 8, generator=generator)
    a, b = (PatchPrior(tiny(), tile_batch=n)(x, 0.3, grid=grid) for n in (1, 5))
    torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


def test_a_tile_knows_of_the_rest_of_the_volume_only_through_its_context(generator):
    x = torch.rand(32, 16, 16, generator=generator)
    grid = PatchGrid((32, 16, 16), 8)
    far = x.clone()
    far[28:] += 1.0  # three tiles away from the first
    prior = PatchPrior(tiny())
    a, b = prior(x, 0.5, grid=grid)[:8], prior(far, 0.5, grid=grid)[:8]
    assert not torch.allclose(a, b, atol=1e-6)
    blind = prior.without(context=True, surround=True)
    assert torch.equal(blind(x, 0.5, grid=grid)[:8], blind(far, 0.5, grid=grid)[:8])


def test_inputs_can_be_switched_off_one_by_one(generator):
    x = torch.rand(16, 16, 16, generator=generator)
    grid = PatchGrid((16, 16, 16), 8, (2, 4, 0))
    full = PatchPrior(tiny())
    outputs = [full(x, 0.5, grid=grid)]
    for off in ({"context": True}, {"surround": True}, {"coordinates": True}):
        outputs.append(full.without(**off)(x, 0.5, grid=grid))
    assert all(not torch.allclose(outputs[0], o, atol=1e-6) for o in outputs[1:])


def test_voxel_size_is_a_condition(generator):
    x = torch.rand(8, 8, 8, generator=generator)
    grid = PatchGrid((8, 8, 8), 8)
    a, b = (PatchPrior(tiny()).at(size)(x, 0.5, grid=grid) for size in ((5.0, 2.8, 2.8), (2.0, 2.0, 2.0)))
    assert not torch.allclose(a, b, atol=1e-6)


def test_air_is_not_computed_when_asked(generator):
    x = torch.rand(8, 8, 24, generator=generator)
    keep = torch.zeros(8, 8, 24, dtype=torch.bool)
    keep[:, :, :8] = True
    told = []
    out = PatchPrior(tiny())(
        x, 0.5, keep=keep, grid=PatchGrid((8, 8, 24), 8), on_tiles=lambda *a: told.append(a)
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
    prior = load_prior(tmp_path / "p.safetensors")
    assert prior.config == TINY
    assert prior.info["steps"] == 7
    x = torch.rand(8, 8, 16, generator=generator)
    grid = PatchGrid((8, 8, 16), 8)
    torch.testing.assert_close(prior(x, 0.3, grid=grid), PatchPrior(model)(x, 0.3, grid=grid))
    assert [p.name for p in tmp_path.iterdir()] == ["p.safetensors"]


def spoil(path, how):
    weights = {k: v.contiguous() for k, v in Precond(TINY).network.state_dict().items()}
    metadata = {"format": "tomopatch-prior-1", "config": json.dumps(TINY.__dict__), "info": "{}"}
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


# ---- training -------------------------------------------------------------------------------------------


@pytest.fixture
def scans():
    rng = np.random.default_rng(0)
    z, y, x = np.meshgrid(np.arange(24), np.arange(40), np.arange(36), indexing="ij")
    body = ((y - 20) / 15) ** 2 + ((x - 18) / 12) ** 2 < 1
    hu = np.where(body, 50, -1000) + np.where(((y - 20) ** 2 + (x - 12) ** 2 + (z - 10) ** 2) < 25, 400, 0)
    return [Scan(f"s{i}", (hu + rng.integers(-20, 20)).astype(np.int16), (3.0, 2.0, 2.0)) for i in range(2)]


CONFIG = TrainConfig(
    network=TINY, data=DataConfig(voxel_xy=(2.0, 3.0), voxel_z=(3.0, 4.0), pool=4, refresh=2),
    num_steps=12, volumes=2, crops=2, warmup=2, ema=0.5,
)  # fmt: skip


def test_batches_depend_on_the_seed_and_the_step_alone(scans):
    make = lambda seed: PatchSource(scans, CONFIG.data, patch_size=8, volumes=2, crops=3, seed=seed)  # noqa: E731
    one, two = make(1), make(1)
    for step in range(9):
        expected = one.batch(step)
    again = two.batch(8)  # not having seen the steps before
    assert torch.equal(expected.inputs, again.inputs)
    assert torch.equal(expected.clean, again.clean)
    assert not torch.equal(again.clean, make(2).batch(8).clean)


def test_patches_carry_the_noise_they_say(scans):
    source = PatchSource(scans, CONFIG.data, patch_size=8, volumes=4, crops=16)
    batch = source.batch(0)
    for sigma in batch.sigma.unique():
        rows = batch.sigma == sigma
        noise = batch.inputs[rows, :1] - batch.clean[rows]
        # 16 patches of 512 voxels, some sharing voxels: a few percent
        assert float(noise.std()) == pytest.approx(float(sigma), rel=0.08)


def test_the_loss_of_the_gaussian_denoiser_is_one_on_gaussian_data(generator):
    """EDM's weighting makes the loss of the exact denoiser of N(mean, sigma_data^2) equal 1 at every sigma."""
    from core.prior.data import Batch

    n = 64
    clean = TINY.mean + TINY.sigma_data * torch.randn(n, 1, 8, 8, 8, generator=generator)
    sigma = torch.logspace(-2, 1, n)
    inputs = torch.zeros(n, 6, 8, 8, 8)
    inputs[:, :1] = clean + sigma[:, None, None, None, None] * torch.randn(clean.shape, generator=generator)
    batch = Batch(inputs, sigma, torch.ones(n), torch.ones(n, 3), clean)
    with torch.no_grad():
        loss = edm_loss(tiny(trained=False), batch)
    torch.testing.assert_close(loss, torch.ones(n), atol=0.3, rtol=0)  # 512 voxels: 6 % each, four sigma
    assert float(loss.mean()) == pytest.approx(1, abs=0.03)


def test_rate_rises_then_falls_to_its_floor():
    config = TrainConfig(num_steps=1000, warmup=100, rate_floor=0.1)
    factors = [rate_factor(s, config) for s in (0, 50, 99, 500, 1000)]
    assert factors[0] < factors[1] < factors[2]
    assert factors[2] > factors[3] > factors[4]
    assert factors[4] == pytest.approx(0.1)


def test_training_lowers_the_error(tmp_path, scans):
    data = torch.from_numpy(scans[0].hu.astype(np.float32))
    volume = Volume.from_hu(data, VolumeGeometry(tuple(data.shape), (3.0, 2.0, 2.0)))
    validation = ValidationSet.of([volume], 8, grid=(16, 24, 24), patches=4)
    config = TrainConfig(**{**CONFIG.__dict__, "num_steps": 80, "rate": 5e-2, "ema": 0.9})
    trainer = Trainer(tmp_path / "run", config, scans, validation)
    before = trainer.validate()
    trainer.run(validate_every=80)
    after = trainer.validate()
    assert all(after[s] < 0.8 * before[s] for s in (0.3, 1.0, 3.0))
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert log[-1]["step"] == 80
    assert load_prior(tmp_path / "run" / "prior.safetensors").info["steps"] == 80
    assert validation.picture(trainer.averaged()).shape == (8, 72)


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path, scans):
    whole = Trainer(tmp_path / "whole", CONFIG, scans)
    whole.run()

    def stop(step):
        if step.step == 5:
            raise StopIteration

    first = Trainer(tmp_path / "parts", CONFIG, scans)
    first.run(log_every=5, callback=stop)
    second = Trainer(tmp_path / "parts", CONFIG, scans)
    assert second.step == 5
    second.run()
    for a, b in zip(whole.averaged().parameters(), second.averaged().parameters(), strict=True):
        assert torch.equal(a, b)


def test_training_without_volumes_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no training volumes"):
        Trainer(tmp_path, CONFIG, [])


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
