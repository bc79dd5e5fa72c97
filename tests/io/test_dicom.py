"""DICOM: what is written is read back, by us and by others; every broken series is refused by name."""

import io
import random
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
import torch
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEG2000Lossless, RLELossless, generate_uid

from tomopatch.io import files, slices
from tomopatch.io.dicom import images, list_series, read_dicom
from tomopatch.io.dicom_writer import write_dicom
from tomopatch.io.nifti import read_nifti, write_nifti
from tomopatch.volume import Volume, VolumeGeometry

VG = VolumeGeometry((6, 8, 10), (2.5, 0.7, 0.8), (3.0, -4.0, 5.0))


@pytest.fixture(scope="module")
def volume() -> Volume:
    """Whole Hounsfield units, no two voxels alike."""
    hu = torch.arange(6 * 8 * 10, dtype=torch.float32).reshape(VG.shape) * 4 - 1000
    return Volume.from_hu(hu, VG)


@pytest.fixture
def series(tmp_path, volume) -> list[Path]:
    return sorted(write_dicom(tmp_path / "scan", volume).iterdir())


def edit(path: Path, **values) -> None:
    """Change tags of a file; None deletes."""
    dataset = pydicom.dcmread(path)
    for keyword, value in values.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    dataset.save_as(path)


def same(a: Volume, b: Volume, atol: float = 1e-3) -> bool:
    # float32 holds mu, whose last digit is worth 1e-4 HU
    sizes = np.allclose(a.geometry.voxel_size, b.geometry.voxel_size, rtol=0, atol=1e-5)
    return a.shape == b.shape and sizes and torch.allclose(a.hu, b.hu, rtol=0, atol=atol)


# ---- what is right ------------------------------------------------------------------------------


def test_round_trip_keeps_mm_and_hu_and_centres_the_volume(series, volume):
    back = read_dicom(series[0].parent)
    assert same(back, volume)
    assert back.geometry.pos == (0, 0, 0)


def test_fractions_of_a_unit_are_rounded(tmp_path):
    hu = torch.rand(VG.shape, generator=torch.Generator().manual_seed(0)) * 3000 - 1000
    assert same(
        read_dicom(write_dicom(tmp_path / "a", Volume.from_hu(hu, VG))), Volume.from_hu(hu, VG), atol=0.501
    )


def test_another_reader_sees_the_same_voxels_at_the_same_places(series, volume):
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(series[0].parent)))
    image = reader.Execute()
    assert np.abs(sitk.GetArrayFromImage(image) - volume.hu.numpy()).max() < 1e-3
    for index in ((0, 0, 0), (5, 7, 9)):  # ITK speaks LPS (x, y, z)
        ours = [float(VG.axis(axis)[index[axis]]) for axis in (2, 1, 0)]
        assert image.TransformIndexToPhysicalPoint(index[::-1]) == pytest.approx(ours, abs=1e-5)


def test_names_and_order_of_files_do_not_matter(tmp_path, series, volume):
    order = list(range(len(series)))
    random.Random(1).shuffle(order)
    (tmp_path / "shuffled").mkdir()
    for name, k in enumerate(order):
        shutil.copy(series[k], tmp_path / "shuffled" / f"{name}")
        edit(tmp_path / "shuffled" / f"{name}", InstanceNumber=name)
    assert same(read_dicom(tmp_path / "shuffled"), volume)


def test_dicom_and_nifti_of_a_volume_are_the_same_volume(tmp_path, series, volume):
    nifti = read_nifti(write_nifti(tmp_path / "a.nii.gz", volume))
    assert same(read_dicom(series[0].parent), nifti)


@pytest.mark.parametrize("kind", ["folder", "zip", "uploads", "open files", "zip upload"])
def test_every_way_to_hand_over_a_series(tmp_path, series, volume, kind):
    archive = shutil.make_archive(str(tmp_path / "a"), "zip", series[0].parent)
    uploads = [(p.name, p.read_bytes()) for p in reversed(series)]
    source = {
        "folder": tmp_path / "scan",
        "zip": archive,
        "uploads": uploads,
        "open files": [(name, io.BytesIO(content)) for name, content in uploads],
        "zip upload": [("a.zip", Path(archive).read_bytes())],
    }[kind]
    assert same(read_dicom(source), volume)


