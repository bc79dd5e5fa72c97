"""Training the prior: its data, its loss, its run in a folder."""

import json
import os
import socket
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from core import load_prior
from core.prior.data import Batch, DataConfig, Draft, PatchSource, Scan
from core.prior.denoiser import PatchPrior, Precond
from core.prior.files import save_prior
from core.prior.training import TrainConfig, Trainer, edm_loss, rate_factor
from core.prior.validation import ValidationSet
from core.runs.draft_workers import DraftWorkers
from core.runs.drafts import draw_draft, make_drafts
from core.runs.train import solid_scans, train
from core.scan.nifti import write_nifti
from core.scan.phantom import phantom
from core.volume import Volume, VolumeGeometry
from tests.conftest import TINY

BLANK = replace(TINY, smoothings=())  # begins as nothing rather than as total variation

pytestmark = pytest.mark.usefixtures("one_thread")


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
    make = lambda seed: PatchSource(scans, CONFIG.data, network=TINY, volumes=2, crops=3, seed=seed)  # noqa: E731
    one, two = make(1), make(1)
    for step in range(9):
        expected = one.batch(step)
    again = two.batch(8)  # not having seen the steps before
    assert torch.equal(expected.inputs, again.inputs)
    assert torch.equal(expected.clean, again.clean)
    assert not torch.equal(again.clean, make(2).batch(8).clean)


def test_patches_carry_the_noise_they_say(scans):
    source = PatchSource(scans, CONFIG.data, network=TINY, volumes=4, crops=16)
    batch = source.batch(0)
    for sigma in batch.sigma.unique():
        rows = batch.sigma == sigma
        noise = batch.inputs[rows, :1] - batch.clean[rows]
        # 16 patches of 512 voxels, some sharing voxels: a few percent
        assert float(noise.std()) == pytest.approx(float(sigma), rel=0.08)


def test_patches_are_rarely_of_air_alone():
    """Of the places that are drawn the half with most in it is taken."""
    hu = np.full((24, 64, 64), -1000, np.int16)
    hu[:, 20:36, 20:36] = 50
    source = PatchSource([Scan("rod", hu, (3.0, 2.0, 2.0))], CONFIG.data, network=TINY, volumes=4, crops=4)
    clean = torch.cat([source.batch(step).clean for step in range(60)])
    air = float((clean.flatten(1).std(1) < 1e-3).float().mean())

    def places(n: int) -> float:
        """Share of random places of a patch along one axis that miss the body."""
        size = TINY.patch_size
        starts = np.arange(0, n, 2) % n
        return float(
            np.mean([not np.isin((s + np.arange(size)) % n, np.arange(20, 36)).any() for s in starts])
        )

    alone = 1 - (1 - places(64)) ** 2
    # the better half of all places: twice as often with something in it; without the choice 0.97, for some grids are coarser
    assert 0 < air < 0.9 * alone


def test_volumes_amid_air_fill_whole_tiles_and_are_not_mirrored():
    hu = np.full((24, 40, 40), 50, np.int16)  # of 2 mm: 40 to 27 voxels of 2 to 3 mm
    config = replace(CONFIG.data, air=1.0)
    source = PatchSource([Scan("block", hu, (3.0, 2.0, 2.0))], config, network=TINY, volumes=4, crops=2)
    for slot in range(config.pool):
        volume, voxel_size = source._resampled(slot, 0)
        p = TINY.patch_size
        assert volume.shape[1] % p == volume.shape[2] % p == 0
        inside = (volume[0] > 1).nonzero()
        assert (
            len(inside) == min(volume.shape[1], round(80 / voxel_size[1])) ** 2
        )  # all of it, or as much as there is room for
        middle = inside.double().mean(0) + 0.5
        assert (middle - torch.tensor(volume.shape[1:]) / 2).abs().max() <= 0.5
        assert float(volume.min()) in (0.0, volume.max())  # air, where it does not fill the tiles


