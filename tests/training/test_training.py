"""Training the prior: its data, its loss, its run in a folder."""

import json
import math
import os
import socket
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from tests.conftest import TINY
from tomopatch import ParallelBeam, load_prior
from tomopatch.io.nifti import write_nifti
from tomopatch.phantoms.catalogue import phantom
from tomopatch.prior.files import save_prior
from tomopatch.prior.precond import Numbers, Precond
from tomopatch.reconstruct.diffusion.expected_error import ScanFigures, expected_error
from tomopatch.training.data_config import DataConfig
from tomopatch.training.pair_workers import PairWorkers
from tomopatch.training.pairs import ARRAYS, Pair, TrainingVolume, VoxelRanges, make_pairs, simulate_pair
from tomopatch.training.run import train
from tomopatch.training.source import KINDS, Batch, PatchSource
from tomopatch.training.train_config import TrainConfig, learning_rate_factor
from tomopatch.training.trainer import Trainer, edm_loss
from tomopatch.training.validation import ValidationSet
from tomopatch.training.validation_scans import ValidationScan
from tomopatch.training.volume_pool import VolumePool
from tomopatch.training.volumes import VolumeFolder, random_geometric
from tomopatch.volume import Volume, VolumeGeometry

BLANK = replace(TINY, smoothings=())  # a fresh network returns 0
CONDITIONAL = replace(TINY, conditional=True, least_squares=True)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def volumes():
    rng = np.random.default_rng(0)
    z, y, x = np.meshgrid(np.arange(24), np.arange(40), np.arange(36), indexing="ij")
    body = ((y - 20) / 15) ** 2 + ((x - 18) / 12) ** 2 < 1
    hu = np.where(body, 50, -1000) + np.where(((y - 20) ** 2 + (x - 12) ** 2 + (z - 10) ** 2) < 25, 400, 0)
    return [
        TrainingVolume(f"s{i}", (hu + rng.integers(-20, 20)).astype(np.int16), (3.0, 2.0, 2.0))
        for i in range(2)
    ]


CONFIG = TrainConfig(
    network=TINY, data=DataConfig(voxel_xy=(2.0, 3.0), voxel_z=(3.0, 4.0), body=0.0, pool=4, refresh=2),
    num_steps=12, volumes=2, crops=2, warmup=2, cooldown=1, ema=0.5,
)  # fmt: skip
VOXELS = VoxelRanges((2.0, 3.0), (3.0, 4.0))
FIGURES = ScanFigures(sampling_ratio=0.1, angular_range=1.0, photon_noise=0.0)


def pair_of(clean, tv=None, least_squares=None):
    """A pair of these images (HU); a missing one is the clean one. The scan is of something else."""
    images = (v.astype(np.int16) for v in (clean, *(clean if v is None else v for v in (tv, least_squares))))
    size = (3.0, 2.0, 2.0)
    geometry = ParallelBeam.circular(VolumeGeometry(clean.shape, size), num_views=2)
    shape = (geometry.det_shape[0], 2, geometry.det_shape[1])
    return Pair(*images, size, FIGURES, geometry, np.zeros(shape, np.float32))


def source(volumes, network=TINY, *, data=CONFIG.data, num_volumes=4, crops=4, **options):
    return PatchSource(volumes, data, network=network, num_volumes=num_volumes, crops=crops, **options)


def only(kind, **changes):
    """The data config with volumes of one kind alone."""
    shares = {name: float(name == kind) for name in KINDS[:-1]}
    return replace(CONFIG.data, drop=0.0, chains=0.0, **shares, **changes)


def channel(batch, network, name):
    index = network.input_names.index(name)
    return batch.inputs[:, index : index + 1]


def test_batches_depend_on_the_seed_and_the_step_alone(volumes):
    one, two, other = (source(volumes, seed=seed) for seed in (1, 1, 2))
    for step in range(9):
        expected = one.batch(step)
    again = two.batch(8)  # without the steps before
    assert torch.equal(expected.inputs, again.inputs)
    assert torch.equal(expected.clean, again.clean)
    assert not torch.equal(again.clean, other.batch(8).clean)