@pytest.mark.parametrize(
    ("rows", "columns"),
    [((0, 1, 0), (0, 0, -1)), ((1, 0, 0), (0, 0, -1)), ((0, -1, 0), (0, 0, 1)), ((-1, 0, 0), (0, 1, 0))],
)
def test_sagittal_coronal_and_flipped_acquisitions_become_the_same_volume(
    tmp_path, series, volume, rows, columns
):
    row, column = np.array(rows, float), np.array(columns, float)  # LPS, along column and row index
    normal = np.cross(row, column)
    data = volume.hu.numpy().transpose(2, 1, 0)  # (x, y, z)
    axes = [int(np.abs(v).argmax()) for v in (normal, column, row)]
    cut = data.transpose(axes)[
        tuple(slice(None, None, int(v[a])) for v, a in zip((normal, column, row), axes, strict=True))
    ]
    size = np.array(VG.voxel_size[::-1])
    template = pydicom.dcmread(series[0])
    uid = generate_uid()
    folder = tmp_path / "turned"
    folder.mkdir()
    for k, pixels in enumerate(cut):
        template.SOPInstanceUID = template.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        template.SeriesInstanceUID = uid
        template.ImageOrientationPatient = [*rows, *columns]
        template.ImagePositionPatient = [float(v) for v in normal * size[axes[0]] * k]
        template.PixelSpacing = [float(size[axes[1]]), float(size[axes[2]])]
        template.Rows, template.Columns = pixels.shape
        template.PixelData = pixels.round().astype("<i2").tobytes()
        template.save_as(folder / f"{k}.dcm")
    assert same(read_dicom(folder), volume)


def enhanced(series: list[Path], target: Path) -> Path:
    """The series as one multi-frame file with its frames in reverse."""
    slices = [pydicom.dcmread(p) for p in reversed(series)]
    one = slices[0]
    frames = []
    for s in slices:
        frame, plane = Dataset(), Dataset()
        plane.ImagePositionPatient = s.ImagePositionPatient
        frame.PlanePositionSequence = Sequence([plane])
        frames.append(frame)
    shared, orientation, measures, values = Dataset(), Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient = one.ImageOrientationPatient
    measures.PixelSpacing = one.PixelSpacing
    values.RescaleSlope, values.RescaleIntercept = one.RescaleSlope, one.RescaleIntercept
    shared.PlaneOrientationSequence = Sequence([orientation])
    shared.PixelMeasuresSequence = Sequence([measures])
    shared.PixelValueTransformationSequence = Sequence([values])
    for keyword in (
        "ImagePositionPatient",
        "ImageOrientationPatient",
        "PixelSpacing",
        "RescaleSlope",
        "RescaleIntercept",
    ):
        delattr(one, keyword)
    one.SOPClassUID = one.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2.1"
    one.NumberOfFrames = len(slices)
    one.PerFrameFunctionalGroupsSequence = Sequence(frames)
    one.SharedFunctionalGroupsSequence = Sequence([shared])
    one.PixelData = one.PixelData + b"".join(s.PixelData for s in slices[1:])
    one.save_as(target)
    return target


def test_an_enhanced_multi_frame_file_is_the_same_volume(tmp_path, series, volume):
    target = enhanced(series, tmp_path / "enhanced.dcm")
    assert list_series(target)[0].shape == VG.shape
    assert same(read_dicom(target), volume)


def test_a_multi_frame_file_without_positions_is_refused(tmp_path, series):
    target = enhanced(series, tmp_path / "enhanced.dcm")
    edit(target, PerFrameFunctionalGroupsSequence=None)
    with pytest.raises(ValueError, match=r"enhanced\.dcm has 6 frames but no positions"):
        read_dicom(target)


def test_lossless_compression_without_extras_is_read(series, volume):
    for path in series:
        dataset = pydicom.dcmread(path)
        dataset.compress(RLELossless)
        dataset.save_as(path)
    assert same(read_dicom(series[0].parent), volume)