def test_patches_of_drafts_carry_the_errors_of_the_draft(scans, generator):
    """At patches' own scale: what was added is a share of the draft's error, and white noise of at most that size."""
    clean = scans[0].hu
    _, y, x = np.meshgrid(*(np.arange(n) for n in clean.shape), indexing="ij")
    streaks = (200 * np.sin(0.9 * x + 0.4 * y)).astype(np.int16)
    draft = Draft((clean + streaks).astype(np.int16)[None], clean, clean, (3.0, 2.0, 2.0))
    config = replace(CONFIG.data, draft_share=1.0)
    source = PatchSource(scans, config, drafts=[draft], network=TINY, volumes=4, crops=4)
    again = PatchSource(scans, config, drafts=[draft], network=TINY, volumes=4, crops=4)
    for step in range(6):
        batch = source.batch(step)
        assert torch.equal(batch.inputs, again.batch(step).inputs)
        patches = zip(batch.inputs[:, 0], batch.clean[:, 0], batch.sigma, batch.level, strict=True)
        for patch, true, sigma, level in patches:
            added = patch - true
            ratio = float(added.std()) / float(sigma)
            # the level that is told is a guess, 0.5 to 3.7 times the true one; a patch holds a bit more or less than the whole
            assert 0.15 < ratio < 3
            assert float(added.std()) == pytest.approx(float(level), rel=0.35)
            waves = torch.fft.rfftn(added).abs()
            assert float(waves.amax() / waves.median()) > 4  # white noise of 512 voxels has about 3


def test_patches_of_drafts_come_with_their_guide(scans):
    """Here the guide is the clean volume, mirrored with it and cut at the same places; patches of white noise have none."""
    clean = scans[0].hu
    draft = Draft((clean + 50).astype(np.int16)[None], clean, clean, (3.0, 2.0, 2.0))
    network = replace(TINY, guided=True)
    for share in (1.0, 0.0):
        config = replace(CONFIG.data, draft_share=share, drop=0.0)
        source = PatchSource(scans, config, drafts=[draft], network=network, volumes=4, crops=4)
        for step in range(3):
            batch = source.batch(step)
            guide = batch.inputs[:, network.channel["guide"]]
            assert torch.equal(guide, batch.clean if share else torch.full_like(guide, network.mean))


def test_drafts_are_reconstructions_of_what_they_are_said_to_be_of(tmp_path, scans):
    config = DataConfig(voxel_xy=(2.0, 3.0), voxel_z=(3.0, 4.0))
    drafts = make_drafts(scans, 2, tmp_path, config)
    for draft in drafts:
        assert draft.hu.shape == (1, *draft.clean_hu.shape)
        error, contrast = (draft.hu[0] - draft.clean_hu).std(), draft.clean_hu.std()
        assert 0 < error < 0.7 * contrast
        # streaks and noise, but of this volume: it explains most of it
        assert np.corrcoef(draft.guide_hu.ravel(), draft.clean_hu.ravel())[0, 1] > 0.8
        assert all(3.0 <= draft.voxel_size[0] <= 4.1 and 2.0 <= v <= 3.1 for v in draft.voxel_size[1:])
    again = make_drafts([], 2, tmp_path, config)  # read, not made
    assert all(np.array_equal(a.hu, b.hu) for a, b in zip(drafts, again, strict=True))
    other = draw_draft(scans, config, np.random.default_rng(5))
    assert other.hu.shape != drafts[0].hu.shape or not np.array_equal(other.hu, drafts[0].hu)


def test_a_prior_adds_its_own_passes_to_the_drafts(scans):
    """With a prior, a draft holds the sampler's start and two later iterates: each another, all of the same volume."""
    config = DataConfig(voxel_xy=(2.0, 3.0), voxel_z=(3.0, 4.0))
    torch.manual_seed(0)
    draft = draw_draft(scans, config, np.random.default_rng(1), PatchPrior(Precond(TINY)))
    assert draft.hu.shape == (3, *draft.clean_hu.shape)
    errors = [(hu - draft.clean_hu.astype(float)).std() for hu in draft.hu]
    assert len(set(errors)) == 3
    assert max(errors) < 0.7 * draft.clean_hu.std()


def test_solids_are_trained_on_beside_the_volumes_of_the_folder(tmp_path, monkeypatch):
    (tmp_path / "ct").mkdir()
    write_nifti(tmp_path / "ct" / "one.nii.gz", phantom("thorax", (8, 24, 24)))
    seen: list[Scan] = []

    def watched(folder, config, scans, *args, **options):
        seen.extend(scans)
        return Trainer(folder, config, scans, *args, **options)

    monkeypatch.setattr("core.runs.train.Trainer", watched)
    train(tmp_path / "ct", tmp_path / "run", replace(CONFIG, num_steps=1), num_solids=2)
    assert [s.name for s in seen] == ["one", "solids 1000", "solids 1001"]
    assert (tmp_path / "run" / "prior.safetensors").exists()
    first, other = seen[1:]
    assert not np.array_equal(first.hu, other.hu)
    shown = phantom("solids", first.hu.shape)  # what users see first is not what the prior has seen
    assert not np.array_equal(first.hu, shown.hu.round().numpy())
    assert len(solid_scans(0)) == 0


