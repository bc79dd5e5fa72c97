import threading

import torch

from tomopatch.library import load_volume
from tomopatch.store import phantom_cache
from tomopatch.store.phantom_cache import cached_phantom

SHAPE = (6, 12, 12)


def test_a_cached_phantom_equals_a_fresh_one(tmp_path):
    fresh = load_volume("phantom:thorax:3", shape=SHAPE)
    for _ in range(2):
        volume = cached_phantom(tmp_path / "d", "phantom:thorax:3", SHAPE)
        assert torch.equal(volume.data, fresh.data)
        assert volume.geometry == fresh.geometry
        assert volume.name == fresh.name


def test_simultaneous_requests_draw_a_phantom_once(tmp_path, monkeypatch):
    times = []

    def slow(spec, shape):
        times.append(spec)
        threading.Event().wait(0.2)
        return load_volume(spec, shape=shape)

    monkeypatch.setattr(phantom_cache, "load_volume", slow)
    askers = [
        threading.Thread(target=cached_phantom, args=(tmp_path / "d", "phantom:spheres", SHAPE))
        for _ in range(4)
    ]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join(60)
    assert len(times) == 1


def test_seeds_and_grids_are_cached_separately(tmp_path):
    folder = tmp_path / "d"
    a = cached_phantom(folder, "phantom:thorax:1", SHAPE)
    assert not torch.equal(a.data, cached_phantom(folder, "phantom:thorax:2", SHAPE).data)
    assert cached_phantom(folder, "phantom:thorax:1", (6, 12, 16)).shape == (6, 12, 16)


def test_the_cache_stays_within_its_size_and_keeps_recent_phantoms(tmp_path, monkeypatch):
    folder = tmp_path / "d"
    cached_phantom(folder, "phantom:thorax:0", SHAPE)
    size = next(folder.glob("*.npz")).stat().st_size
    monkeypatch.setattr(phantom_cache, "MAX_BYTES", 5 * size)
    for seed in range(9):
        cached_phantom(folder, f"phantom:thorax:{seed}", SHAPE)
        cached_phantom(folder, "phantom:thorax:0", SHAPE)
    assert sum(p.stat().st_size for p in folder.glob("*.npz")) <= 5 * size
    monkeypatch.setattr(phantom_cache, "load_volume", None)  # would fail if it were drawn again
    cached_phantom(folder, "phantom:thorax:0", SHAPE)
