import math

import numpy as np
import pytest
import torch

from tomopatch import MU_WATER, ConeBeam, ParallelBeam, Projector, Volume, VolumeGeometry, simulate
from tomopatch.geometry.beams import even_angles
from tomopatch.io.projections import Projections
from tomopatch.notes import collected
from tomopatch.physics.corrections import (
    correct_roll,
    estimate_axis,
    estimate_roll,
    line_integrals,
    prepare_projections,
    remove_stripes,
    repair_pixels,
    stripe_amplitude,
    suggested_grid,
)
from tomopatch.physics.corrections.linear import photons_per_count
from tomopatch.progress import last
from tomopatch.reconstruct import fdk


def object_of(vg):
    """An ellipse with two inserts, off the axis."""
    z, y, x = torch.meshgrid(*(vg.axis(i) for i in range(3)), indexing="ij")
    data = 0.02 * ((x - 4) ** 2 / 500 + (y + 3) ** 2 / 300 < 1)
    data = data + 0.03 * ((x - 9) ** 2 + y**2 < 16) - 0.02 * ((x + 5) ** 2 + (y + 5) ** 2 < 25)
    return Volume((data * (1 + 0.02 * z)).float(), vg)


GRID = VolumeGeometry((1, 96, 96), (1.0, 0.7, 0.7))


def fan(columns, det_columns=64):
    """A full turn onto a detector of 115 mm; the axis is off its middle by `columns`."""
    pixel = 115.2 / det_columns
    return ConeBeam(
        even_angles(60, 2 * math.pi), (1, det_columns), (1.5, pixel), 120, 180, (0.0, pixel * columns)
    )


def parallel(offset, rows=1, last_angle=math.pi):
    return ParallelBeam(tuple(np.linspace(0, last_angle, 121)), (rows, 112), (1.0, 0.7), (0.0, offset))


def half_turn(columns):
    return ParallelBeam(tuple(np.linspace(0, math.pi, 61)), (1, 64), (1.0, 1.225), (0.0, 1.225 * columns))


def measured(pg, vg=GRID):
    return simulate(object_of(vg), Projector(vg, pg), photon_count=1e5).projections.numpy()


@pytest.mark.parametrize("pixels", [1.3, -3.47])
@pytest.mark.parametrize("method", ["mirror", "mass", "consistency"])
def test_axis_of_a_half_turn(method, pixels, one_thread):
    found = estimate_axis(measured(half_turn(pixels)), half_turn(0.0), method=method)
    assert found.column == pytest.approx(31.5 - pixels, abs=0.1)
    assert found.uncertainty < 0.1


@pytest.mark.parametrize("pixels", [1.3, -3.47])
def test_axis_of_a_fan_beam(pixels, one_thread):
    found = estimate_axis(measured(fan(pixels)), fan(0.0))
    assert found.method == "consistency"
    assert found.column == pytest.approx(31.5 - pixels, abs=0.05)


def test_auto_takes_the_method_that_suits(one_thread):
    y = measured(parallel(0.7))
    assert estimate_axis(y, parallel(0.0)).method == "mirror"
    short = parallel(0.7, last_angle=2.8)
    assert estimate_axis(measured(short), short).method == "mass"
    with pytest.raises(ValueError, match="half a turn apart"):
        estimate_axis(y, short, method="mirror")
    with pytest.raises(ValueError, match="needs a parallel beam"):
        estimate_axis(measured(fan(0.0)), fan(0.0), method="mass")
    with pytest.raises(ValueError, match="at least 3 views"):
        estimate_axis(y[:, :2], short.subset([0, 1]))


def test_a_short_arc_does_not_determine_the_axis(one_thread):
    pg = ConeBeam(even_angles(30, 0.4), (1, 128), (1.5, 0.9), 120, 180)
    y = measured(pg)
    p = Projections(
        y, "line_integrals", angles=np.asarray(pg.angles), beam="cone", pixel_size=pg.pixel_size,
        src_orig_dist=120.0, src_det_dist=180.0,
    )  # fmt: skip
    with collected() as notes:
        assert prepare_projections(p).record["axis"] == {"column": 63.5, "method": "middle"}
    assert any("do not determine it" in n for n in notes)
    with pytest.raises(ValueError, match="do not determine the rotation axis"):
        prepare_projections(p, axis="auto")


