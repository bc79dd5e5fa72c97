"""Which units the numbers of a file are in: recognised or refused in a sentence, and the user has the last
word.
"""

import nibabel as nib
import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tomopatch.io.dicom import read_dicom
from tomopatch.io.dicom_writer import write_dicom
from tomopatch.io.nifti import read_nifti
from tomopatch.io.units import UNITS, UnitsError, conclude, known_units, to_hu
from tomopatch.library import load_volume
from tomopatch.volume import MU_WATER, Volume, VolumeGeometry

VG = VolumeGeometry((4, 12, 14), (2.0, 1.0, 1.0))


def body(seed: int = 0, noise: float = 10.0) -> np.ndarray:
    """A body in air [HU] (z, y, x): water with bone in it, and noise."""
    _, y, x = np.meshgrid(*(VG.axis(i).numpy() for i in range(3)), indexing="ij")
    hu = np.where((y / 5) ** 2 + (x / 6) ** 2 < 1, 0.0, -1000.0)
    hu[(y - 1) ** 2 + (x + 2) ** 2 < 4] = 900.0
    return (hu + noise * np.random.default_rng(seed).standard_normal(hu.shape)).astype(np.float32)


def as_units(hu: np.ndarray, units: str) -> np.ndarray:
    mu = MU_WATER * (1 + hu.astype(float) / 1000)
    return {"HU": hu, "1/mm": mu, "1/cm": 10 * mu}[units].astype(np.float32)


def save(path, values: np.ndarray):
    nib.save(nib.Nifti1Image(np.ascontiguousarray(values.T), np.diag([-1.0, -1.0, 2.0, 1.0])), path)
    return path


def dicom(folder, values: np.ndarray, rescale_type: str | None = None, slope: float = 1.0):
    """Values stored as whole numbers of `slope`."""
    write_dicom(folder, Volume.from_hu(np.zeros(VG.shape), VG))
    for path, pixels in zip(sorted(folder.iterdir()), values, strict=True):
        dataset = pydicom.dcmread(path)
        dataset.PixelData = np.round(pixels / slope).astype("<i2").tobytes()
        dataset.RescaleSlope = slope
        dataset.Manufacturer = "Another"
        if rescale_type is None:
            del dataset.RescaleType
        else:
            dataset.RescaleType = rescale_type
        dataset.save_as(path)
    return folder


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(0, 99), st.floats(0, 60), st.sampled_from(list(UNITS)))
def test_a_body_in_air_is_recognised_with_and_without_noise(seed, noise, units):
    found = conclude(as_units(body(seed, noise), units))
    assert found.units == units
    assert "holds values from" in found.why


@pytest.mark.parametrize(
    ("values", "units"),
    [
        (np.linspace(0, 1, 50), "normalised"),
        (np.linspace(-1, 1, 50), "normalised"),
        (np.arange(256, dtype=np.uint8), "grey"),
        (np.arange(3, 240, dtype=np.int16), "grey"),
        (np.arange(65536, dtype=np.uint16), "grey"),
        (np.arange(8, dtype=np.int16), "labels"),
        (np.zeros(50), "labels"),
        (np.linspace(-1e38, 1e38, 50), "unknown"),
        (np.linspace(3000, 3040, 50) + 0.5, "unknown"),
        (np.linspace(-0.7, 0.9, 50), "unknown"),
        (np.linspace(0, 45, 50) + 0.1, "unknown"),  # 1/m
    ],
)
def test_what_is_not_hounsfield_units_is_not_taken_for_them(values, units):
    assert conclude(values).units == units


def test_hounsfield_units_with_an_offset_are_read_with_a_warning():
    found = conclude(np.arange(3000.0))
    assert found.units == "HU"
    assert "stored with an offset" in found.warning


@pytest.mark.parametrize("units", ["1/mm", "1/cm"])
def test_attenuation_is_refused_unless_the_user_says_what_it_is(tmp_path, units):
    path = save(tmp_path / "a.nii.gz", as_units(body(), units))
    with pytest.raises(
        ValueError, match=rf"a\.nii\.gz holds values .*attenuation in {units}.*read it with units {units}"
    ):
        read_nifti(path)
    # float32 in 1/cm and back: 1000 HU / 2^24 per operation
    np.testing.assert_allclose(read_nifti(path, units=units).hu.numpy(), body(), atol=1e-2)
    np.testing.assert_allclose(load_volume(path, units=units).hu.numpy(), body(), atol=1e-2)