def _two_rods() -> list[Scan]:
    """Importable: called in other processes."""
    hu = np.full((24, 40, 36), -1000, np.int16)
    hu[:, 12:28, 8:26] = 50
    return [Scan("rod", hu, (3.0, 2.0, 2.0))]


def test_workers_make_drafts_with_the_newest_weights_while_training_goes_on(tmp_path):
    config = DataConfig(voxel_xy=(2.0, 3.0), voxel_z=(3.0, 4.0))
    own = tmp_path / "prior.safetensors"
    with DraftWorkers(1, _two_rods, tmp_path / "drafts", config, priors=[own]) as workers:
        first = _wait_for_drafts(workers)
        assert len(first[0].hu) == 1  # nothing but a quick reconstruction: there were no weights yet
        torch.manual_seed(0)
        save_prior(own, Precond(TINY))
        later = []
        while not any(len(draft.hu) == 3 for draft in later):
            later = _wait_for_drafts(workers)
    trainer = Trainer(tmp_path / "run", replace(CONFIG, num_steps=2), _two_rods(), more_drafts=lambda: first)
    trainer.run(log_every=1)
    assert len(trainer.source._drafts) == 2 * len(first)  # asked twice


def _wait_for_drafts(workers: DraftWorkers) -> list[Draft]:
    for _ in range(1200):
        if fresh := workers.fresh():
            return fresh
        time.sleep(0.1)
    raise AssertionError("no draft came")


def test_the_loss_of_the_gaussian_denoiser_is_one_on_gaussian_data(generator):
    """EDM's weighting makes the loss of the exact denoiser of N(mean, sigma_data^2) equal 1 at every sigma."""
    n = 64
    clean = TINY.mean + TINY.sigma_data * torch.randn(n, 1, 8, 8, 8, generator=generator)
    sigma = torch.logspace(-2, 1, n)
    inputs = torch.zeros(n, 6, 8, 8, 8)
    inputs[:, :1] = clean + sigma[:, None, None, None, None] * torch.randn(clean.shape, generator=generator)
    batch = Batch(inputs, sigma, torch.ones(n), torch.ones(n, 3), clean, sigma)
    with torch.no_grad():
        loss = edm_loss(Precond(BLANK).eval(), batch)
    torch.testing.assert_close(loss, torch.ones(n), atol=0.3, rtol=0)  # 512 voxels: 6 % each, four sigma
    assert float(loss.mean()) == pytest.approx(1, abs=0.03)


def test_a_run_starts_from_a_prior_that_lacks_its_guide_and_surroundings(tmp_path, scans, generator):
    """Until it has learned something of these it makes of every patch what that prior does."""
    torch.manual_seed(1)
    narrow = Precond(TINY)
    with torch.no_grad():
        narrow.network.head_gain.fill_(1.0)  # a fresh network is total variation alone
    save_prior(tmp_path / "narrow.safetensors", narrow)
    network = replace(TINY, surrounds=2, guided=True)
    config = replace(CONFIG, network=network)
    draft = Draft((scans[0].hu + 50).astype(np.int16)[None], scans[0].hu, scans[0].hu, (3.0, 2.0, 2.0))
    start = tmp_path / "narrow.safetensors"
    trainer = Trainer(tmp_path / "run", config, scans, drafts=[draft], start=start)
    inputs = torch.rand(3, network.num_inputs, 8, 8, 8, generator=generator)
    seen = [0, 1, *range(4, 8)]  # patch, surroundings at 1/2, whole volume and place
    rest = (torch.tensor([0.1, 0.3, 1.0]), torch.ones(3), torch.full((3, 3), 2.0))
    with torch.no_grad():
        ours, theirs = trainer.model(inputs, *rest), narrow(inputs[:, seen], *rest)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)
    trainer.run(log_every=12)
    with torch.no_grad():
        learned = trainer.model(inputs, *rest)
        inputs[:, network.channel["guide"]] += 0.5
        assert not torch.allclose(trainer.model(inputs, *rest), learned, atol=1e-5)
    wider = replace(TINY, channels=(8, 16))
    with pytest.raises(ValueError, match=r"another network \("):
        Trainer(
            tmp_path / "wider", replace(CONFIG, network=wider), scans, start=tmp_path / "narrow.safetensors"
        )
    save_prior(tmp_path / "wide.safetensors", trainer.model)
    with pytest.raises(ValueError, match=r"another network \("):  # nothing is dropped in silence
        Trainer(tmp_path / "less", CONFIG, scans, start=tmp_path / "wide.safetensors")