@pytest.mark.parametrize("marked", [("SS", -2000), ("US", 2**16 - 2000)])  # scanners write both
def test_rescale_and_padding_become_hounsfield_units(series, volume, marked):
    for path in series:
        dataset = pydicom.dcmread(path)
        raw = dataset.pixel_array.astype(np.int32) // 2 + 1024
        raw[0, 0], raw[0, 1] = -2000, 10  # marked as padding; and far below any tissue
        dataset.PixelData = raw.astype("<i2").tobytes()
        dataset.RescaleSlope, dataset.RescaleIntercept = 2, -2048
        dataset.Manufacturer = "Another"  # our own series have no padding
        dataset.add_new("PixelPaddingValue", *marked)
        dataset.save_as(path)
    hu = read_dicom(series[0].parent).hu
    assert torch.allclose(hu[:, 1:], volume.hu[:, 1:], atol=1e-3)
    assert torch.allclose(hu[:, 0, :2], torch.tensor(-1000.0), atol=1e-3)


def test_padding_counts_only_where_it_is_marked(series):
    for path in series:
        dataset = pydicom.dcmread(path)
        dataset.add_new("PixelPaddingValue", "SS", 100)
        dataset.save_as(path)
    hu = read_dicom(series[0].parent).hu
    marked = torch.isclose(hu, torch.tensor(-1000.0), atol=0.1).sum()
    assert marked == 2  # the one voxel of 100 HU, and the one that was -1000 from the start


def test_the_largest_ct_series_is_the_default_and_others_can_be_chosen(tmp_path, volume):
    write_dicom(
        tmp_path / "a", Volume.from_hu(volume.hu[:3].clone(), VolumeGeometry((3, 8, 10), VG.voxel_size))
    )
    for path in write_dicom(tmp_path / "b", volume).iterdir():
        shutil.copy(path, tmp_path / "a" / f"b{path.name}")
    listed = list_series(tmp_path / "a")
    assert [(s.num_slices, s.is_default) for s in listed] == [(6, True), (3, False)]
    assert read_dicom(tmp_path / "a").shape == (6, 8, 10)
    assert read_dicom(tmp_path / "a", listed[1].uid).shape == (3, 8, 10)
    with pytest.raises(ValueError, match=r"no series 1\.2\.3; expected one of"):
        read_dicom(tmp_path / "a", "1.2.3")


