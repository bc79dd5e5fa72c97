import math

import numpy as np
import pytest

from tomopatch.geometry.beams import ConeBeam, ParallelBeam
from tomopatch.geometry.fourier_coverage import SECTORS, fourier_coverage
from tomopatch.geometry.visibility import visibility
from tomopatch.volume import VolumeGeometry

VG = VolumeGeometry((8, 64, 64), (2.0, 1.5, 1.5))
D = 80.0


def test_a_parallel_view_measures_the_line_along_its_detector():
    """A wave across x is seen by the detector whose columns run along x, and by no other."""
    pg = ParallelBeam.circular(VG, num_views=12)
    found = fourier_coverage(pg, D)
    for k, theta in enumerate(found.directions):
        across = pg.views().det_u[k]
        along_line = np.array([0.0, math.sin(theta), math.cos(theta)])
        assert abs(across @ along_line) == pytest.approx(np.linalg.norm(across))
        ray = pg.views().source[k]
        assert ray @ along_line == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("degrees", [60, 90, 150, 180])
def test_what_the_range_lacks_is_the_missing_wedge(degrees):
    pg = ParallelBeam.circular(VG, num_views=30, angle_range=math.radians(degrees))
    assert math.degrees(fourier_coverage(pg, D).missing) == pytest.approx(180 - degrees, abs=1.01)


def test_the_first_view_turns_the_wedge():
    turned = [
        fourier_coverage(
            ParallelBeam.circular(VG, num_views=30, angle_range=math.pi / 2, start=start), D
        ).share
        for start in (0.0, math.radians(40))
    ]
    assert np.allclose(np.roll(turned[0], 40), turned[1])


def test_crowther_radius_is_one_over_size_and_angle():
    for n in (10, 40):
        assert fourier_coverage(ParallelBeam.circular(VG, num_views=n), D).crowther == pytest.approx(
            n / (math.pi * D)
        )
    # over a whole turn opposite views of an even number share their lines, and of an odd number they do not
    whole = [
        fourier_coverage(ParallelBeam.circular(VG, num_views=n, angle_range=2 * math.pi), D) for n in (20, 21)
    ]
    assert whole[0].crowther == pytest.approx(10 / (math.pi * D))
    assert whole[1].crowther == pytest.approx(21 / (math.pi * D))


def test_a_cone_from_far_away_is_a_parallel_beam():
    shape, pixel = (8, 100), (2.0, 1.5)
    for degrees in (100, 180):
        scan = {
            "num_views": 40,
            "angle_range": math.radians(degrees),
            "det_shape": shape,
            "pixel_size": pixel,
        }
        far = fourier_coverage(ConeBeam.circular(VG, src_orig_dist=1e6, src_det_dist=1e6, **scan), D)
        flat = fourier_coverage(ParallelBeam.circular(VG, **scan), D)
        assert np.abs(np.subtract(far.share, flat.share)).sum() < 1.5
        assert far.nyquist == pytest.approx(flat.nyquist)


def test_a_fan_needs_half_a_turn_and_its_fan_angle():
    near = {"num_views": 90, "src_orig_dist": 150.0, "src_det_dist": 300.0}
    fan = 2 * math.asin(D / 2 / 150.0)
    half = fourier_coverage(ConeBeam.circular(VG, angle_range=math.pi, **near), D)
    short = fourier_coverage(ConeBeam.circular(VG, angle_range=math.pi + fan + 0.1, **near), D)
    assert min(half.share) > 0  # every direction by some rays,
    assert min(half.share) < 0.6  # but not all by all
    assert min(short.share) == 1
    assert min(fourier_coverage(ConeBeam.circular(VG, **near), D).share) == 1


