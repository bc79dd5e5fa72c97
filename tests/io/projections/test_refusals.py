"""Impossible projections and files are refused in a sentence that names what is wrong."""

import io

import numpy as np
import pytest

from tomopatch.io.projections import Projections, read_projections
from tomopatch.physics.corrections import prepare_projections

DATA = np.ones((2, 4, 5), np.float32)  # (v, angle, u)
ANGLES = np.arange(4.0)
SCAN = {"data": DATA, "quantity": "line_integrals", "angles": ANGLES}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"data": DATA[0]}, r"shape \(4, 5\); expected \(v, angle, u\)"),
        ({"data": DATA[:, :0]}, "each at least 1"),
        ({"quantity": "hounsfield"}, "quantity 'hounsfield'; expected one of"),
        ({"beam": "pencil"}, "beam 'pencil'; expected parallel, fan or cone"),
        ({"angles": np.arange(5.0)}, r"4 views but angles of shape \(5,\)"),
        ({"angles": np.array([0, 1, np.nan, 3])}, "angles that are NaN or infinite"),
        ({"vectors": np.zeros((4, 9))}, r"vectors of shape \(4, 9\); expected \(4, 12\)"),
        ({"dark": np.zeros((1, 5, 2))}, r"dark frames of shape \(1, 5, 2\); expected \(frame, 2, 5\)"),
        ({"flat": np.zeros((0, 2, 5))}, "flat frames of shape"),
        ({"pixel_size": (1.0, 0.0)}, r"pixel size of \(1.0, 0.0\) mm; expected two lengths"),
        ({"white": 0.0}, "white = 0.0; expected a number above 0"),
        ({"src_det_dist": float("inf")}, "src_det_dist = inf"),
        ({"axis": float("nan")}, "axis = nan; expected a finite number"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_impossible_projections_are_refused(change, words):
    with pytest.raises(ValueError, match=words):
        Projections(**{**SCAN, **change})


@pytest.mark.parametrize("factor", [0, 1.5, -2])
def test_an_impossible_binning_is_refused(factor):
    with pytest.raises(ValueError, match="whole number of at least 1"):
        Projections(**SCAN).bin(factor)


def test_a_direction_with_too_few_pixels_is_not_binned():
    binned = Projections(**SCAN, pixel_size=(1.0, 2.0), axis=2.0).bin(3)
    assert binned.det_shape == (2, 1)
    assert binned.pixel_size == (1.0, 6.0)
    assert binned.axis == pytest.approx((2.0 + 0.5) / 3 - 0.5)


def test_only_a_single_view_is_repeated():
    with pytest.raises(ValueError, match="4 views; expected the single view"):
        Projections(**SCAN).repeated(10)
    single = Projections(DATA[:, :1], "line_integrals")
    with pytest.raises(ValueError, match="1 to 100000 views, got 0"):
        single.repeated(0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"axis": "middle"}, "axis must be a column or \"auto\", got 'middle'"),
        ({"axis": 5.0}, "axis must be a column from 0 to 4, got 5"),
        ({"axis": 2.0, "roll": "auto"}, "roll can be estimated for a parallel beam only"),
        ({"axis": 2.0, "roll": "some"}, "roll must be an angle in rad or \"auto\", got 'some'"),
    ],
)
def test_an_impossible_axis_or_roll_is_refused(options, words):
    fan = Projections(
        **SCAN, beam="cone", pixel_size=(1.0, 1.0), src_orig_dist=50.0, src_det_dist=80.0
    )  # fmt: skip
    with pytest.raises(ValueError, match=words):
        prepare_projections(fan, **options)


# ---- files ------------------------------------------------------------------------------------------------


def tiff(*images, **options):
    tifffile = pytest.importorskip("tifffile")
    out = io.BytesIO()
    with tifffile.TiffWriter(out) as writer:
        for image in images:
            writer.write(image, contiguous=False, **options)
    return out.getvalue()


def zipped(*files):
    import zipfile

    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for k, data in enumerate(files):
            archive.writestr(f"view{k}.tif", data)
    return out.getvalue()


GREY = np.full((3, 5), 100, np.uint16)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (lambda: [tiff(np.zeros((3, 5, 3), np.uint8), photometric="rgb")], "expected grey values"),
        (lambda: [tiff(GREY), tiff(GREY[:2])], r"\(2, 5\) pixels, the first one has \(3, 5\)"),
        (lambda: [tiff(GREY), tiff(GREY, GREY)], "more pages than the first file"),
        (lambda: [tiff(GREY), tiff(GREY)[:40]], "view1.tif cannot be read as TIFF"),
    ],
    ids=["colours", "sizes", "pages", "cut"],
)
def test_images_that_are_no_stack_are_refused(files, words):
    with pytest.raises(ValueError, match=words):
        read_projections(("stack.zip", zipped(*files())))


def mrc(data):
    mrcfile = pytest.importorskip("mrcfile")
    from mrcfile.mrcinterpreter import MrcInterpreter

    assert mrcfile
    out = io.BytesIO()
    made = MrcInterpreter()
    made._iostream = out
    made._create_default_attributes()
    made.set_data(data)
    made.flush()
    return out.getvalue()


def test_an_mrc_file_of_complex_numbers_or_without_a_header_is_refused():
    data = mrc(np.ones((4, 3, 5), np.complex64))
    with pytest.raises(ValueError, match="mode 4; expected real numbers"):
        read_projections(("tilts.mrc", data))
    with pytest.raises(ValueError, match="ends within its header of 1024 bytes"):
        read_projections(("tilts.mrc", data[:500]))
