"""Damaged files, a full disk, and two processes that store the same: a sentence, or the same result."""

import errno

import pytest
import torch

from tomopatch.io.writing import errors_of_numpy
from tomopatch.library import load_volume
from tomopatch.store import phantom_cache
from tomopatch.store.folders import read_json, rename
from tomopatch.store.phantom_cache import cached_phantom
from tomopatch.store.store import RunStore

SHAPE = (4, 8, 8)


@pytest.fixture
def drawn(monkeypatch):
    """The phantoms that were drawn."""
    names = []

    def draw(spec, shape):
        names.append(spec)
        return load_volume(spec, shape=shape)

    monkeypatch.setattr(phantom_cache, "load_volume", draw)
    return names


@pytest.mark.parametrize("name", ["info.json", "data.npy"])
@pytest.mark.parametrize("damage", ["missing", "empty", "half", "other"])
def test_a_damaged_volume_is_reported_in_a_sentence(tmp_path, name, damage):
    store = RunStore(tmp_path)
    digest = store.add_volume(load_volume("phantom:spheres", shape=SHAPE))
    assert store.volume(digest).shape == SHAPE
    file = tmp_path / "volumes" / digest / name
    whole = file.read_bytes()
    file.unlink()
    if damage != "missing":
        file.write_bytes({"empty": b"", "half": whole[: len(whole) // 2], "other": b"[1]"}[damage])
    with pytest.raises(ValueError, match=f"the volume {digest} is damaged; upload it again"):
        store.volume(digest)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"text"])
def test_a_damaged_cached_phantom_is_drawn_and_stored_again(tmp_path, drawn, content):
    first = cached_phantom(tmp_path / "cache", "phantom:spheres", SHAPE)
    (file,) = (tmp_path / "cache").glob("*.npz")
    file.write_bytes(content)
    for _ in range(2):
        assert torch.equal(cached_phantom(tmp_path / "cache", "phantom:spheres", SHAPE).data, first.data)
    assert len(drawn) == 2


def test_a_full_disk_does_not_prevent_a_phantom_and_draws_it_once(tmp_path, drawn, monkeypatch):
    def full(path, arrays):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(phantom_cache, "write_arrays", full)
    assert cached_phantom(tmp_path / "cache", "phantom:spheres", SHAPE).shape == SHAPE
    assert len(drawn) == 1


def test_a_cache_that_cannot_be_made_does_not_prevent_a_phantom(tmp_path, drawn):
    (tmp_path / "file").touch()
    assert cached_phantom(tmp_path / "file" / "cache", "phantom:spheres", SHAPE).shape == SHAPE
    assert len(drawn) == 1


def test_a_large_phantom_is_not_cached(tmp_path, monkeypatch):
    monkeypatch.setattr(phantom_cache, "MAX_BYTES", 1000)
    cached_phantom(tmp_path / "cache", "phantom:spheres", SHAPE)
    assert not (tmp_path / "cache").exists()


def test_the_second_of_two_processes_that_store_the_same_keeps_the_first(tmp_path):
    for name in ("ours", "theirs"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "data").write_text(name)
    rename(tmp_path / "ours", tmp_path / "theirs")
    assert (tmp_path / "theirs" / "data").read_text() == "theirs"
    with pytest.raises(FileNotFoundError):  # any other reason is an error
        rename(tmp_path / "nothing", tmp_path / "new")


def test_an_incomplete_write_of_numpy_is_a_full_disk_and_other_errors_stay():
    with pytest.raises(OSError, match="No space") as caught, errors_of_numpy():
        raise OSError("4096 requested and 12 written")
    assert caught.value.errno == errno.ENOSPC
    with pytest.raises(PermissionError), errors_of_numpy():
        raise PermissionError(errno.EACCES, "denied")


@pytest.mark.parametrize("text", ["", "{", "[1]", "\x00"])
def test_a_damaged_json_file_counts_as_unreadable(tmp_path, text):
    (tmp_path / "state.json").write_text(text)
    assert read_json(tmp_path / "state.json") is None
    assert read_json(tmp_path / "no.json") is None