@pytest.mark.parametrize("shift", [-30.0, 30.0])
def test_rays_of_the_geometry_lie_in_directions_that_count_as_measured(shift):
    """Rays of the scan's own vectors, drawn at random, and the direction and distance that they have."""
    pg = ConeBeam.circular(
        VG,
        num_views=50,
        angle_range=2.0,
        src_orig_dist=150,
        src_det_dist=300,
        det_offset=(0.0, shift),
        det_shape=(1, 60),
    )
    views, share = pg.views(), fourier_coverage(pg, D).share
    rng = np.random.default_rng(3)
    met = np.zeros(SECTORS, bool)
    for _ in range(3000):
        k, u = rng.integers(50), rng.uniform(-30, 30)
        ray = views.det_pos[k] + u * views.det_u[k] - views.source[k]
        _, dy, dx = ray / np.linalg.norm(ray)
        _, y, x = views.source[k]
        if abs(dx * y - dy * x) < D / 2 * 0.95:  # it crosses the object
            met[min(SECTORS - 1, int((math.atan2(-dx, dy) % math.pi) * SECTORS / math.pi))] = True
    assert met.any()
    assert not met.all()
    assert all(share[i] > 0 for i in np.flatnonzero(met))
    unseen = np.flatnonzero(np.array(share) == 0)
    assert len(unseen)
    assert not met[unseen].any()


def test_an_object_without_size_is_refused():
    with pytest.raises(ValueError, match="diameter"):
        fourier_coverage(ParallelBeam.circular(VG, num_views=4), 0.0)


# ---- which voxels the views see -------------------------------------------------------------------

CONE = {"src_orig_dist": 600.0, "src_det_dist": 1000.0}


@pytest.mark.parametrize("shape", [(64, 96, 96), (1, 96, 96), (2, 40, 60)])
def test_a_fitted_detector_sees_the_whole_volume(shape):
    vg = VolumeGeometry(shape, (2.0, 2.0, 2.0))
    for pg in (
        ParallelBeam.circular(vg, num_views=20),
        ConeBeam.circular(vg, num_views=20, **CONE),
        ConeBeam.helical(vg, views_per_turn=60, pitch=30.0, **CONE),
    ):
        assert visibility(vg, pg).remark() is None


def test_a_short_helix_leaves_most_of_the_volume_unseen():
    """Two turns of 10 mm and the beam's own height at the axis, in a volume of 280 mm."""
    vg = VolumeGeometry((70, 64, 64), (4.0, 4.0, 4.0))
    pg = ConeBeam.circular(vg, num_views=120, angle_range=4 * math.pi, pitch=10.0, **CONE)
    beam = pg.det_shape[0] * pg.pixel_size[0] * 600 / 1000
    found = visibility(vg, pg)
    # the beam is higher behind the axis: part of what lies beyond its height at the axis is seen there
    assert found.unseen == pytest.approx(1 - (20 + beam) / 280, abs=0.05)
    assert f"{100 * found.unseen:.0f} % of the volume lies in no view" in (found.remark() or "")


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_rows_that_are_missing_leave_that_share_of_the_slices_unseen(share):
    vg = VolumeGeometry((24, 32, 32))
    pg = ParallelBeam.circular(vg, num_views=10, det_shape=(round(24 * share), 46))
    assert visibility(vg, pg).unseen == pytest.approx(1 - share, abs=0.01)


def test_a_narrow_detector_truncates_and_a_half_fan_does_not():
    vg = VolumeGeometry((8, 64, 64), (2.0, 2.0, 2.0))
    narrow = visibility(vg, ConeBeam.circular(vg, num_views=90, det_shape=(16, 20), **CONE))
    assert narrow.unseen < 0.01
    assert narrow.truncated > 0.3
    assert "fewer than half of the views" in (narrow.remark() or "")
    half = ConeBeam.circular(vg, num_views=90, det_shape=(16, 40), det_offset=(0.0, 50.0), **CONE)
    assert visibility(vg, half).remark() is None


def test_a_scan_that_misses_the_volume_sees_nothing():
    vg = VolumeGeometry((4, 16, 16))
    pg = ParallelBeam.circular(
        vg, num_views=4, det_shape=(4, 4), pixel_size=(1.0, 1.0), det_offset=(0.0, 1e4)
    )
    assert visibility(vg, pg).unseen == 1