def test_patches_carry_the_noise_they_are_labelled_with(volumes):
    batch = source(volumes, crops=16).batch(0)
    sigmas = batch.numbers.sigma
    for sigma in sigmas.unique():
        rows = sigmas == sigma
        noise = batch.inputs[rows, :1] - batch.clean[rows]
        # 16 patches of 512 voxels, some sharing voxels: a few percent
        assert float(noise.std()) == pytest.approx(float(sigma), rel=0.08)


def test_patches_are_rarely_of_air_alone():
    """The half of the random places with the largest deviation is used."""
    hu = np.full((24, 64, 64), -1000, np.int16)
    hu[:, 20:36, 20:36] = 50
    rods = source([TrainingVolume("rod", hu, (3.0, 2.0, 2.0))])
    clean = torch.cat([rods.batch(step).clean for step in range(60)])
    air = float((clean.flatten(1).std(1) < 1e-3).float().mean())

    def misses(n: int) -> float:
        """Share of random places of a patch along one axis that miss the body."""
        starts = np.arange(0, n, 2)
        body = np.arange(20, 36)
        return float(np.mean([not np.isin((s + np.arange(TINY.patch_size)) % n, body).any() for s in starts]))

    alone = 1 - (1 - misses(64)) ** 2
    # without the choice 0.97 of it, because some grids are coarser
    assert 0 < air < 0.9 * alone


def test_bodies_amid_air_fill_whole_tiles_and_are_not_mirrored():
    hu = np.full((24, 40, 40), 50, np.int16)  # of 2 mm: 40 to 27 voxels of 2 to 3 mm
    data = replace(CONFIG.data, body=1.0, body_voxel=(2.0, 3.0), air=1.0)
    pool = VolumePool([TrainingVolume("block", hu, (3.0, 2.0, 2.0))], data, tile=TINY.tile)
    for slot in range(data.pool):
        volume, voxel_size = pool.volume(slot, 0)
        p = TINY.patch_size
        assert volume.shape[1] % p == volume.shape[2] % p == 0
        inside = (volume[0] > 1).nonzero()
        # all of the block, or as much of it as there is room for
        assert len(inside) == min(volume.shape[1], round(80 / voxel_size[1])) ** 2
        middle = inside.double().mean(0) + 0.5
        assert (middle - torch.tensor(volume.shape[1:]) / 2).abs().max() <= 0.5
        assert float(volume.min()) in (0.0, volume.max())  # air, where it does not fill the tiles


def test_posterior_patches_show_the_images_of_the_scan_at_the_same_place(volumes):
    """Here the images are the clean volume plus a constant: mirrored with it and cut at the same places."""
    clean = volumes[0].hu
    pair = pair_of(clean, clean + 50, clean - 30)
    drawn = source(volumes, CONDITIONAL, data=only("posterior"), pairs=[pair])
    for step in range(3):
        batch = drawn.batch(step)
        image, ls = (channel(batch, CONDITIONAL, name) for name in ("condition", "least squares"))
        torch.testing.assert_close(image, batch.clean + 0.05, atol=1e-6, rtol=0)
        torch.testing.assert_close(ls, batch.clean - 0.03, atol=1e-6, rtol=0)
        # the expected error, which the network is given, is an estimate
        expected = expected_error(FIGURES, pair.voxel_size)
        assert bool(((batch.numbers.error / expected).log().abs() < 1.5).all())
        assert bool((batch.numbers.sampling_ratio == np.float32(FIGURES.sampling_ratio)).all())


def test_upsampled_patches_are_conditioned_on_their_half_resolution(volumes):
    drawn = source(volumes, CONDITIONAL, data=only("upsample"))
    for step in range(3):
        batch = drawn.batch(step)
        image = channel(batch, CONDITIONAL, "condition")
        away, contrast = (image - batch.clean).square().mean().sqrt(), batch.clean.std()
        assert 0.02 < float(away / contrast) < 0.5  # it shows the object, but not its edges
        assert bool((batch.numbers.error > 0).all())


