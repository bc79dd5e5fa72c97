"""Data of the volume rendering against NumPy and SciPy: packed voxels, visible blocks, the outside."""

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

import pages.ui.viewer

pytestmark = pytest.mark.browser
FOLDER = Path(pages.ui.viewer.__file__).parent
BLOCK = 8


@pytest.fixture(scope="module")
def script(browser):
    page = browser.new_page()
    for part in ("gestures", "presets", "packing"):
        page.add_script_tag(content=(FOLDER / f"viewer_{part}.js").read_text("utf-8"))

    def run(code, hu=None, *more):
        values = None if hu is None else np.asarray(hu).ravel().tolist()
        call = f"([hu, shape, more]) => {{ const volume = hu && Int16Array.from(hu); {code} }}"
        return page.evaluate(call, [values, None if hu is None else list(np.shape(hu)), list(more)])

    yield run
    page.close()


def test_voxels_are_the_closest_half_floats(script):
    hu = np.arange(-32768, 32768).reshape(16, 64, 64)
    found = script("const p = packHalves(volume, shape); return [p.shape, [...p.halves]];", hu)
    assert found[0] == [16, 64, 64]
    values = np.array(found[1], "<u2").view("<f2").astype(np.float64)
    assert np.array_equal(values, (hu.ravel() / 1000).astype("<f2").astype(np.float64))
    assert np.abs(values - hu.ravel() / 1000)[np.abs(hu.ravel()) <= 2000].max() <= 0.0005  # half a HU


def test_a_volume_beyond_the_limit_of_the_card_is_subsampled(script):
    hu = np.random.default_rng(1).integers(-1000, 1000, (5, 7, 4))
    shape, halves = script("const p = packHalves(volume, shape, 2); return [p.shape, [...p.halves]];", hu)
    assert shape == [3, 4, 2]
    assert np.array_equal(
        np.array(halves, "<u2").view("<f2").reshape(shape), (hu[::2, ::2, ::2] / 1000).astype("<f2")
    )


def test_blocks_hold_the_range_of_all_voxels_that_interpolation_reads(script):
    hu = np.random.default_rng(2).integers(-1000, 2000, (9, 17, 20)).astype("<i2")
    found = script("const b = blockRanges(volume, shape); return [b.shape, [...b.low], [...b.high]];", hu)
    shape, low, high = found[0], *(np.array(v).reshape(found[0]) for v in found[1:])
    assert shape == [2, 3, 3]
    for index in np.ndindex(*shape):
        near = tuple(slice(max(0, BLOCK * i - 1), BLOCK * (i + 1) + 1) for i in index)
        assert low[index] == hu[near].min()
        assert high[index] == hu[near].max()


def test_only_blocks_with_opacity_are_visible(script):
    code = """const stops = stopsOf(more[0], { level: 0, width: 1000 });
      return [...visibleBlocks({ low: Int16Array.from(hu), high: Int16Array.from(more[1]) }, stops)];"""
    low, high = [-1000, -1000, 300, 3000], [-990, 3000, 310, 3000]
    assert script(code, low, "bone", high) == [0, 255, 255, 255]
    assert script(code, [-1000, 40], "bone", [100, 60]) == [0, 0]  # soft tissue
    assert script(code, [-1000, 40], "soft", [-200, 60]) == [0, 255]
    assert script(code, [-1000, 0], "window", [-600, 100]) == [0, 255]


def test_lungs_and_air_in_front_of_the_first_slice_are_not_outside(script):
    hu = np.full((20, 40, 40), -1000)
    hu[:, 6:34, 6:34] = 40
    hu[:, 12:28, 12:28] = -850  # open at the first and the last slice
    found = script("const a = outsideAir(volume, shape); return [a.size, a.shape, [...a.outside]];", hu)
    size, outside = found[0], np.array(found[2]).reshape(found[1])
    assert size == 1
    air = hu < -500
    labels, _ = ndimage.label(air)
    around = labels == labels[0, 0, 0]
    assert (outside[around] == 255).all()
    assert (outside[:, 12:28, 12:28] == 0).all()
    # it reaches two cells into the body, whose border has the HU of lungs
    wanted = ndimage.binary_dilation(around, iterations=2)
    assert np.array_equal(outside == 255, wanted)


def test_the_object_is_found_within_its_volume(script):
    hu = np.full((16, 64, 64), -1000)
    hu[:, 24:40, 8:56] = 0
    box = script("return objectBox(blockRanges(volume, shape));", hu)
    assert box["low"][0] == 0
    assert box["up"][0] == 1
    assert box["low"][1:] == pytest.approx([24 / 64, 8 / 64], abs=BLOCK / 64)
    assert box["up"][1:] == pytest.approx([40 / 64, 56 / 64], abs=BLOCK / 64)
    assert script("return objectBox(blockRanges(volume, shape));", np.full((8, 8, 8), -1000)) == {
        "low": [0, 0, 0],
        "up": [1, 1, 1],
    }
