"""Odd values that a format allows, put into valid files: scales, lengths, types, counts, nesting, sizes."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import json
import struct
import warnings
import zipfile
from copy import deepcopy
from typing import Any

import numpy as np
import pydicom

Rng = np.random.Generator

NUMBERS = (
    0.0,
    -0.0,
    -1.0,
    1.0,
    1e-45,
    -1e-30,
    1e30,
    -3e38,
    3.4e38,
    float("nan"),
    float("inf"),
    65536.5,
    1e-6,
    2.0**31,
)
COUNTS = (0, 1, -1, 2, 7, 255, 32767, -32768, 1000)
NIFTI_FLOATS = {"pixdim": range(76, 108, 4), "vox_offset": [108], "slope": [112], "intercept": [116],
                "quaternion": range(256, 280, 4), "rows": range(280, 328, 4)}  # fmt: skip
NIFTI_SHORTS = {"dim": range(40, 56, 2), "datatype": [70], "bitpix": [72], "qform": [252], "sform": [254]}
WORDS = (
    "",
    "nan",
    "inf",
    "-inf",
    "1e300",
    "-1e300",
    "1e-300",
    "1,0",
    "0",
    "-1",
    "9" * 400,
    "1\\\\2",
    "x" * 300,
    "1.0.0",
    "2147483648",
    "\\\\",
    "MGML",
    "HU",
    "1\\\\2\\\\3\\\\4",
    " 3 ",
    "é",
)
TAGS = (
    "RescaleSlope",
    "RescaleIntercept",
    "RescaleType",
    "PixelSpacing",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "Rows",
    "Columns",
    "NumberOfFrames",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "Modality",
    "SOPInstanceUID",
    "SOPClassUID",
    "SeriesInstanceUID",
    "AcquisitionNumber",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "ImageType",
    "SeriesNumber",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
    "AcquisitionTime",
    "SeriesDescription",
    "Manufacturer",
)


def pick(values: Any, rng: Rng) -> Any:
    return values[int(rng.integers(len(values)))]


def alter_nifti(data: bytes, rng: Rng) -> bytes:
    out = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        if rng.random() < 0.6:
            at = pick(list(NIFTI_FLOATS[pick(list(NIFTI_FLOATS), rng)]), rng)
            out[at : at + 4] = np.float32(pick(NUMBERS, rng)).tobytes()
        elif rng.random() < 0.8:
            at = pick(list(NIFTI_SHORTS[pick(list(NIFTI_SHORTS), rng)]), rng)
            code = pick((*COUNTS, 2, 4, 8, 16, 64, 128, 256, 512, 768, 1024, 1280, 1536, 2048, 2304), rng)
            out[at : at + 2] = struct.pack("<h", code)
        elif rng.random() < 0.5:
            out[123] = int(rng.integers(256))  # units of length and time
        else:
            start = 352 + 4 * int(rng.integers((len(out) - 352) // 4))
            out[start : start + 4] = np.float32(pick(NUMBERS, rng)).tobytes()
    return bytes(out)


def alter_packed(data: bytes, rng: Rng) -> bytes:
    """A compressed file: altered inside, compressed differently, cut, with trailing data, or with a wrong
    checksum.
    """
    raw = gzip.decompress(data)
    kind = int(rng.integers(7))
    if kind == 0:
        return gzip.compress(alter_nifti(raw, rng))
    if kind == 1:
        return bz2.compress(alter_nifti(raw, rng))
    if kind == 2:
        return data[: int(rng.integers(len(data)))]
    if kind == 3:
        return data + pick((b"\0" * 100, b"junk", data, gzip.compress(b"x" * 1000), b"\x1f\x8b"), rng)
    if kind == 4:
        out = bytearray(data)
        out[-int(rng.integers(1, 9))] ^= 1 << int(rng.integers(8))  # checksum and size
        return bytes(out)
    if kind == 5:  # as two members
        cut = int(rng.integers(1, len(raw)))
        return gzip.compress(raw[:cut]) + gzip.compress(raw[cut:])
    return gzip.compress(data)  # packed twice


def alter_dicom(data: bytes, rng: Rng) -> bytes:
    with warnings.catch_warnings(), contextlib.suppress(Exception):
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(io.BytesIO(data))
        for _ in range(int(rng.integers(1, 3))):
            tag = pick(TAGS, rng)
            kind = int(rng.integers(4))
            if kind == 0 and tag in dataset:
                del dataset[tag]
                continue
            vr = pick(("DS", "IS", "LO", "US", "UN", "CS", "SQ", "FD"), rng) if kind == 1 else None
            vr = vr or (dataset[tag].VR if tag in dataset else "LO")
            value: Any = pick(WORDS, rng)
            if vr in ("US", "SS"):
                value = abs(pick(COUNTS, rng))
            elif vr == "FD":
                value = float(pick(NUMBERS, rng))
            elif vr == "SQ":
                value = [pydicom.Dataset()] * int(rng.integers(3))
            elif vr == "UN":
                value = rng.bytes(int(rng.integers(1, 20)))
            pydicom.config.settings.writing_validation_mode = pydicom.config.IGNORE
            pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
            with contextlib.suppress(Exception):
                if vr in ("DS", "IS", "LO", "CS"):  # stored without a check
                    raw = pydicom.dataelem.RawDataElement(
                        pydicom.tag.Tag(tag), vr, len(value), value.encode("latin-1"), 0, False, True
                    )
                    dataset._dict[pydicom.tag.Tag(tag)] = raw
                else:
                    dataset.add_new(tag, vr, value)
        out = io.BytesIO()
        dataset.save_as(out, enforce_file_format=True)
        cut = rng.random()
        if cut < 0.1:
            return out.getvalue()[132:]  # without the preamble
        return out.getvalue()[: int(rng.integers(len(out.getvalue())))] if cut < 0.2 else out.getvalue()
    return data


def alter_zip(data: bytes, rng: Rng) -> bytes:
    """An archive with altered slices, duplicate or foreign members, or wrong sizes."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    kind = int(rng.integers(8))
    k = int(rng.integers(len(members)))
    if kind <= 2:
        members[k] = (members[k][0], alter_dicom(members[k][1], rng))
    elif kind == 3:
        members.append(pick(members, rng))
    elif kind == 4:
        members.append(
            (pick(("../../x.dcm", "/etc/x", "a" * 300, "x.nii", " ", "DICOMDIR"), rng), rng.bytes(200))
        )
    elif kind == 5:
        members = [("inner.zip", data), *members[: int(rng.integers(3))]]
    out = io.BytesIO()
    method = pick((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA), rng)
    with warnings.catch_warnings(), zipfile.ZipFile(out, "w", method) as archive:
        warnings.simplefilter("ignore")
        for name, content in members:
            archive.writestr(name, content)
    packed = bytearray(out.getvalue())
    if kind >= 6:  # a field of the directory at the end: sizes, checksum, offset, flags, method
        starts = [i for i in range(len(packed)) if packed[i : i + 4] == b"PK\x01\x02"]
        at = pick(starts, rng) + pick((8, 10, 16, 20, 24, 28, 30, 42), rng)
        width = 4 if at % 2 == 0 else 2
        packed[at : at + width] = pick(
            (bytes(4), b"\xff\xff\xff\xff", b"\x01\x00\x00\x00", rng.bytes(4)), rng
        )[:width]
    return bytes(packed)