def test_unconditional_patches_have_no_condition(volumes):
    drawn = source(volumes, CONDITIONAL, data=only("unconditional"), pairs=[pair_of(volumes[0].hu)])
    batch = drawn.batch(0)
    assert bool((batch.numbers.error == 0).all())
    for name in ("condition", "least squares"):
        assert bool((channel(batch, CONDITIONAL, name) == CONDITIONAL.mean).all())


def test_the_kinds_of_volumes_have_their_shares(volumes):
    data = replace(CONFIG.data, posterior=0.5, upsample=0.25)
    drawn = source(volumes, CONDITIONAL, data=data, num_volumes=8, pairs=[pair_of(volumes[0].hu)])
    rng = np.random.default_rng(0)
    kinds = [kind for _ in range(50) for kind in drawn.draw_kinds(rng)]
    counts = {kind: kinds.count(kind) / len(kinds) for kind in KINDS}
    # stratified: each batch of 8 has them exactly
    assert counts == {"posterior": 0.5, "upsample": 0.25, "unconditional": 0.25}
    assert set(source(volumes, TINY, data=data).draw_kinds(rng)) == {
        "unconditional"
    }  # without pairs and conditions


def test_pairs_hold_a_scans_reconstructions_of_their_volume(tmp_path, volumes):
    pairs = make_pairs(volumes, 2, tmp_path, VOXELS)
    for pair in pairs:
        assert pair.tv.shape == pair.least_squares.shape == pair.clean.shape
        error, contrast = (pair.tv - pair.clean).std(), pair.clean.std()
        assert 0 < error < 0.8 * contrast
        # streaks and noise, but of this volume, which explains most of it
        assert np.corrcoef(pair.least_squares.ravel(), pair.clean.ravel())[0, 1] > 0.7
        assert all(2.0 <= v <= 3.2 for v in pair.voxel_size[1:])
    again = make_pairs([], 2, tmp_path, VOXELS)  # read, not made
    for made, read in zip(pairs, again, strict=True):
        assert all(np.array_equal(getattr(made, name), getattr(read, name)) for name in ARRAYS)
        assert (made.figures, made.geometry, made.grid) == (read.figures, read.geometry, read.grid)
    other = simulate_pair(volumes, VOXELS, np.random.default_rng(5))
    assert other.tv.shape != pairs[0].tv.shape or not np.array_equal(other.tv, pairs[0].tv)


def test_the_expected_error_grows_with_what_is_missing():
    usual = expected_error(FIGURES, (4.0, 2.0, 2.0))
    harder = (
        replace(FIGURES, sampling_ratio=0.04),
        replace(FIGURES, angular_range=0.5),
        replace(FIGURES, photon_noise=0.02),
    )
    assert all(expected_error(figures, (4.0, 2.0, 2.0)) > usual > 0 for figures in harder)
    absurd = ScanFigures(1e-4, 0.001, 10.0)
    assert expected_error(absurd, (4.0, 2.0, 2.0)) <= 0.5


def test_random_geometric_are_added_to_the_volumes_of_the_folder(tmp_path, monkeypatch):
    (tmp_path / "ct").mkdir()
    write_nifti(tmp_path / "ct" / "one.nii.gz", phantom("thorax", (8, 24, 24)))
    seen: list[TrainingVolume] = []

    def watched(folder, config, volumes, *args, **options):
        seen.extend(volumes)
        return Trainer(folder, config, volumes, *args, **options)

    monkeypatch.setattr("tomopatch.training.run.Trainer", watched)
    source = VolumeFolder(tmp_path / "ct", num_geometric=2)
    train(source, tmp_path / "run", replace(CONFIG, num_steps=1))
    assert [v.name for v in seen] == ["one", "geometric 1000", "geometric 1001"]
    assert (tmp_path / "run" / "prior.safetensors").exists()
    first, other = seen[1:]
    assert not np.array_equal(first.hu, other.hu)
    shown = phantom("geometric", first.hu.shape)  # the first that users see is not trained on
    assert not np.array_equal(first.hu, shown.hu.round().numpy())
    assert len(random_geometric(0)) == 0


