"""Corrupted files end in a result or in a sentence; `python -m tests.fuzz` tries many more."""

import contextlib
import io
import json
import os
import struct
import zipfile

import pydicom
import pytest

from tests import fuzz


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    return fuzz.readers(tmp_path_factory.mktemp("valid"))


def test_each_reader_reads_its_valid_file(known, tmp_path):
    for reader in known.values():
        path = tmp_path / f"valid{reader.suffix}"
        path.write_bytes(reader.valid)
        assert reader.read(path) is not None


def test_corrupted_files_end_in_a_result_or_a_sentence():
    ended = fuzz.run(660, seed=7)
    assert sum(sum(counts.values()) for counts in ended.values()) == 660
    for kind, counts in ended.items():
        assert counts["refused"] > 0, kind


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="the limit of memory needs Linux")
def test_a_reader_that_allocates_what_a_file_declares_is_noticed():
    with fuzz.limited_memory(), pytest.raises(MemoryError):
        fuzz.np.empty(2 * fuzz.MEMORY, fuzz.np.uint8)


@pytest.mark.slow
def test_many_corrupted_files_end_in_a_result_or_a_sentence():
    """TOMOPATCH_FUZZ_CASES and TOMOPATCH_FUZZ_SEED try more, or others."""
    cases = int(os.environ.get("TOMOPATCH_FUZZ_CASES", "20000"))
    ended = fuzz.run(cases, seed=int(os.environ.get("TOMOPATCH_FUZZ_SEED", "0")))
    assert sum(sum(counts.values()) for counts in ended.values()) == cases


@pytest.mark.parametrize("case", [221, 353, 510, 576, 1443, 1734, 1830, 2021, 2146, 2706, 4063, 4525, 4881])
def test_faults_that_once_were_not_understood(known, tmp_path, case):
    """Cut and altered values in DICOM headers, zips of unknown kinds, units and types that do not exist."""
    reader = list(known.values())[case % len(known)]
    path = tmp_path / f"case{reader.suffix}"
    path.write_bytes(fuzz.corrupt(reader.valid, fuzz.np.random.default_rng([0, case])))
    with pytest.raises(ValueError, match=r"\w"):
        reader.read(path)


HUGE = 10**400
DEEP = "[" * 20_000 + "]" * 20_000


@pytest.mark.parametrize("name", ["scan", "run", "prior run", "sweep", "experiment"])
@pytest.mark.parametrize(
    "value", [HUGE, -HUGE, 1e300, float("nan"), [HUGE] * 3, "DEEP", True, [], {}, None, "9" * 400]
)
def test_no_odd_value_in_json_escapes(known, tmp_path, name, value):
    """In every field, one after the other, at any depth."""
    reader = known[name]
    for place in places(json.loads(reader.valid)):
        tree = json.loads(reader.valid)
        node = tree
        for key in place[:-1]:
            node = node[key]
        node[place[-1]] = value
        path = tmp_path / "odd.json"
        path.write_text(json.dumps(tree).replace('"DEEP"', DEEP))
        with contextlib.suppress(ValueError):  # anything else fails the test
            reader.read(path)


def places(node, here=()):
    """The keys that lead to each value of a tree."""
    pairs = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in pairs:
        yield (*here, key)
        yield from places(child, (*here, key))


@pytest.mark.parametrize(
    ("tag", "value"),
    [("PixelPaddingValue", "1\\2"), ("PixelPaddingValue", "-inf"), ("ImageType", "3"), ("Rows", "9" * 400),
     ("RescaleSlope", "1e300"), ("PixelSpacing", "1,0\\1,0"), ("NumberOfFrames", "9" * 400)],
)  # fmt: skip
def test_odd_values_of_a_slice_are_refused_or_harmless(known, tmp_path, tag, value):
    reader = known["dicom slice"]
    dataset = pydicom.dcmread(io.BytesIO(reader.valid))
    vr = {"Rows": "IS", "ImageType": "DS", "PixelPaddingValue": "IS"}.get(tag, "DS")
    number = pydicom.tag.Tag(tag)
    dataset._dict[number] = pydicom.dataelem.RawDataElement(
        number, vr, len(value), value.encode(), 0, False, True
    )
    path = tmp_path / "odd.dcm"
    dataset.save_as(path)
    with contextlib.suppress(ValueError):  # anything else fails the test
        reader.read(path)


@pytest.mark.parametrize(
    "change",
    [
        {"info": "5"},
        {"info": '{"calibrations": 5}'},
        {"info": DEEP},
        {"trained": DEEP},
        {"trained": "5"},
        {"config": DEEP},
        {"channels": [True, 12]},
        {"fine_channels": -1},
        {"blocks": [1, 100_000]},
        {"fine_blocks": 10**6},
        {"sigma_data": 0.0},
        {"conditional": [1]},
        {"channels": [[1]]},
        {"channels": [HUGE]},
        {"embed": "x"},
        {"mean": HUGE},
        {"format": "tomopatch-prior-2", "config": "5"},
    ],
    ids=lambda change: " ".join(f"{k} {str(v)[:20]}" for k, v in change.items()),
)
def test_odd_metadata_of_weights_are_refused(known, tmp_path, change):
    data = known["weights"].valid
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    about = header["__metadata__"]
    for name, value in change.items():
        if name in about:
            about[name] = value
        else:
            about["config"] = json.dumps(json.loads(about["config"]) | {name: value})
    text = json.dumps(header).encode()
    path = tmp_path / "odd.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])
    with pytest.raises(ValueError, match=r"odd|prior"):
        known["weights"].read(path)


def test_a_measurement_whose_header_lies_is_refused_before_it_is_read(known, tmp_path):
    with zipfile.ZipFile(io.BytesIO(known["measurement"].valid)) as archive:
        arrays = {name: archive.read(name) for name in archive.namelist()}
    text = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000, 1000000, 10)}\n"
    arrays["projections.npy"] = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + bytes(64)
    path = tmp_path / "m.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in arrays.items():
            archive.writestr(name, data)
    with pytest.raises(ValueError, match="does not hold the 40000000000000 bytes that it declares"):
        known["measurement"].read(path)


def test_a_damaged_member_of_any_kind_of_zip_is_refused(known, tmp_path):
    with zipfile.ZipFile(io.BytesIO(known["dicom zip"].valid)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", method) as archive:
            for name, data in members.items():
                archive.writestr(name, data)
        data = bytearray(out.getvalue())
        data[200:240] = b"\xff" * 40
        (tmp_path / "z.zip").write_bytes(data)
        with pytest.raises(ValueError, match="cannot be unpacked"):
            known["dicom zip"].read(tmp_path / "z.zip")