def test_localizers_and_other_files_are_left_out(series, volume):
    folder = series[0].parent
    shutil.copy(series[0], folder / "scout.dcm")
    edit(folder / "scout.dcm", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    (folder / "notes.txt").write_text("not DICOM")
    assert same(read_dicom(folder), volume)


def test_nothing_of_the_patient_is_kept(series):
    for path in series:
        edit(path, PatientName="DOE^JANE", PatientID="4711", SeriesDescription="chest <b>DOE</b>|x")
    read = read_dicom(series[0].parent)
    assert "DOE" not in read.name
    assert "4711" not in read.name
    assert not set("<>|") & set(list_series(series[0].parent)[0].description)


def test_uneven_slices_are_interpolated_and_said_so(series):
    for k, path in enumerate(series):  # a ramp along z stays a ramp
        dataset = pydicom.dcmread(path)
        z = 2.5 * k + (0.4 if k in (2, 3) else 0)
        dataset.ImagePositionPatient = [0, 0, z]
        dataset.PixelData = np.full((8, 10), round(100 * z), "<i2").tobytes()
        dataset.save_as(path)
    with pytest.warns(UserWarning, match=r"2\.1 to 2\.9 mm apart; interpolated"):
        read = read_dicom(series[0].parent)
    assert read.geometry.voxel_size[0] == pytest.approx(2.5)
    assert torch.allclose(read.hu[:, 0, 0], torch.arange(6) * 250.0, atol=0.01)


def test_a_series_turned_a_little_keeps_its_grid_with_a_warning(series, volume):
    tilt(series, np.radians(5), turn_slices=True)
    with pytest.warns(UserWarning, match=r"turned by 5\.0 degrees"):
        assert same(read_dicom(series[0].parent), volume)


# ---- what is refused ----------------------------------------------------------------------------


def tilt(series: list[Path], angle: float, *, turn_slices: bool) -> None:
    """Turn the images about x; the stack either turns with them or keeps going straight up (gantry tilt)."""
    c, s = np.cos(angle), np.sin(angle)
    for k, path in enumerate(series):
        position = [0, -s * 2.5 * k, c * 2.5 * k] if turn_slices else [0, 0, 2.5 * k]
        edit(
            path,
            ImageOrientationPatient=[1, 0, 0, 0, float(c), float(s)],
            ImagePositionPatient=[float(v) for v in position],
        )


def all_of(**values):
    return lambda series: [edit(path, **values) for path in series]


def one_of(**values):
    return lambda series: edit(series[3], **values)


def twice(path):
    shutil.copy(path, path.with_name("copy.dcm"))
    edit(path.with_name("copy.dcm"), SOPInstanceUID=generate_uid())


def truncate(series):
    series[3].write_bytes(series[3].read_bytes()[:-40])


def only_text(series):
    for path in series:
        path.write_text("not DICOM")


def swap_pixels(series):
    dataset = pydicom.dcmread(series[3])
    dataset.Rows, dataset.Columns = 9, 10
    dataset.PixelData = bytes(180)
    dataset.save_as(series[3])


REFUSED = {
    "a hole": (lambda s: s[3].unlink(), r"hole of 5 mm between slice0003\.dcm and slice0005\.dcm"),
    "a duplicate": (
        lambda s: twice(s[2]),
        r"same place: .*copy\.dcm|copy\.dcm and",
    ),
    "another size": (swap_pixels, r"has a hole of .* about 1 missing"),
    "another spacing": (one_of(PixelSpacing=[0.9, 0.9]), r"different pixel spacing: slice0004\.dcm"),
    "another orientation": (
        one_of(ImageOrientationPatient=[0, 1, 0, 1, 0, 0]),
        r"different orientation: slice0004",
    ),
    "a single slice": (lambda s: [p.unlink() for p in s[1:]], r"single slice \(slice0001\.dcm\)"),
    "another modality": (all_of(Modality="MR"), "modality MR; expected CT"),
    "only localizers": (all_of(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]), "6 localizers"),
    "inverted grey": (one_of(PhotometricInterpretation="MONOCHROME1"), r"slice0004\.dcm .* MONOCHROME1"),
    "no position": (one_of(ImagePositionPatient=None), r"slice0004\.dcm has no usable ImagePositionPatient"),
    "no slope": (one_of(RescaleSlope=None), r"slice0004\.dcm has no usable RescaleSlope"),
    "a slope of zero": (one_of(RescaleSlope=0), r"slice0004\.dcm has a RescaleSlope of 0"),
    "a tilted gantry": (
        lambda s: tilt(s, 0.2, turn_slices=False),
        r"right angle by 11\.5 degrees \(a tilted gantry",
    ),
    "an oblique series": (lambda s: tilt(s, 0.6, turn_slices=True), r"turned by 34\.4 degrees"),
    "a shifted slice": (
        one_of(ImagePositionPatient=[30, 0, VG.axis(0)[3].item()]),
        r"shifted sideways: slice0004\.dcm",
    ),
    "bad directions": (all_of(ImageOrientationPatient=[1, 0, 0, 0, 0, 0]), r"lengths \[1\.0, 0\.0\]"),
    "cut pixels": (truncate, r"slice0004\.dcm has pixels that cannot be decoded"),
    "more than fits": (all_of(Rows=60000, Columns=60000), "million that are read"),
    "no DICOM at all": (only_text, "6 are not DICOM"),
    "no images": (all_of(Rows=None, Modality="SR"), "no images but SR"),
}


@pytest.mark.parametrize("problem", REFUSED)
@pytest.mark.filterwarnings("ignore:The .*pixel data:UserWarning")
def test_a_broken_series_is_refused_in_a_sentence(series, problem):
    break_it, sentence = REFUSED[problem]
    break_it(series)
    with pytest.raises(ValueError, match=sentence):
        read_dicom(series[0].parent)


def test_a_deflated_file_is_refused_before_it_is_inflated(series):
    dataset = pydicom.dcmread(series[0])
    dataset.PixelData = bytes(50_000_000)  # 50 kB when deflated
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.save_as(series[0])
    assert series[0].stat().st_size < 200_000
    with pytest.raises(ValueError, match=r"slice0001\.dcm is stored deflated"):
        list_series(series[0].parent)