def _two_rods() -> list[TrainingVolume]:
    """Importable: called in other processes."""
    hu = np.full((24, 40, 36), -1000, np.int16)
    hu[:, 12:28, 8:26] = 50
    return [TrainingVolume("rod", hu, (3.0, 2.0, 2.0))]


def test_workers_make_pairs_during_the_training(tmp_path):
    with PairWorkers(1, _two_rods, tmp_path / "pairs", VOXELS) as workers:
        made = _wait_for_pairs(workers)
    trainer = Trainer(tmp_path / "run", replace(CONFIG, num_steps=2), _two_rods(), more_pairs=lambda: made)
    trainer.run(log_every=1)
    assert trainer.source.num_pairs == len(trainer.chains) == len(made)


def _wait_for_pairs(workers: PairWorkers) -> list[Pair]:
    for _ in range(1200):
        if fresh := workers.fresh():
            return fresh
        time.sleep(0.1)
    raise AssertionError("no pair came")


def test_the_loss_of_the_gaussian_denoiser_is_one_on_gaussian_data(generator):
    """EDM's weighting makes the loss of the exact denoiser of N(mean, sigma_data^2) equal 1 at every
    sigma.
    """
    n = 64
    clean = TINY.mean + TINY.sigma_data * torch.randn(n, 1, 8, 8, 8, generator=generator)
    sigma = torch.logspace(-2, 1, n)
    inputs = torch.zeros(n, BLANK.num_inputs, 8, 8, 8)
    inputs[:, :1] = clean + sigma[:, None, None, None, None] * torch.randn(clean.shape, generator=generator)
    numbers = Numbers(sigma, torch.ones(n), torch.ones(n, 3), torch.zeros(n), torch.ones(n))
    sd = TINY.sigma_data
    batch = Batch(inputs, numbers, clean, (sigma**2 + sd**2) / (sigma * sd) ** 2)
    with torch.no_grad():
        loss = edm_loss(Precond(BLANK).eval(), batch)
    torch.testing.assert_close(loss, torch.ones(n), atol=0.3, rtol=0)  # 512 voxels: 6 % each, four sigma
    assert float(loss.mean()) == pytest.approx(1, abs=0.03)


def test_a_run_starts_from_a_prior_that_lacks_inputs(tmp_path, volumes, generator):
    """Until it has learned something about new neighbourhoods and images, it returns what that prior
    returns.
    """
    torch.manual_seed(1)
    narrow = Precond(TINY)
    with torch.no_grad():
        narrow.network.head_gain.fill_(1.0)  # a fresh network is total variation alone
    start = tmp_path / "narrow.safetensors"
    save_prior(start, narrow)
    network = replace(TINY, neighbourhoods=2, least_squares=True)
    config = replace(CONFIG, network=network, data=only("posterior"))
    clean = volumes[0].hu
    trainer = Trainer(tmp_path / "run", config, volumes, pairs=[pair_of(clean, clean + 50)], start=start)
    inputs = torch.rand(3, network.num_inputs, 8, 8, 8, generator=generator)
    known = [network.input_names.index(name) for name in TINY.input_names]
    numbers = Numbers(
        torch.tensor([0.1, 0.3, 1.0]), torch.ones(3), torch.full((3, 3), 2.0), torch.zeros(3), torch.ones(3)
    )
    with torch.no_grad():
        ours, theirs = trainer.model(inputs, numbers), narrow(inputs[:, known], numbers)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)
    trainer.run(log_every=12)
    with torch.no_grad():
        learned = trainer.model(inputs, numbers)
        inputs[:, network.channels_of("least_squares")] += 0.5
        assert not torch.allclose(trainer.model(inputs, numbers), learned, atol=1e-5)
    wider = replace(CONFIG, network=replace(TINY, channels=(8, 16)))
    with pytest.raises(ValueError, match=r"another network \("):
        Trainer(tmp_path / "wider", wider, volumes, start=start)
    save_prior(tmp_path / "wide.safetensors", trainer.model)
    with pytest.raises(ValueError, match=r"another network \("):  # no input is dropped silently
        Trainer(tmp_path / "less", CONFIG, volumes, start=tmp_path / "wide.safetensors")


