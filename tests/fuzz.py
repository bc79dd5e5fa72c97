"""Broken input for every reader: valid files, corrupted or altered at random.

Each ends in a result or in a ValueError, and takes little memory, whatever sizes the file declares.

    python -m tests.fuzz [--cases 20000] [--seed 0] [--only NAME]

Prints how many of each ended how, and the memory. The suite runs a few hundred (`tests/test_fuzz.py`).
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import resource
import tempfile
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from tests import odd_files
from tests.conftest import TINY
from tomopatch.io.dicom import read_dicom
from tomopatch.io.dicom_writer import write_dicom
from tomopatch.io.nifti import read_nifti, write_nifti
from tomopatch.prior.files import load_prior, save_prior
from tomopatch.prior.precond import Precond
from tomopatch.runs.config import RunConfig, ScanConfig
from tomopatch.runs.measurements import read_measurement, write_measurement
from tomopatch.runs.prepare import prepare
from tomopatch.runs.prior import GenerateConfig, read_config
from tomopatch.studies.experiment import Experiment
from tomopatch.studies.sweep import SweepConfig
from tomopatch.volume import Volume, VolumeGeometry

SCAN = ScanConfig("phantom:shepp-logan", (4, 16, 16), num_views=3, photons=1e4, same_grid=True)
MEMORY = 2**30
"""Bytes that reading may allocate. The valid files and their volumes have kilobytes."""


@dataclass(frozen=True)
class Reader:
    """A reader, and a valid file for it."""

    valid: bytes
    suffix: str
    read: Callable[[Path], object]
    alter: Callable[[bytes, np.random.Generator], bytes]
    """Changes one value of a valid file to an odd one that its format allows; see `tests.odd_files`."""


def readers(folder: Path) -> dict[str, Reader]:
    """All readers, each with a small valid file."""
    volume = Volume.from_hu(
        torch.randint(-1000, 1000, (5, 12, 14)).float(), VolumeGeometry((5, 12, 14), (2.0, 1.0, 1.5))
    )
    write_dicom(folder / "series", volume)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted((folder / "series").iterdir()):
            file.write(path, path.name)
    one, two = (path.read_bytes() for path in sorted((folder / "series").iterdir())[:2])
    for name in ("v.nii", "v.nii.gz"):
        write_nifti(folder / name, volume)
    write_measurement(folder / "m.npz", SCAN, prepare(SCAN))
    save_prior(folder / "p.safetensors", Precond(TINY))
    run = RunConfig(SCAN, "tv")
    experiment = Experiment(SCAN, (run,), {"num_views": "3, 4"})

    def parsed(make: Callable[[dict], object]) -> Callable[[Path], object]:
        def read(path: Path) -> object:
            try:
                stored = json.loads(path.read_bytes())
            except RecursionError:
                raise ValueError("too deep") from None
            except ValueError as error:
                raise ValueError(f"no JSON: {error}") from None
            if not isinstance(stored, dict):
                raise ValueError("no object")
            return make(stored)

        return read

    def text(value: object) -> bytes:
        return json.dumps(value).encode()

    lesion = replace(SCAN, lesions=(((0, 0, 0), 5, 40),), pixel_size=(1.0, 1.0), det_shape=(4, 20))
    return {
        "dicom zip": Reader(archive.getvalue(), ".zip", read_dicom, odd_files.alter_zip),
        "dicom slice": Reader(
            one,
            ".dcm",
            lambda path: read_dicom([("one.dcm", path.read_bytes()), ("two.dcm", two)]),
            odd_files.alter_dicom,
        ),
        "nifti": Reader((folder / "v.nii").read_bytes(), ".nii", read_nifti, odd_files.alter_nifti),
        "nifti gz": Reader((folder / "v.nii.gz").read_bytes(), ".nii.gz", read_nifti, odd_files.alter_packed),
        "measurement": Reader((folder / "m.npz").read_bytes(), ".npz", read_measurement, odd_files.alter_npz),
        "weights": Reader(
            (folder / "p.safetensors").read_bytes(), ".safetensors", load_prior, odd_files.alter_weights
        ),
        "scan": Reader(text(lesion.to_json()), ".json", parsed(_used), odd_files.alter_json),
        "run": Reader(text(run.to_json()), ".json", parsed(read_config), odd_files.alter_json),
        "prior run": Reader(
            text(GenerateConfig().to_json()), ".json", parsed(read_config), odd_files.alter_json
        ),
        "sweep": Reader(
            text(SweepConfig(SCAN, ("fbp",), num_views=(3, 4), effects={"tube.kvp": (60, 80)}).to_json()),
            ".json",
            parsed(SweepConfig.from_json),
            odd_files.alter_json,
        ),
        "experiment": Reader(
            experiment.to_bytes(),
            ".json",
            lambda path: Experiment.from_bytes(path.read_bytes()),
            odd_files.alter_json,
        ),
    }


def _used(stored: dict) -> object:
    """A scan, and the geometry that it makes: absurd ones must be refused by one of the two."""
    return ScanConfig.from_json(stored).geometry(VolumeGeometry((4, 16, 16), (2.0, 1.0, 1.0)))


_WORDS = (
    b"-1",
    b"0",
    b"1e308",
    b"NaN",
    b"Infinity",
    b"null",
    b"[]",
    b"{}",
    b'"x"',
    b"true",
    b"99999999999",
    b"1e-320",
)


def broken(reader: Reader, turn: int, rng: np.random.Generator) -> bytes:
    """Return a corrupted file, an altered one, or one that is both, in turn."""
    if turn % 2 == 0:
        return corrupt(reader.valid, rng)
    altered = reader.alter(reader.valid, rng)
    return corrupt(altered, rng) if turn % 8 == 7 else altered


def corrupt(data: bytes, rng: np.random.Generator) -> bytes:
    """One to four changes: bytes flipped, cut, doubled, moved, replaced; in text also whole values."""
    out = bytearray(data)
    for _ in range(int(rng.integers(1, 5))):
        if not out:
            break
        at, length = int(rng.integers(len(out))), int(rng.integers(1, 1 + min(len(out), 64)))
        kind = int(rng.integers(7))
        if kind == 0:
            out[at] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            del out[at : at + length]
        elif kind == 2:
            out[at:at] = out[at : at + length] * int(rng.integers(1, 4))
        elif kind == 3:
            out[at : at + length] = rng.bytes(length)
        elif kind == 4:
            out[at : at + length] = bytes([(0, 255)[int(rng.integers(2))]]) * length
        elif kind == 5:
            del out[at:]
        else:
            _replace_value(out, at, rng)
    return bytes(out)


def _replace_value(out: bytearray, at: int, rng: np.random.Generator) -> None:
    """In JSON: the value behind the next colon or comma becomes another."""
    start = next((i for i in range(at, len(out)) if out[i] in b":,["), None)
    if start is not None:
        stop = next((i for i in range(start + 1, len(out)) if out[i] in b",]}"), len(out))
        out[start + 1 : stop] = _WORDS[int(rng.integers(len(_WORDS)))]


@contextlib.contextmanager
def limited_memory() -> Iterator[None]:
    """Let this process allocate MEMORY more than it has; beyond it a MemoryError is raised. Linux only."""
    if not os.path.exists("/proc/self/statm"):
        yield
        return
    limits = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


def run(cases: int, seed: int = 0, only: str | None = None) -> dict[str, Counter[str]]:
    """Corrupt and read this number of files; return the outcomes by reader.

    Any outcome other than a result or a ValueError is raised, running out of MEMORY too.
    """
    ended: dict[str, Counter[str]] = {}
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings(), limited_memory():
        warnings.simplefilter("ignore")
        folder = Path(name)
        known = {k: r for k, r in readers(folder).items() if only in (None, k)}
        for i in range(cases):
            kind = list(known)[i % len(known)]
            reader, rng = known[kind], np.random.default_rng([seed, i])
            path = folder / f"case{reader.suffix}"
            path.write_bytes(broken(reader, i // len(known), rng))
            word = "read"
            try:
                with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                    reader.read(path)
            except ValueError as error:
                word = "refused"
                if not str(error):
                    raise AssertionError(f"{kind}, case {i}: refused without a word") from error
            except BaseException as error:
                raise AssertionError(
                    f"{kind}, case {i} of seed {seed}: {type(error).__name__}: {error}"
                ) from error
            ended.setdefault(kind, Counter())[word] += 1
    return ended


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only")
    arguments = parser.parse_args()
    for kind, counts in run(arguments.cases, arguments.seed, arguments.only).items():
        print(f"{kind:<14}", dict(counts))
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:.0f} MB")


if __name__ == "__main__":
    main()