def test_a_missing_decoder_is_answered_with_what_to_install(series, monkeypatch):
    for path in series:
        dataset = pydicom.dcmread(path)
        dataset.compress(RLELossless)
        dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless
        dataset.save_as(path)

    class Missing:
        is_available = False

    monkeypatch.setattr(images, "get_decoder", lambda syntax: Missing)
    with pytest.raises(ValueError, match=r"pip install 'tomopatch\[dicom\]'"):
        read_dicom(series[0].parent)


def test_the_cap_counts_all_slices_before_a_pixel_is_decoded(series, monkeypatch):
    monkeypatch.setattr(slices, "MAX_VOXELS", 6 * 8 * 10 - 1)
    monkeypatch.setattr(images, "pixel_array", lambda *_, **__: pytest.fail("a pixel was decoded"))
    with pytest.raises(ValueError, match="CT series 1 declares 6 x 8 x 10 voxels"):
        read_dicom(series[0].parent)


def zip_of(target: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return target


def test_a_zip_bomb_is_refused_by_what_it_declares(tmp_path):
    bomb = zip_of(tmp_path / "bomb.zip", {"a.dcm": bytes(100 << 20)})
    assert bomb.stat().st_size < 1 << 20
    with pytest.raises(ValueError, match=r"bomb\.zip would grow from 0\.1 to 105 MB"):
        read_dicom(bomb)


def test_too_many_files_and_too_many_bytes_are_refused(tmp_path, monkeypatch):
    path = zip_of(tmp_path / "a.zip", {f"{k}": b"x" for k in range(5)})
    monkeypatch.setattr(files, "MAX_FILES", 4)
    with pytest.raises(ValueError, match=r"a\.zip declares 5 files"):
        read_dicom(path)
    monkeypatch.setattr(files, "MAX_FILES", 10)
    monkeypatch.setattr(files, "MAX_BYTES", 4)
    with pytest.raises(ValueError, match=r"a\.zip declares 5 files"):
        read_dicom(path)


def test_a_damaged_zip_member_is_named(tmp_path, series):
    path = zip_of(tmp_path / "a.zip", {p.name: p.read_bytes() for p in series})
    content = bytearray(path.read_bytes())
    content[120:160] = bytes(40)  # within the first member
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"slice0001\.dcm in a\.zip cannot be unpacked"):
        read_dicom(path)


def test_member_paths_never_touch_the_disk(tmp_path, series, volume):
    path = zip_of(tmp_path / "a.zip", {f"../../{p.name}": p.read_bytes() for p in series})
    before = sorted(tmp_path.rglob("*"))
    assert same(read_dicom(path), volume)
    assert sorted(tmp_path.rglob("*")) == before


# ---- writing ------------------------------------------------------------------------------------


def test_what_is_written_says_that_it_is_no_patient(series):
    headers = [pydicom.dcmread(p) for p in series]
    assert len({h.SOPInstanceUID for h in headers}) == len(headers)
    assert len({h.SeriesInstanceUID for h in headers}) == 1
    for h in headers:
        assert list(h.ImageType[:2]) == ["DERIVED", "SECONDARY"]
        assert "not for diagnosis" in h.SeriesDescription
        assert "not for diagnosis" in h.ImageComments


def test_writing_refuses_a_full_folder_and_what_does_not_fit(tmp_path, series, volume):
    with pytest.raises(ValueError, match="not an empty folder"):
        write_dicom(series[0].parent, volume)
    for bad, words in ((40000.0, "DICOM holds"), (float("nan"), "NaN or infinity")):
        with pytest.raises(ValueError, match=words):
            write_dicom(tmp_path / "new", volume.with_data(torch.full(VG.shape, bad)))
    assert [p.name for p in tmp_path.iterdir()] == ["scan"]


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless])
def test_compressed_slices_are_read_as_they_were(tmp_path, syntax):
    if syntax == JPEG2000Lossless:
        pytest.importorskip("openjpeg", reason="needs the extra: pip install 'tomopatch[dicom]'")
    whole = VolumeGeometry((3, 64, 64), (2.0, 1.0, 1.0))
    volume = Volume.from_hu(torch.arange(3 * 64 * 64).reshape(whole.shape) % 3000 - 1000.0, whole)
    folder = write_dicom(tmp_path / "scan", volume)
    for path in folder.iterdir():
        dataset = pydicom.dcmread(path)
        dataset.compress(syntax)
        dataset.save_as(path)
    assert same(read_dicom(folder), volume)