def test_the_condition_starts_with_the_weights_of_the_noisy_volume(tmp_path, volumes):
    """An unconditional network learns a condition quickly: its channels show the same object."""
    start = tmp_path / "plain.safetensors"
    torch.manual_seed(1)
    save_prior(start, Precond(TINY))
    config = replace(CONFIG, network=replace(TINY, conditional=True))
    stem = Trainer(tmp_path / "run", config, volumes, start=start).model.network.stem.weight
    names = config.network.input_names
    patch, image = (slice(8 * i, 8 * i + 8) for i in (names.index("patch"), names.index("condition")))
    assert torch.equal(stem[:, patch], stem[:, image])
    assert float(stem[:, image].detach().abs().max()) > 0


def test_the_learning_rate_rises_is_constant_falls_and_cools_down():
    config = TrainConfig(num_steps=12_000, warmup=100, constant_steps=500, cooldown=4000)
    factors = [learning_rate_factor(s, config) for s in (0, 50, 99, 500, 2000, 8000, 10_000, 12_000)]
    assert factors[0] < factors[1] < factors[2] == factors[3] == 1
    assert factors[4:6] == pytest.approx([0.5, 0.25])
    assert factors[6] == pytest.approx(0.5 * (500 / 10_000) ** 0.5)
    assert factors[7] == 0


def test_validation_measures_the_remaining_error_of_the_restoration(volumes):
    """All of it remains for a denoiser that takes the error for part of the data. Little remains for total
    variation, if the error is stripes.
    """
    stripes = 60 * (-1) ** np.arange(36)
    pair = pair_of(volumes[0].hu, volumes[0].hu + stripes)
    remaining = {
        name: ValidationSet.of([], config, pairs=[pair], patches=8).scores(Precond(config)).restore
        for name, config in (("gaussian", BLANK), ("total variation", TINY))
    }
    assert remaining["gaussian"] == pytest.approx(1, abs=0.1)
    assert remaining["total variation"] < 0.6


def test_validation_of_a_zero_conditional_network_is_the_gaussian_model(volumes, generator):
    """At high sigma D is the condition, whose error remains; at low sigma it is nearer to x."""
    noise = 60 * torch.randn(volumes[0].hu.shape, generator=generator).numpy()
    network = replace(CONDITIONAL, smoothings=())
    pair = pair_of(volumes[0].hu, volumes[0].hu + noise)
    scores = ValidationSet.of([], network, pairs=[pair], patches=8).scores(Precond(network))
    assert scores.posterior[10.0] == pytest.approx(1, abs=0.05)
    assert scores.posterior[0.05] < 0.95
    assert scores.posterior[0.05] < scores.posterior[0.3] < scores.posterior[1.0]


def test_validation_reconstructs_scans_of_held_out_volumes():
    """A network of zeros changes little: it trusts its input, and data consistency keeps what is measured.

    Restored scans of a network that returns air lose.
    """
    scan = ValidationScan.of(phantom("thorax", (16, 48, 48)), (8, 24, 24))
    assert scan.reference.shape == (8, 24, 24)
    zero = Precond(BLANK)
    scores = ValidationSet.of([], BLANK, scans=[scan]).scores(zero)
    assert set(scores.gains) == {"restore", "unconditional"}
    ruined = Precond(BLANK)
    ruined.forward = lambda inputs, numbers: torch.zeros_like(inputs[:, :1])
    worse = ValidationSet.of([], BLANK, scans=[scan]).scores(ruined).gains["restore"]
    assert worse < scores.gains["restore"] - 0.5
    both = ValidationSet.of([], CONDITIONAL, scans=[scan]).scores(Precond(CONDITIONAL)).gains
    assert set(both) == {"restore", "posterior", "unconditional"}
    assert all(math.isfinite(gain) for gain in both.values())


