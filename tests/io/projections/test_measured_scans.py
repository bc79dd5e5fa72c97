"""Real scans in the folder TOMOPATCH_MEASURED: the results must match the known values."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import binary_erosion

from tomopatch import Projector
from tomopatch.io.projections import read_projections
from tomopatch.notes import collected
from tomopatch.physics.corrections import (
    PreparedScan,
    estimate_axis,
    line_integrals,
    prepare_projections,
    repair_pixels,
)
from tomopatch.progress import last
from tomopatch.reconstruct import cgls, fbp, fdk

FOLDER = os.environ.get("TOMOPATCH_MEASURED")
pytestmark = pytest.mark.skipif(FOLDER is None, reason="TOMOPATCH_MEASURED names no folder of measured scans")


def read(name, **options):
    return read_projections(Path(FOLDER) / name, **options)


def prepared_scan(name, **options) -> PreparedScan:
    with collected():
        return prepare_projections(read(name), **options)


def slice_of(prepared, shape):
    """Analytic reconstruction of a scan with one row, or of the middle row, on a grid of this shape."""
    grid = prepared.grid.with_shape(shape)
    A = Projector(grid, prepared.measurement.geometry)
    method = fbp if type(A.pg).__name__ == "ParallelBeam" else fdk
    return grid, last(method(A, prepared.measurement.projections)).x


def test_axis_of_the_tooth():
    prepared = prepared_scan("tooth.npz", axis="auto")
    assert prepared.record["axis"]["method"] == "mass"
    assert prepared.record["axis"]["column"] == pytest.approx(295.6, abs=0.3)
    assert prepared.record["stripes"]["removed"]
    assert prepared.record["stripes"]["after"] < 0.3 * prepared.record["stripes"]["before"]


def test_the_tooth_is_the_same_in_its_own_file():
    npz, h5 = read("tooth.npz"), read("tooth.orig.h5")
    for name in ("data", "dark", "flat"):
        np.testing.assert_array_equal(getattr(npz, name), getattr(h5, name))
    np.testing.assert_allclose(npz.angles, h5.angles)


def test_axis_and_dead_pixel_of_the_diamond():
    prepared = prepared_scan("diamond.npz", axis="auto")
    assert prepared.record["dead_pixels"] == 1
    # the scan has no stripes, and the filter would damage the core
    assert not prepared.record["stripes"]["removed"]
    assert prepared.record["axis"]["method"] == "mirror"
    assert prepared.record["axis"]["column"] == pytest.approx(85.8, abs=0.1)


def test_axis_of_the_needle():
    prepared = prepared_scan("needle.npz", axis="auto")
    assert prepared.record["axis"]["method"] == "mass"
    assert prepared.record["axis"]["column"] == pytest.approx(128.05, abs=0.15)
    assert prepared.record["dead_pixels"] == 0


def test_the_small_needle_is_the_large_one_binned():
    small = read("needle_small.mrc", geometry={"order": "view,u,v"})
    with collected():
        large = read("needle.npz").bin(2)
    np.testing.assert_allclose(small.angles, large.angles[::2], atol=1e-6)
    np.testing.assert_allclose(small.pixel_size, large.pixel_size, rtol=1e-5)
    ours, theirs = small.data, large.data[:, ::2] / 2
    assert max(np.abs(ours - t).mean() for t in (theirs,)) < 0.01 * theirs.max()


def test_the_two_matlab_files_are_parts_of_the_joined_scans():
    for part, joined in (
        ("htc2022_tb.orig.mat", "htc2022_tb.npz"),
        ("htc2022_ta.orig.mat", "htc2022_ta.npz"),
    ):
        part, joined = read(part), read(joined)
        index = [int(np.abs(joined.angles - a).argmin()) for a in part.angles]
        np.testing.assert_allclose(joined.angles[index], part.angles, atol=1e-6)
        np.testing.assert_allclose(joined.data[:, index], part.data, atol=1e-5)


@pytest.mark.slow  # estimating the axis takes long for 549 views
def test_the_acrylic_disc():
    """69.85 mm wide, 0.034 to 0.037 /mm; the axis is centred to within 0.15 pixel."""
    prepared = prepared_scan("htc2022_tb.npz")
    grid, x = slice_of(prepared, (1, 560, 560))
    image = x[0].numpy()
    rim = []
    angles = np.deg2rad(np.arange(0, 180, 3))
    for a in angles:
        r = np.arange(-40, 40, 0.05)
        i = (r * np.sin(a) / grid.voxel_size[1] + 279.5).round().astype(int).clip(0, 559)
        j = (r * np.cos(a) / grid.voxel_size[2] + 279.5).round().astype(int).clip(0, 559)
        inside = r[image[i, j] > 0.018]
        rim.append(inside.max() - inside.min())
    assert float(np.median(rim)) == pytest.approx(69.85, abs=0.3)
    part = prepared.measurement.subset(slice(None, None, 3))
    A = Projector(prepared.grid.with_shape((1, 280, 280)), part.geometry)
    image = last(cgls(A, part.projections, num_iterations=15)).x[0].numpy()
    acrylic = image[binary_erosion(image > 0.018, iterations=4)]
    assert 0.034 <= float(np.median(acrylic)) <= 0.037
    y = prepared.measurement.projections.numpy()
    found = estimate_axis(y, prepared.measurement.geometry)
    assert found.column == pytest.approx(279.5, abs=0.3)


def test_the_neck_of_the_tensile_bar():
    """Neck radius 2.61 mm, 5.06 mm elsewhere."""
    with collected():
        p = read("tensile_bar.npz").repeated(60).bin(2)
        prepared = prepare_projections(p)
    vg = prepared.grid.with_shape((125, 125, 125))
    x = last(fdk(Projector(vg, prepared.measurement.geometry), prepared.measurement.projections)).x
    middle = x[:, 62].numpy()  # (z, x)
    half = 0.5 * np.median(middle[middle > 0.5 * np.percentile(middle, 95)])
    radii = (middle > half).sum(1) * vg.voxel_size[2] / 2
    seen = radii[20:-20]
    assert float(seen.min()) == pytest.approx(2.64, abs=0.15)
    assert float(np.percentile(seen, 80)) == pytest.approx(5.06, abs=0.15)


def test_all_is_finite():
    for name in ("tooth", "diamond", "needle", "htc2022_tc", "htc2022_td", "htc2022_solid_disc"):
        with collected():
            y, _ = repair_pixels(line_integrals(read(f"{name}.npz")).y)
        assert bool(torch.isfinite(torch.from_numpy(y)).all())