def test_noise_below_zero_attenuation_is_kept(tmp_path):
    """-0.001 /mm are -1052 HU, which in a file of Hounsfield units would be padding."""
    mu = np.full(VG.shape, -0.001, np.float32)
    mu[:, 4:8] = 0.03
    hu = read_nifti(save(tmp_path / "a.nii", mu), units="mu").hu
    assert float(hu.min()) == pytest.approx(1000 * (-0.001 / MU_WATER - 1), abs=1e-2)


def test_the_user_is_believed(tmp_path):
    soft = np.linspace(-90, 110, VG.shape[0] * 12 * 14, dtype=np.float32).reshape(VG.shape)  # no air, no bone
    path = save(tmp_path / "a.nii", soft)
    with pytest.raises(ValueError, match="expected Hounsfield units"):
        read_nifti(path)
    np.testing.assert_allclose(read_nifti(path, units="HU").hu.numpy(), soft, atol=1e-3)


def test_the_refusal_carries_the_conclusion_for_a_choice_in_an_app(tmp_path):
    with pytest.raises(UnitsError) as caught:
        read_nifti(save(tmp_path / "a.nii", as_units(body(), "1/cm")))
    assert caught.value.found.units == "1/cm"
    assert caught.value.found.convertible


@pytest.mark.parametrize(("text", "units"), [("HU", "HU"), ("mu", "1/mm"), (" 1/CM", "1/cm"), (None, None)])
def test_units_have_names(text, units):
    assert known_units(text) == units


@pytest.mark.parametrize("units", list(UNITS))
def test_numbers_beyond_all_physics_are_refused_whatever_the_user_says(units):
    found = conclude(np.array([0.0, 1e30]), given=units)
    assert not found.convertible
    assert "far beyond" in found.why


def test_unknown_names_are_answered_with_the_known_ones():
    with pytest.raises(ValueError, match=r"unknown units 'kg'; expected one of HU, 1/mm, 1/cm"):
        known_units("kg")


def test_conversion_is_exact_at_air_and_water():
    assert to_hu(np.array([0, MU_WATER], np.float32), "1/mm") == pytest.approx([-1000, 0], abs=1e-3)
    assert to_hu(np.array([0, 10 * MU_WATER], np.float32), "1/cm") == pytest.approx([-1000, 0], abs=1e-3)


# ---- DICOM --------------------------------------------------------------------------------------


def test_a_rescale_type_that_is_not_hu_is_refused_with_its_name(tmp_path):
    iodine = np.linspace(0, 9, body().size).reshape(VG.shape)
    folder = dicom(tmp_path / "a", iodine, "MGML", slope=0.01)
    with pytest.raises(
        ValueError, match=r"CT series 1 says that its values are of type 'MGML'; expected Hounsfield"
    ):
        read_dicom(folder)


@pytest.mark.parametrize("rescale_type", [None, "US"])
def test_numbers_of_a_dicom_series_are_looked_at_too(tmp_path, rescale_type):
    folder = dicom(tmp_path / "a", as_units(body(), "1/mm"), rescale_type, slope=1e-5)
    with pytest.raises(ValueError, match=r"attenuation in 1/mm"):
        read_dicom(folder)
    # stored in steps of 1e-5 /mm: half a step is 0.26 HU
    np.testing.assert_allclose(read_dicom(folder, units="1/mm").hu.numpy(), body(), atol=0.3)


@pytest.mark.parametrize("rescale_type", [None, "HU", "US", "HU_MOD"])
def test_hounsfield_units_of_every_type_are_read(tmp_path, rescale_type):
    hu = read_dicom(dicom(tmp_path / "a", body(), rescale_type)).hu.numpy()
    np.testing.assert_allclose(hu, np.where(body() < -1024.5, -1000, body()), atol=0.51)


def test_a_series_that_says_hu_may_hold_soft_tissue_alone(tmp_path):
    soft = np.linspace(-90, 110, body().size).reshape(VG.shape)
    np.testing.assert_allclose(read_dicom(dicom(tmp_path / "a", soft, "HU")).hu.numpy(), soft, atol=0.51)


def test_padding_does_not_decide_about_the_units(tmp_path):
    mu = as_units(body(), "1/mm")
    folder = dicom(tmp_path / "a", mu, slope=1e-5)
    for path in folder.iterdir():
        dataset = pydicom.dcmread(path)
        pixels = dataset.pixel_array.copy()
        pixels[0] = -30000  # -0.3 /mm
        dataset.PixelData = pixels.tobytes()
        dataset.add_new("PixelPaddingValue", "SS", -30000)
        dataset.save_as(path)
    with pytest.raises(ValueError, match=r"attenuation in 1/mm"):
        read_dicom(folder)
    assert float(read_dicom(folder, units="mu").hu[:, 0].max()) == pytest.approx(-1000, abs=1e-2)