def test_training_lowers_the_error(tmp_path, volumes):
    data = torch.from_numpy(volumes[0].hu.astype(np.float32))
    volume = Volume.from_hu(data, VolumeGeometry(tuple(data.shape), (3.0, 2.0, 2.0)))
    validation = ValidationSet.of([volume], BLANK, grid=(16, 24, 24), patches=4)
    config = TrainConfig(
        **{**CONFIG.__dict__, "network": BLANK, "num_steps": 80, "learning_rate": 5e-2, "ema": 0.9}
    )
    trainer = Trainer(tmp_path / "run", config, volumes, validation)
    before = trainer.validate().unconditional
    trainer.run(validate_every=80)
    after = trainer.validate().unconditional
    assert all(after[s] < 0.8 * before[s] for s in (0.3, 1.0, 3.0))
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert log[-1]["step"] == 80
    assert load_prior(tmp_path / "run" / "prior.safetensors").info["steps"] == 80
    assert validation.picture(trainer.average).shape == (8, 72)


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path, volumes):
    whole = Trainer(tmp_path / "whole", CONFIG, volumes)
    whole.run()

    def stop(step):
        if step.step == 5:
            raise StopIteration

    first = Trainer(tmp_path / "parts", CONFIG, volumes)
    first.run(log_every=5, callback=stop)
    second = Trainer(tmp_path / "parts", CONFIG, volumes)
    assert second.step == 5
    second.run()
    for a, b in zip(whole.average.parameters(), second.average.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.slow
def test_compiled_training_is_the_same_training(tmp_path, volumes):
    """Fused operations round otherwise, no more. Needs a C++ compiler, and a minute to compile."""
    plain = Trainer(tmp_path / "plain", CONFIG, volumes)
    compiled = Trainer(tmp_path / "compiled", replace(CONFIG, compile=True), volumes)
    for trainer in (plain, compiled):
        trainer.run(log_every=3)
    losses = [
        [json.loads(line)["loss"] for line in (tmp_path / name / "log.jsonl").read_text().splitlines()]
        for name in ("plain", "compiled")
    ]
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)


def test_training_without_volumes_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no training volumes"):
        Trainer(tmp_path, CONFIG, [])


def _train_one_of_two(rank: int, folder: str, port: int, volumes: list[TrainingVolume]) -> None:
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    Trainer(folder, CONFIG, volumes).run(log_every=3)
    pair = simulate_pair(volumes, VOXELS, np.random.default_rng(0))
    Trainer(f"{folder}-paired", CONFIG, volumes, pairs=[pair]).run(log_every=12)
    dist.destroy_process_group()


def test_two_processes_train_as_one_does(tmp_path, volumes):
    """Each takes half of every batch: losses and weights are those of one process with the whole batch."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # where it can be, both are forked from one process that has imported the engine
    method = "forkserver" if "forkserver" in mp.get_all_start_methods() else "spawn"
    mp.set_forkserver_preload(["tomopatch.training.run"])
    mp.start_processes(_train_one_of_two, (str(tmp_path / "two"), port, volumes), 2, start_method=method)
    one = Trainer(tmp_path / "one", CONFIG, volumes)
    one.run(log_every=3)
    losses = [
        [json.loads(line)["loss"] for line in (tmp_path / name / "log.jsonl").read_text().splitlines()]
        for name in ("one", "two")
    ]
    assert len(losses[0]) == 4
    # the sums of floats are taken in another order
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
    (paired,) = map(json.loads, (tmp_path / "two-paired" / "log.jsonl").read_text().splitlines())
    assert min(paired["loss"], paired["chain_loss"]) > 0  # steps of both kinds
    two = load_prior(tmp_path / "two" / "prior.safetensors").model
    for a, b in zip(one.average.parameters(), two.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-3, rtol=1e-2)
