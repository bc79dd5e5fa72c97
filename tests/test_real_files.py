"""Files as scanners, converters and attackers write them: read to the right values, or refused in one sentence.

Every file is built here, from a small asymmetric volume.
"""

import bz2
import gzip
import io
import shutil
import struct
import tracemalloc
import warnings
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
import torch
from pydicom.uid import ImplicitVRLittleEndian, generate_uid

from core.scan.dicom import list_series, read_dicom
from core.scan.dicom_writer import write_dicom
from core.scan.library import load_volume
from core.scan.nifti import read_nifti, write_nifti
from core.scan.slices import BYTES_PER_VOXEL, voxels_within
from core.volume import Volume, VolumeGeometry

VG = VolumeGeometry((8, 10, 12), (3.0, 0.7, 0.8))


def ramp(vg: VolumeGeometry = VG) -> Volume:
    """Whole Hounsfield units, no two voxels alike."""
    count = int(np.prod(vg.shape))
    return Volume.from_hu(torch.arange(count, dtype=torch.float32).reshape(vg.shape) * 3 - 1000, vg)


def same(a: Volume, b: Volume) -> bool:
    # float32 holds mu, whose last digit is worth 1e-4 HU
    sizes = np.allclose(a.geometry.voxel_size, b.geometry.voxel_size, rtol=1e-5, atol=0)
    return a.shape == b.shape and sizes and torch.allclose(a.hu, b.hu, rtol=0, atol=1e-2)


@pytest.fixture
def series(tmp_path) -> list[Path]:
    return sorted(write_dicom(tmp_path / "scan", ramp()).iterdir())


def edit(path: Path, change) -> None:
    dataset = pydicom.dcmread(path)
    change(dataset)
    dataset.save_as(path)


def at_heights(series: list[Path], heights: list[float]) -> Path:
    """The series with its slices at these heights [mm] and the value 100 times the height."""
    template = pydicom.dcmread(series[0])
    folder = series[0].parent
    for path in series:
        path.unlink()
    for k, z in enumerate(heights):
        template.SOPInstanceUID = generate_uid()
        template.ImagePositionPatient = [0, 0, z]
        template.PixelData = np.full((10, 12), round(10 * z - 500), "<i2").tobytes()
        template.save_as(folder / f"{k:03d}.dcm")
    return folder


# ---- slices -------------------------------------------------------------------------------------


@pytest.mark.parametrize("counts", [(8, 8), (12, 8), (5, 14)])
def test_two_slice_spacings_are_interpolated_to_the_finer_one(series, counts):
    fine, coarse = counts
    heights = [3.0 * k for k in range(fine)] + [3.0 * (fine - 1) + 6.0 * (k + 1) for k in range(coarse)]
    folder = at_heights(series, heights)
    with pytest.warns(UserWarning, match=r"slices 3 and 6 mm apart; interpolated to every 3 mm"):
        volume = read_dicom(folder)
    assert volume.geometry.voxel_size[0] == pytest.approx(3.0)
    expected = 10 * torch.arange(volume.shape[0]) * 3.0 - 500  # the ramp stays a ramp
    torch.testing.assert_close(volume.hu[:, 0, 0], expected, atol=0.01, rtol=0)


@pytest.mark.parametrize(("missing", "count"), [([4], 1), ([3, 4], 2), ([4, 5, 6], 3), ([2, 6], 1), ([1], 1)])
def test_missing_slices_are_refused_with_their_number(series, missing, count):
    for k in missing:
        series[k].unlink()
    with pytest.raises(ValueError, match=rf"has a hole of {3 * (count + 1)} mm .* about {count} missing"):
        read_dicom(series[0].parent)


@pytest.mark.parametrize("scale", [0.65e-3 / 3, 0.5e-3 / 0.7, 1e-2, 1.0, 20 / 0.7])
def test_voxels_of_any_size_are_written_and_read_alike(tmp_path, scale):
    vg = VolumeGeometry(VG.shape, tuple(s * scale for s in VG.voxel_size))
    volume = ramp(vg)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert same(read_dicom(write_dicom(tmp_path / "scan", volume)), volume)
        assert same(read_nifti(write_nifti(tmp_path / "a.nii.gz", volume)), volume)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 20.0])