def alter_npz(data: bytes, rng: Rng) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        arrays = {name.removesuffix(".npy"): archive.read(name) for name in archive.namelist()}
    name = pick(list(arrays), rng)
    kind = int(rng.integers(7))
    if kind == 0:
        del arrays[name]
    elif kind == 1:  # a header that lies
        header = {
            "descr": pick(
                ("<f4", "<f8", "|O", "<c8", "<U3", "|S0", "<f2", ">f4", "|b1", "<i8", "bad", "<M8[s]"), rng
            ),
            "fortran_order": bool(rng.integers(2)),
            "shape": pick(((10**12,), (2, 3, 4), (), (0,), (-1, 3), (10**30,), (4, 3, 24), (2**63,)), rng),
        }
        text = repr(header).encode() + b"\n"
        body = arrays[name][128:]
        arrays[name] = (
            b"\x93NUMPY" + bytes([pick((1, 2, 3, 9), rng), 0]) + struct.pack("<H", len(text)) + text + body
        )
    elif kind <= 4:
        array = np.load(io.BytesIO(arrays[name]))
        if name == "about":
            array = np.frombuffer(alter_json(array.tobytes(), rng), np.uint8)
        else:
            array = np.atleast_1d(array).copy()
            if array.dtype.kind == "U":  # a text of the geometry
                array = np.array(pick(("", "v,view,u", "parallel", "counts", "x" * 5000), rng))
            elif kind == 2:
                array.flat[int(rng.integers(array.size))] = pick(NUMBERS, rng)
            elif kind == 3:
                array = array.astype(pick(("f8", "f2", "i4", "c8", "U8", "?"), rng))
            else:
                array = pick(
                    (array[:1], array.T, array.ravel(), array[..., None], array[:0], array.mean()), rng
                )
        out = io.BytesIO()
        np.save(out, array)
        arrays[name] = out.getvalue()
    elif kind == 5:
        arrays[pick(("weights", "more", "../x"), rng)] = pick(list(arrays.values()), rng)
    else:
        arrays[name] = arrays[name][: int(rng.integers(len(arrays[name])))]
    out = io.BytesIO()
    with (
        warnings.catch_warnings(),
        np.errstate(all="ignore"),
        zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        warnings.simplefilter("ignore")
        for key, content in arrays.items():
            archive.writestr(f"{key}.npy", content)
    return out.getvalue()


ODD: tuple[Any, ...] = (
    0,
    -1,
    1,
    2,
    10**400,
    -(10**400),
    2**63,
    1e300,
    -1e300,
    1e-300,
    5e-324,
    float("nan"),
    float("inf"),
    True,
    False,
    None,
    "",
    "x",
    "phantom:thorax:" + "9" * 50,
    "\ud800",
    "\0",
    [],
    {},
    [1],
    [[[]]],
    [1, 2],
    [1, "a", None],
    [10**400] * 3,
    [1e300] * 2,
    {"a": 1},
    [[0, 0, 0], 5, 40],
    [[[0, 0, 0], 1e300, 40]],
    [True] * 3,
    "9" * 400,
)


def alter_json(data: bytes, rng: Rng) -> bytes:
    """One or two values of the tree replaced, removed, added or nested deep."""
    tree = json.loads(data)
    for _ in range(int(rng.integers(1, 3))):
        places: list[tuple[Any, Any]] = []
        walk = [tree]
        while walk:
            node = walk.pop()
            pairs = list(node.items()) if isinstance(node, dict) else list(enumerate(node))
            places += [(node, key) for key, _ in pairs]
            walk += [child for _, child in pairs if isinstance(child, (dict, list)) and child]
        node, key = pick(places, rng)
        kind = int(rng.integers(8))
        if kind == 0:
            del node[key]
        elif kind == 1 and isinstance(node, dict):
            node[pick(("seed", "x", "", "method", "kind", "format", "units"), rng)] = deepcopy(pick(ODD, rng))
        elif kind == 2:
            node[key] = "DEEP"
        else:
            node[key] = deepcopy(pick(ODD, rng))
    text = json.dumps(tree)
    opening, closing = pick((("[", "]"), ('{"a":', "}")), rng)
    depth = pick((20, 900, 20_000), rng)
    return text.replace('"DEEP"', opening * depth + "1" + closing * depth).encode()


def alter_weights(data: bytes, rng: Rng) -> bytes:
    """A safetensors file with other metadata or another description of its tensors."""
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    about = header["__metadata__"]
    if rng.random() < 0.7:
        name = pick(list(about), rng)
        if name == "format":
            about[name] = pick(("tomopatch-prior-2", "x", ""), rng)
        else:
            about[name] = (
                alter_json(about[name].encode(), rng).decode()
                if about[name] not in ("{}", "[]")
                else pick(("[]", "1", '{"digest": [1]}', "[" * 5000, '{"calibrations": 5}'), rng)
            )
    else:
        tensor = header[pick([n for n in header if n != "__metadata__"], rng)]
        field = pick(("dtype", "shape", "data_offsets"), rng)
        tensor[field] = pick(("F16", "I64", "F64", [0], [1, 2], [10**15], [-1], [0, 10**18], []), rng)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data[8 + length :]
