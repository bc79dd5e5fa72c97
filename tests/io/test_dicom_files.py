"""DICOM as scanners and archives write it: read to the right values, or refused in one sentence."""

import shutil
import struct
import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
import torch
from pydicom.uid import ImplicitVRLittleEndian, generate_uid

from tests.small_files import VG, edit, ramp, same
from tomopatch.io.dicom import list_series, read_dicom
from tomopatch.io.dicom_writer import write_dicom
from tomopatch.io.nifti import read_nifti, write_nifti
from tomopatch.library import load_volume
from tomopatch.volume import Volume, VolumeGeometry


@pytest.fixture
def series(tmp_path) -> list[Path]:
    return sorted(write_dicom(tmp_path / "scan", ramp()).iterdir())


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


@pytest.mark.parametrize(
    ("keyword", "vr", "value", "words"),
    [
        ("ImagePositionPatient", "DS", "5", "no usable ImagePositionPatient"),
        ("PixelSpacing", "DS", "", "no usable PixelSpacing"),
        ("RescaleSlope", "DS", [1, 2], "no usable RescaleSlope"),
        ("NumberOfFrames", "IS", [2, 3], "cannot be read"),
    ],
)
def test_tags_with_another_number_of_values_are_refused_by_name(series, keyword, vr, value, words):
    edit(series[0], lambda d: d.add_new(keyword, vr, value))
    with pytest.raises(ValueError, match=rf"slice0001\.dcm has .*{words}"):
        read_dicom(series[0].parent)


def test_a_file_of_two_sample_counts_is_left_out_as_foreign(series):
    edit(series[0], lambda d: d.add_new("SamplesPerPixel", "US", [1, 2]))
    with pytest.warns(UserWarning, match=r"left out: not of the kind of the others \(slice0001\.dcm\)"):
        assert read_dicom(series[0].parent).shape[0] == 7


@pytest.mark.parametrize("place", [0, 3])
def test_a_slice_of_another_matrix_size_is_left_out(series, place):
    def halve(dataset):
        pixels = dataset.pixel_array[::2, ::2]
        dataset.Rows, dataset.Columns = pixels.shape
        dataset.PixelData = pixels.tobytes()

    edit(series[place], halve)
    alone = pytest.warns(UserWarning, match=rf"left out: not of the kind .* \({series[place].name}\)")
    if place == 0:
        with alone:
            assert read_dicom(series[0].parent).shape[0] == 7
    else:
        with alone, pytest.raises(ValueError, match="about 1 missing"):
            read_dicom(series[0].parent)


def test_an_unknown_value_representation_is_refused_with_its_tag(series):
    content = series[0].read_bytes()
    assert content.count(b"\x08\x00\x60\x00CS") == 1
    series[0].write_bytes(content.replace(b"\x08\x00\x60\x00CS", b"\x08\x00\x60\x00HS"))
    with pytest.raises(ValueError, match=r"slice0001\.dcm has"):
        read_dicom(series[0].parent)


def test_a_decimal_comma_is_refused_with_file_tag_and_value(series):
    content = series[3].read_bytes()
    assert content.count(b"0.7\\0.8 ") == 1
    series[3].write_bytes(content.replace(b"0.7\\0.8 ", b"0,7\\0,8 "))
    with pytest.raises(ValueError, match=r"slice0004\.dcm has .*PixelSpacing.*0,7"):
        read_dicom(series[0].parent)


@pytest.mark.parametrize(
    ("slope", "words"), [(1e300, "RescaleSlope 1e"), (1e30, "far beyond Hounsfield units")]
)
def test_a_slope_beyond_all_numbers_is_refused(series, slope, words):
    for path in series:
        edit(path, lambda d: setattr(d, "RescaleSlope", pydicom.valuerep.DSfloat(slope, auto_format=True)))
    with pytest.raises(ValueError, match=words):
        read_dicom(series[0].parent)


@pytest.mark.parametrize(("low", "high"), [(-90, 110), (-1500, 900), (0, 0), (0, 9)])
def test_a_series_of_ours_is_read_as_it_was_written(tmp_path, low, high):
    """This holds for any range: streaks below air, soft tissue alone, a constant."""
    hu = torch.linspace(low, high, int(np.prod(VG.shape))).round().reshape(VG.shape)
    back = read_dicom(write_dicom(tmp_path / "scan", Volume.from_hu(hu, VG)))
    torch.testing.assert_close(back.hu, hu, atol=1e-2, rtol=0)