def test_tolerances_follow_the_voxel_size(tmp_path, scale):
    """The same faults are refused on every scale."""
    vg = VolumeGeometry(VG.shape, tuple(s * scale for s in VG.voxel_size))
    files = sorted(write_dicom(tmp_path / "a", ramp(vg)).iterdir())
    edit(files[3], lambda d: setattr(d, "PixelSpacing", [1.09 * s for s in vg.voxel_size[1:]]))
    with pytest.raises(ValueError, match=r"different pixel spacing: slice0004\.dcm"):
        read_dicom(tmp_path / "a")
    files = sorted(write_dicom(tmp_path / "b", ramp(vg)).iterdir())
    x, y, z = pydicom.dcmread(files[3]).ImagePositionPatient
    edit(files[3], lambda d: setattr(d, "ImagePositionPatient", [float(x) + 2 * vg.voxel_size[2], y, z]))
    with pytest.raises(ValueError, match=r"shifted sideways: slice0004\.dcm"):
        read_dicom(tmp_path / "b")


# ---- which files make a series ------------------------------------------------------------------


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize("meta", [False, True])
def test_files_without_a_preamble_are_read(series, implicit, meta):
    for path in series:
        dataset = pydicom.dcmread(path)
        if implicit:
            dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
        dataset.save_as(path, implicit_vr=implicit, little_endian=True)
        content = path.read_bytes()[132:]
        if not meta:
            length = struct.unpack("<I", content[8:12])[0]  # of group 2, which (0002,0000) holds
            content = content[12 + length :]
        path.write_bytes(content)
    assert same(read_dicom(series[0].parent), ramp())
    assert same(load_volume(series[0].parent), ramp())


def test_text_that_begins_like_a_tag_is_no_dicom(tmp_path):
    (tmp_path / "a").write_bytes(b"\x08\x00a line of text that happens to begin so")
    with pytest.raises(ValueError, match="1 is not DICOM"):
        read_dicom(tmp_path / "a")


def test_a_colour_page_of_the_same_series_is_left_out_with_a_note(series):
    page = pydicom.dcmread(series[0])
    page.SOPClassUID = page.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    page.SOPInstanceUID = generate_uid()
    page.SamplesPerPixel, page.PhotometricInterpretation, page.PlanarConfiguration = 3, "RGB", 0
    page.BitsAllocated = page.BitsStored = 8
    page.HighBit, page.PixelRepresentation, page.Rows, page.Columns = 7, 0, 4, 4
    page.PixelData = bytes(48)
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope"):
        delattr(page, keyword)
    page.save_as(series[0].parent / "aaa.dcm")
    with pytest.warns(
        UserWarning, match=r"1 file of the series was left out: not of the kind of the others \(aaa\.dcm\)"
    ):
        assert same(read_dicom(series[0].parent), ramp())
    with pytest.warns(UserWarning, match="left out"):
        assert list_series(series[0].parent)[0].num_slices == 8


def test_copies_of_files_count_once(series):
    for path in series:
        shutil.copy(path, path.with_name(f"copy of {path.name}"))
    with pytest.warns(UserWarning, match="8 files of the series were left out: copies"):
        assert same(read_dicom(series[0].parent), ramp())