def test_a_student_comes_to_its_teacher(tmp_path, scans):
    """Learning what the teacher makes of the patches, it gets nearer to that; and it must be shown the same."""
    torch.manual_seed(1)
    teacher = Precond(BLANK)
    with torch.no_grad():
        teacher.network.direct_gain.bias.fill_(-0.5)
    save_prior(tmp_path / "teacher.safetensors", teacher)
    config = replace(CONFIG, network=BLANK, num_steps=60, rate=5e-2, ema=0.9)
    trainer = Trainer(tmp_path / "run", config, scans, teacher=tmp_path / "teacher.safetensors")
    batch = trainer.source.batch(1000)
    with torch.no_grad():
        before = edm_loss(trainer.model, batch, teacher).mean()
        assert not torch.equal(before, edm_loss(trainer.model, batch).mean())
    trainer.run(log_every=60)
    with torch.no_grad():
        assert edm_loss(trainer.average, batch, teacher).mean() < 0.3 * before
        assert edm_loss(teacher, batch, teacher).mean() == 0
    guided = replace(CONFIG, network=replace(BLANK, guided=True))
    with pytest.raises(ValueError, match="cannot teach it"):
        Trainer(tmp_path / "other", guided, scans, teacher=tmp_path / "teacher.safetensors")


def test_rate_rises_then_falls_to_its_floor():
    config = TrainConfig(num_steps=1000, warmup=100, rate_floor=0.1)
    factors = [rate_factor(s, config) for s in (0, 50, 99, 500, 1000)]
    assert factors[0] < factors[1] < factors[2]
    assert factors[2] > factors[3] > factors[4]
    assert factors[4] == pytest.approx(0.1)


def test_validation_tells_what_is_left_of_a_drafts_error(scans):
    """All of it by a denoiser that takes the noise for part of the data; little by total variation, if it is stripes."""
    stripes = 60 * (-1) ** np.arange(36)
    draft = Draft((scans[0].hu + stripes).astype(np.int16)[None], scans[0].hu, scans[0].hu, (3.0, 2.0, 2.0))
    left = {
        name: ValidationSet.of([], config, drafts=[draft], patches=4).left_of_drafts(Precond(config))
        for name, config in (("gaussian", BLANK), ("total variation", TINY))
    }
    assert left["gaussian"] == pytest.approx(1, abs=0.05)
    assert left["total variation"] < 0.6


def test_training_lowers_the_error(tmp_path, scans):
    data = torch.from_numpy(scans[0].hu.astype(np.float32))
    volume = Volume.from_hu(data, VolumeGeometry(tuple(data.shape), (3.0, 2.0, 2.0)))
    validation = ValidationSet.of([volume], BLANK, grid=(16, 24, 24), patches=4)
    config = TrainConfig(**{**CONFIG.__dict__, "network": BLANK, "num_steps": 80, "rate": 5e-2, "ema": 0.9})
    trainer = Trainer(tmp_path / "run", config, scans, validation)
    before, _ = trainer.validate()
    trainer.run(validate_every=80)
    after, _ = trainer.validate()
    assert all(after[s] < 0.8 * before[s] for s in (0.3, 1.0, 3.0))
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert log[-1]["step"] == 80
    assert load_prior(tmp_path / "run" / "prior.safetensors").info["steps"] == 80
    assert validation.picture(trainer.average).shape == (8, 72)


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
    for a, b in zip(whole.average.parameters(), second.average.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.slow
def test_compiled_training_is_the_same_training(tmp_path, scans):
    """Fused operations round otherwise, no more. Needs a C++ compiler, and a minute to compile."""
    plain = Trainer(tmp_path / "plain", CONFIG, scans)
    compiled = Trainer(tmp_path / "compiled", replace(CONFIG, compile=True), scans)
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


def _train_one_of_two(rank: int, folder: str, port: int, scans: list[Scan]) -> None:
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    Trainer(folder, CONFIG, scans).run(log_every=3)
    dist.destroy_process_group()


def test_two_processes_train_as_one_does(tmp_path, scans):
    """Each takes half of every batch: losses and weights are those of one process with the whole batch."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(_train_one_of_two, (str(tmp_path / "two"), port, scans), nprocs=2)
    one = Trainer(tmp_path / "one", CONFIG, scans)
    one.run(log_every=3)
    losses = [
        [json.loads(line)["loss"] for line in (tmp_path / name / "log.jsonl").read_text().splitlines()]
        for name in ("one", "two")
    ]
    assert len(losses[0]) == 4
    # the sums of floats are taken in another order
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
    two = load_prior(tmp_path / "two" / "prior.safetensors").model
    for a, b in zip(one.average.parameters(), two.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-3, rtol=1e-2)