def test_roll_is_found_and_corrected(one_thread):
    vg = VolumeGeometry((48, 96, 96), (1.0, 0.7, 0.7))
    pg = parallel(0.0, rows=48).subset(slice(None, None, 10))
    straight = measured(pg, vg)
    rolled = correct_roll(straight, math.radians(-1.5), pg.pixel_size)
    found = estimate_roll(rolled, pg)
    assert math.degrees(found.angle) == pytest.approx(1.5, abs=0.1)
    back = correct_roll(rolled, found.angle, pg.pixel_size)
    inner = (slice(4, -4), slice(None), slice(8, -8))
    assert np.abs(back[inner] - straight[inner]).mean() < 0.3 * np.abs(rolled[inner] - straight[inner]).mean()


def test_logarithm_of_counts():
    rng = np.random.default_rng(0)
    truth = rng.uniform(0, 2, (3, 4, 5)).astype(np.float32)
    flat = rng.uniform(900, 1100, (1, 3, 5)).astype(np.float32)
    counts = 10 + (flat - 10).transpose(1, 0, 2) * np.exp(-truth)
    p = Projections(counts.astype(np.float32), "counts", dark=np.full((2, 3, 5), 10, np.float32), flat=flat)
    found = line_integrals(p)
    np.testing.assert_allclose(found.y, truth, rtol=1e-4, atol=1e-5)
    open_beam = (flat - 10).transpose(1, 0, 2)
    variance = counts / (counts - 10) ** 2 + flat.transpose(1, 0, 2) / open_beam**2
    np.testing.assert_allclose(found.weights, 1 / variance, rtol=1e-3)


def test_weights_are_inverse_variances():
    rng = np.random.default_rng(1)
    counts = rng.poisson(2000 * np.exp(-0.7), (1, 4000, 3)).astype(np.float32)
    found = line_integrals(Projections(counts, "counts", white=2000.0))
    assert found.weights.mean() * found.y.var() == pytest.approx(1, rel=0.05)
    assert found.photon_count == pytest.approx(2000)


def test_photons_per_count_from_the_flat_frames():
    frames = (
        np.random.default_rng(2).poisson(5000, (20, 8, 50)) / 4 * np.linspace(0.9, 1.1, 20)[:, None, None]
    )
    p = Projections(np.ones((8, 1, 50), np.float32), "counts", flat=frames.astype(np.float32))
    assert photons_per_count(p) == pytest.approx(4, rel=0.15)


def test_other_quantities():
    half = np.full((1, 2, 3), 0.35, np.float32)
    np.testing.assert_allclose(
        line_integrals(Projections(half, "transmission", white=0.7)).y, math.log(2), rtol=1e-5
    )
    np.testing.assert_array_equal(line_integrals(Projections(half, "line_integrals")).y, half)
    intensity = line_integrals(Projections(half, "intensity", background=0.25)).y
    np.testing.assert_allclose(intensity, 0.1, rtol=1e-5)


def test_values_of_zero_or_less_are_replaced_and_counted():
    data = np.array([[[0.5, 0.0, -0.1, 0.2]]], np.float32)
    with collected() as notes:
        found = line_integrals(Projections(data, "transmission"))
    assert found.num_raised == 2
    np.testing.assert_allclose(found.y[0, 0, 1:3], -math.log(0.1), rtol=1e-5)
    assert "2 of 4 values" in notes[0]
    with pytest.raises(ValueError, match="no transmission above zero"):
        line_integrals(Projections(data[..., 1:3], "transmission"))
    with pytest.raises(ValueError, match="white_level"):
        line_integrals(Projections(data, "counts"))


def test_dead_pixels_are_interpolated():
    y = np.broadcast_to(np.arange(12, dtype=np.float32), (4, 10, 12)).copy()
    y += np.arange(10, dtype=np.float32)[:, None]
    truth = y.copy()
    y[1, :, 3] = np.nan  # no value
    y[2, 4, 7] = np.inf  # in one view
    y[3, :, 5] = 2.0  # stuck
    y[0] = np.nan  # a dead row
    repaired, dead = repair_pixels(y)
    np.testing.assert_allclose(repaired[1:], truth[1:], atol=1e-5)
    np.testing.assert_allclose(repaired[0], truth[1])
    assert dead[1:].sum() == 10 + 1 + 10
    y[:, 2] = np.nan
    with pytest.raises(ValueError, match="view 2 has no pixel"):
        repair_pixels(y)


def test_air_that_never_changes_is_not_dead():
    y = np.zeros((2, 10, 12), np.float32) + np.float32(0.01)
    y[:, :, 5:8] += np.random.default_rng(0).random((2, 10, 3), np.float32)
    assert not repair_pixels(y)[1].any()