@pytest.mark.parametrize("by", ["number", "time"])
def test_acquisitions_that_share_a_series_are_listed_and_read_one_by_one(tmp_path, series, by):
    second = write_dicom(tmp_path / "again", Volume.from_hu(ramp().hu + 100, VG))
    for k, path in enumerate(sorted(second.iterdir())):

        def change(dataset, k=k):
            dataset.SeriesInstanceUID = pydicom.dcmread(series[0]).SeriesInstanceUID
            dataset.AcquisitionNumber = 2 if by == "number" else 1
            dataset.AcquisitionDate, dataset.AcquisitionTime = "20260101", f"1200{k:02d}"

        edit(path, change)
        shutil.copy(path, series[0].parent / f"second{path.name}")
    for k, path in enumerate(series):

        def change(dataset, k=k):
            dataset.AcquisitionNumber = 1
            dataset.AcquisitionDate, dataset.AcquisitionTime = "20260101", f"1100{k:02d}"

        edit(path, change)
    listed = list_series(series[0].parent)
    assert [s.num_slices for s in listed] == [8, 8]
    assert [s.description[-13:] for s in listed] == ["acquisition 1", "acquisition 2"]
    assert same(read_dicom(series[0].parent), ramp())
    assert same(read_dicom(series[0].parent, listed[1].uid), Volume.from_hu(ramp().hu + 100, VG))


# ---- single tags --------------------------------------------------------------------------------


def test_a_decimal_comma_is_refused_with_file_tag_and_value(series):
    content = series[3].read_bytes()
    assert content.count(b"0.7\\0.8 ") == 1
    series[3].write_bytes(content.replace(b"0.7\\0.8 ", b"0,7\\0,8 "))
    with pytest.raises(ValueError, match=r"slice0004\.dcm has .*PixelSpacing.*0,7"):
        read_dicom(series[0].parent)


@pytest.mark.parametrize(
    ("slope", "words"), [(1e300, "RescaleSlope 1e"), (1e30, "expected Hounsfield units")]
)
def test_a_slope_beyond_all_numbers_is_refused(series, slope, words):
    for path in series:
        edit(path, lambda d: setattr(d, "RescaleSlope", pydicom.valuerep.DSfloat(slope, auto_format=True)))
    with pytest.raises(ValueError, match=words):
        read_dicom(series[0].parent)


# ---- NIfTI --------------------------------------------------------------------------------------


def image(volume: Volume | None = None) -> nib.Nifti1Image:
    volume = volume or ramp()
    affine = np.diag([*(-s for s in volume.geometry.voxel_size[:0:-1]), volume.geometry.voxel_size[0], 1])
    made = nib.Nifti1Image(np.ascontiguousarray(volume.hu.numpy().T), affine)
    made.set_sform(affine, code="scanner")
    made.set_qform(affine, code="scanner")
    return made


def patched(*patches: tuple[int, bytes]) -> bytes:
    content = bytearray(image().to_bytes())
    for offset, value in patches:
        content[offset : offset + len(value)] = value
    return bytes(content)


NO_SFORM = (254, struct.pack("<h", 0))


@pytest.mark.parametrize(
    "patches",
    [
        [NO_SFORM, (76, struct.pack("<f", 0.0))],  # pixdim[0]: the standard takes 1
        [NO_SFORM, (76, struct.pack("<f", 1.0))],
        [(252, struct.pack("<h", 77)), (76, struct.pack("<f", 3.0))],  # an unknown qform code
        [(80, struct.pack("<f", -0.8))],  # lengths have no sign
    ],
)
def test_headers_that_the_standard_repairs_are_read(tmp_path, patches):
    (tmp_path / "a.nii").write_bytes(patched(*patches))
    assert same(read_nifti(tmp_path / "a.nii"), ramp())


def test_an_impossible_quaternion_is_refused_with_the_file(tmp_path):
    (tmp_path / "a.nii").write_bytes(patched(NO_SFORM, (256, struct.pack("<fff", 3, 3, 3))))
    with pytest.raises(ValueError, match=r"a\.nii has an orientation that cannot be used"):
        read_nifti(tmp_path / "a.nii")


@pytest.mark.parametrize(("size", "words"), [(1e30, "voxels of"), (1e-9, "voxels of")])
def test_voxels_of_no_physical_size_are_refused(tmp_path, size, words):
    made = image()
    made.set_sform(np.diag([-size, -size, size, 1]), code="scanner")
    nib.save(made, tmp_path / "a.nii")
    with pytest.raises(ValueError, match=words):
        read_nifti(tmp_path / "a.nii")


