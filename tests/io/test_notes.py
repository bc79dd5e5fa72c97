"""Notes of the readers about what was repaired or left out: collected, or a warning."""

import threading
import warnings

import nibabel as nib
import numpy as np
import pytest

from tests.small_files import image, ramp
from tomopatch.io.dicom import read_dicom
from tomopatch.io.dicom_writer import write_dicom
from tomopatch.io.nifti import read_nifti
from tomopatch.notes import Note, collected, note
from tomopatch.volume import Volume, VolumeGeometry


def test_a_note_that_is_not_collected_is_a_warning():
    with pytest.warns(Note, match="repaired"):
        note("repaired")


def test_notes_are_collected_once_each_and_no_warning_then():
    shown = []
    with warnings.catch_warnings(), collected(shown.append) as notes:
        warnings.simplefilter("error")
        for text in ("a", "b", "a"):
            note(text)
    assert notes == shown == ["a", "b"]
    with pytest.warns(Note):
        note("after")


def test_another_thread_keeps_its_own_notes():
    with collected() as ours:

        def other():
            with collected() as theirs:
                note("theirs")
            assert theirs == ["theirs"]

        thread = threading.Thread(target=other)
        thread.start()
        thread.join(30)
        assert not thread.is_alive()
    assert ours == []


def test_a_repaired_header_is_noted(tmp_path):
    made = image()
    made.set_sform(None, code=0)
    nib.save(made, tmp_path / "a.nii")
    raw = bytearray((tmp_path / "a.nii").read_bytes())
    raw[76:80] = np.float32(0).tobytes()
    (tmp_path / "a.nii").write_bytes(raw)
    with collected() as notes:
        read_nifti(tmp_path / "a.nii")
    assert any("a.nii has a header that was repaired: pixdim[0] was 0, taken as 1" in n for n in notes)


def test_the_series_that_was_chosen_is_noted(tmp_path):
    (tmp_path / "scan").mkdir()
    write_dicom(tmp_path / "scan" / "large", ramp(), description="Chest")
    small = Volume(ramp().data[:3], VolumeGeometry((3, 10, 12), (3.0, 0.7, 0.8)))
    write_dicom(tmp_path / "scan" / "small", small, description="Head")
    with collected() as notes:
        assert read_dicom(tmp_path / "scan").shape == (8, 10, 12)
    assert any("2 CT series were found; the largest was read: Chest" in n for n in notes)