def test_stripes_fall_and_the_object_stays(one_thread):
    clean = measured(parallel(0.0))
    gains = 0.05 * np.random.default_rng(3).standard_normal(112).astype(np.float32)
    striped = clean + gains
    out = remove_stripes(striped, size=11)
    before, after = (stripe_amplitude(y, size=11) for y in (striped, out))
    assert after < 0.25 * before
    assert np.sqrt(np.square(out - clean).mean()) < 0.7 * np.sqrt(np.square(striped - clean).mean())
    with pytest.raises(ValueError, match="from 3 to 112"):
        remove_stripes(striped, size=1)


def test_prepare_recovers_geometry_and_attenuation(one_thread):
    """From counts with a dead pixel to a fan-beam reconstruction, with flipped rows."""
    pg = fan(2.4, 96)
    y = simulate(object_of(GRID), Projector(GRID, pg)).projections.numpy()
    counts = 5 + 1e4 * np.exp(-y)
    counts[0, :, 40] = np.nan
    p = Projections(
        counts, "counts", angles=np.asarray(pg.angles), white=10005.0, background=5.0, beam="cone",
        pixel_size=pg.pixel_size, src_orig_dist=120.0, src_det_dist=180.0,
    )  # fmt: skip
    with collected() as notes:
        prepared = prepare_projections(p, stripes=False)
    assert prepared.record["dead_pixels"] == 1
    assert any("1 dead pixel was interpolated" in n for n in notes)
    assert prepared.record["axis"]["column"] == pytest.approx(47.5 - 2.4, abs=0.05)
    assert prepared.measurement.geometry.det_offset[1] == pytest.approx(1.2 * 2.4, abs=0.06)
    assert prepared.grid.shape == (1, 96, 96)
    assert prepared.grid.voxel_size[2] == pytest.approx(0.8)
    assert float(prepared.measurement.weights[0, :, 40].max()) == 0
    A = Projector(GRID, prepared.measurement.geometry)
    x = last(fdk(A, prepared.measurement.projections)).x
    truth = object_of(GRID).data
    for region in (np.s_[0, 28:33, 50:57], np.s_[0, 46:50, 59:63]):  # water, and the dense insert on one side
        assert float(x[region].mean()) == pytest.approx(float(truth[region].mean()), rel=0.05)


def test_rows_that_run_down_are_flipped():
    data = np.zeros((3, 4, 5), np.float32)
    data[0] = 1
    p = Projections(data, "line_integrals", angles=np.arange(4.0), axis=2.0)
    with collected():
        assert float(prepare_projections(p).measurement.projections[2].mean()) == 1


def test_an_intensity_is_scaled_to_water():
    """A uniform cylinder of any intensity and any pixel size gets the attenuation of water."""
    u = np.arange(200) - 99.5
    chord = 5000 * 2 * np.sqrt(np.clip(60**2 - u**2, 0, None)).astype(np.float32)
    data = np.broadcast_to(chord, (1, 6, 200))
    p = Projections(data, "intensity", angles=np.linspace(0, 2.5, 6), pixel_size=(1e-5, 1e-5), axis=99.5)
    with collected() as notes:
        prepared = prepare_projections(p)
    y = prepared.measurement.projections
    assert float(y.max()) == pytest.approx(MU_WATER * 120 * 1e-5, rel=0.02)
    assert any("no absolute attenuation" in n for n in notes)


def test_vectors_are_the_same_geometry():
    """A cone beam written as twelve numbers per view, x, y, z, gives the engine's own views."""
    pg = ConeBeam((0.0, 0.7, 2.0), (3, 4), (1.0, 2.0), 50.0, 80.0, (0.0, 1.5))
    views = pg.views()
    vectors = np.concatenate(
        [a[:, ::-1] for a in (views.source, views.det_pos, views.det_u, -views.det_v)], axis=1
    )
    data = np.random.default_rng(0).random((3, 3, 4), np.float32)
    p = Projections(data, "line_integrals", vectors=vectors, beam="cone")
    found = prepare_projections(p).measurement.geometry
    for name in ("source", "det_pos", "det_u", "det_v"):
        np.testing.assert_allclose(getattr(found, name), getattr(views, name), atol=1e-12)
    assert suggested_grid(found).voxel_size == pytest.approx(suggested_grid(pg).voxel_size, rel=0.01)


def test_a_missing_geometry_is_reported():
    data = np.ones((1, 4, 9), np.float32)
    with pytest.raises(ValueError, match="states no angles"):
        prepare_projections(Projections(data, "line_integrals"))
    with pytest.raises(ValueError, match="without distances"):
        prepare_projections(Projections(data, "line_integrals", angles=np.arange(4.0), beam="cone"))
    with pytest.raises(ValueError, match="from 0 to 8"):
        prepare_projections(Projections(data, "line_integrals", angles=np.arange(4.0)), axis=20)