def test_values_beyond_all_physics_are_refused(tmp_path):
    data = ramp().hu.numpy().T.copy()
    data[0, 0, 0] = 1e38
    nib.save(nib.Nifti1Image(data, image().affine), tmp_path / "a.nii")
    with pytest.raises(ValueError, match=r"from -997 to 1e\+38; expected Hounsfield units"):
        read_nifti(tmp_path / "a.nii")


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress])
def test_a_flipped_byte_is_found(tmp_path, compress):
    """In a stored (uncompressed) block only the checksum shows the change."""
    content = bytearray(
        compress(image().to_bytes(), **({"compresslevel": 0} if compress is gzip.compress else {}))
    )
    content[len(content) - 300] ^= 1
    (tmp_path / "a.nii.gz").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.nii\.gz cannot be decompressed.*damaged"):
        read_nifti(tmp_path / "a.nii.gz")


def test_a_flipped_byte_in_a_zip_is_found(tmp_path, series):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_STORED) as archive:
        for path in series:
            archive.write(path, path.name)
    content = bytearray((tmp_path / "a.zip").read_bytes())
    content[series[0].stat().st_size - 20] ^= 1  # within the first member's pixels
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(ValueError, match=r"slice0001\.dcm in a\.zip cannot be unpacked"):
        read_dicom(tmp_path / "a.zip")


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress])
def test_a_small_file_of_very_many_voxels_is_refused_before_it_is_decoded(tmp_path, compress):
    header = bytearray(image().to_bytes()[:352])
    header[42:48] = struct.pack("<hhh", 512, 512, 400)
    content = compress(bytes(header) + bytes(1 << 20))
    (tmp_path / "a.nii.gz").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.nii\.gz would grow from 0\.00\d+ to 419 MB"):
        read_nifti(tmp_path / "a.nii.gz")


def test_what_follows_the_voxels_is_bounded(tmp_path):
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(image().to_bytes() + bytes(66 << 20), 1))
    with pytest.raises(ValueError, match="goes on for more than 64 MB"):
        read_nifti(tmp_path / "a.nii.gz")


def test_a_file_object_is_read_from_its_beginning(tmp_path):
    with write_nifti(tmp_path / "a.nii.gz", ramp()).open("rb") as file:
        assert same(read_nifti(file), ramp())
        assert same(read_nifti(file), ramp())
    stream = io.BytesIO((tmp_path / "a.nii.gz").read_bytes())
    stream.seek(100)
    assert same(read_nifti(stream, name="a"), ramp())


def test_a_nifti_file_may_be_bytes(tmp_path):
    content = write_nifti(tmp_path / "a.nii.gz", ramp()).read_bytes()
    assert same(read_nifti(content), ramp())


# ---- all readers --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["IM0001", "scan.IMA", "1.2.840.113619.2.55", "scan.nii"])
def test_files_are_recognised_by_their_content(tmp_path, name):
    write_nifti(tmp_path / "a.nii.gz", ramp()).rename(tmp_path / name)
    assert same(load_volume(tmp_path / name), ramp())
    shutil.make_archive(str(tmp_path / "b"), "zip", write_dicom(tmp_path / "scan", ramp()))
    (tmp_path / "b.zip").replace(tmp_path / name)
    assert same(load_volume(tmp_path / name), ramp())
    single = tmp_path / "scan" / "slice0001.dcm"
    single.replace(tmp_path / name)
    with pytest.raises(ValueError, match="single slice"):  # read as DICOM
        load_volume(tmp_path / name)


def test_dicom_may_be_a_list_of_paths_or_an_open_file(tmp_path, series):
    assert same(read_dicom(series), ramp())
    assert same(read_dicom([str(path) for path in series]), ramp())
    archive = shutil.make_archive(str(tmp_path / "a"), "zip", series[0].parent)
    with open(archive, "rb") as file:
        assert same(read_dicom(file), ramp())
    with pytest.raises(TypeError, match="a path, an open file, or"):
        read_dicom([1, 2])


def test_negative_pixel_spacing_is_refused(series):
    for path in series:
        edit(path, lambda d: setattr(d, "PixelSpacing", [-0.7, 0.8]))
    with pytest.raises(ValueError, match=r"slice000\d\.dcm has a pixel spacing of \[-0\.7, 0\.8\] mm"):
        read_dicom(series[0].parent)


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write_nifti("~/a.nii", ramp())
    write_dicom("~/scan", ramp())
    assert (tmp_path / "a.nii").is_file()
    for read in (load_volume, read_nifti):
        assert same(read("~/a.nii"), ramp())
    for read in (load_volume, read_dicom):
        assert same(read("~/scan"), ramp())


def test_more_voxels_than_the_caller_allows_are_refused_before_decoding(tmp_path, series):
    nifti = write_nifti(tmp_path / "a.nii", ramp())
    for source in (nifti, series[0].parent):
        assert load_volume(source, max_voxels=8 * 10 * 12).shape == VG.shape
        with pytest.raises(ValueError, match="8 x 10 x 12 voxels"):
            load_volume(source, max_voxels=8 * 10 * 12 - 1)


@pytest.mark.parametrize("kind", ["nifti", "turned nifti", "dicom", "padded dicom"])
def test_reading_takes_no_more_memory_per_voxel_than_is_stated(tmp_path, kind):
    """`voxels_within` promises it to a server that limits memory. Measured on numpy's arrays; torch shares them."""
    vg = VolumeGeometry((24, 256, 256), (2.0, 1.0, 1.0))
    volume = Volume.from_hu(np.random.default_rng(0).integers(-1000, 1000, vg.shape), vg)
    if "nifti" in kind:
        made = image(volume)
        nib.save(
            made.as_reoriented([[1, 1], [0, -1], [2, 1]]) if "turned" in kind else made, tmp_path / "a.nii.gz"
        )
        source = tmp_path / "a.nii.gz"
    else:
        source = write_dicom(tmp_path / "a", volume)
        for path in source.iterdir():
            edit(path, lambda d: d.add_new("PixelPaddingValue", "SS", 5) if kind == "padded dicom" else None)
    load_volume(source)  # caches and modules
    tracemalloc.start()
    load_volume(source)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    voxels = 24 * 256 * 256
    headers = 4 << 20  # headers of 24 files, the numbers that are decoded at a time
    assert peak < BYTES_PER_VOXEL * voxels + headers
    assert voxels_within(BYTES_PER_VOXEL * voxels / 2**20) == voxels


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_writers_refuse_what_is_not_finite_and_leave_nothing(tmp_path, bad):
    data = ramp().data.clone()
    data[1, 2, 3] = bad
    volume = Volume(data, VG, "thing")
    for write in (write_nifti, write_dicom):
        with pytest.raises(ValueError, match="'thing' has 1 voxel of NaN or infinity"):
            write(tmp_path / "a.nii", volume)
    assert not list(tmp_path.iterdir())


def test_writers_name_a_folder_that_is_missing(tmp_path):
    for write in (write_nifti, write_dicom):
        with pytest.raises(ValueError, match=r"missing is not a folder; make it first"):
            write(tmp_path / "missing" / "a.nii", ramp())
    assert not list(tmp_path.iterdir())


def test_an_archive_whose_files_overlap_is_refused(tmp_path, series):
    """The directory at the end lists one member twice, under two names."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for path in series:
            archive.write(path, path.name)
    content = bytearray((tmp_path / "a.zip").read_bytes())
    at = content.rindex(b"PK\x05\x06")
    size, start = struct.unpack("<II", content[at + 12 : at + 20])
    directory = content[start : start + size]
    second = directory.index(b"PK\x01\x02", 4)
    first_offset = directory[42:46]
    directory[second + 42 : second + 46] = first_offset
    directory[second + 46 : second + 59] = b"slice0001.dcm"
    content[start : start + size] = directory
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.zip has files that overlap"):
        read_dicom(tmp_path / "a.zip")
