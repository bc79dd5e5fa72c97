import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.conftest import SCANS
from tomopatch import SCANNERS, ConeBeam, ParallelBeam, VolumeGeometry
from tomopatch.geometry.beams import Views


def test_at_angle_zero_the_ray_runs_from_front_to_back_and_turns_towards_plus_x():
    vg = VolumeGeometry((4, 4, 4))
    views = ParallelBeam.circular(vg, num_views=2).views()  # 0 and 90 degrees
    np.testing.assert_allclose(views.source[0], (0, 1, 0), atol=1e-12)
    np.testing.assert_allclose(views.det_u[0], (0, 0, 1), atol=1e-12)
    np.testing.assert_allclose(views.source[1], (0, 0, -1), atol=1e-12)  # +y has turned to -x
    cone = ConeBeam.circular(vg, num_views=4, src_orig_dist=100, src_det_dist=150).views()
    np.testing.assert_allclose(cone.source[0], (0, -100, 0), atol=1e-9)
    np.testing.assert_allclose(cone.det_pos[0], (0, 50, 0), atol=1e-9)


@pytest.mark.parametrize("name", list(SCANS))
def test_detector_axes_are_orthogonal_and_have_the_pixel_size(name, vg):
    pg = SCANS[name](vg)
    views = pg if isinstance(pg, Views) else pg.views()
    ray = views.det_pos - views.source if views.cone else views.source
    assert np.abs((views.det_u * views.det_v).sum(1)).max() < 1e-9
    if not isinstance(pg, Views):
        np.testing.assert_allclose(np.linalg.norm(views.det_u, axis=1), pg.pixel_size[1])
        np.testing.assert_allclose(np.linalg.norm(views.det_v, axis=1), pg.pixel_size[0])
        if pg.det_offset == (0.0, 0.0):
            assert np.abs((views.det_u * ray).sum(1)).max() < 1e-6


@pytest.mark.parametrize("name", ["parallel", "cone", "cone shifted"])
def test_fitted_detector_sees_every_corner_of_the_volume(name):
    vg = VolumeGeometry((20, 24, 28), (2.0, 1.5, 1.0))
    views = SCANS[name](vg).views()
    half = np.array(vg.size) / 2
    for corner in np.array(np.meshgrid(*[(-h, h) for h in half])).reshape(3, -1).T:
        for k in range(views.num_views):
            normal = np.cross(views.det_u[k], views.det_v[k])
            if views.cone:
                ray = corner - views.source[k]
                hit = views.source[k] + ray * ((views.det_pos[k] - views.source[k]) @ normal) / (ray @ normal)
            else:
                hit = corner
            u = (hit - views.det_pos[k]) @ views.det_u[k] / (views.det_u[k] @ views.det_u[k])
            v = (hit - views.det_pos[k]) @ views.det_v[k] / (views.det_v[k] @ views.det_v[k])
            assert abs(u) <= views.det_shape[1] / 2 + 1e-6
            assert abs(v) <= views.det_shape[0] / 2 + 1e-6


def test_helix_climbs_one_pitch_per_turn(vg):
    views = ConeBeam.helical(vg, views_per_turn=8, pitch=20.0, src_orig_dist=120, src_det_dist=200).views()
    np.testing.assert_allclose(np.diff(views.source[:, 0]), 20.0 / 8)
    assert views.source[0, 0] == pytest.approx(-views.source[-1, 0])  # centred on z = 0
    assert views.source[-1, 0] > vg.size[0] / 2


def test_tilt_raises_the_beam_out_of_the_plane(vg):
    views = ParallelBeam.circular(vg, num_views=3, tilt=0.4).views()
    np.testing.assert_allclose(views.source[:, 0], math.sin(0.4))


def test_subset_and_binning(vg):
    pg = ConeBeam.circular(vg, num_views=8, src_orig_dist=120, src_det_dist=200, det_shape=(40, 60))
    assert pg.subset([5, 1]).angles == (pg.angles[5], pg.angles[1])
    assert pg.subset(slice(None, None, 2)).num_views == 4
    binned = pg.bin(2)
    assert binned.det_shape == (20, 30)
    assert binned.pixel_size == (2 * pg.pixel_size[0], 2 * pg.pixel_size[1])
    with pytest.raises(ValueError, match=r"outside 0\.\.7"):
        pg.subset([8])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda vg: ParallelBeam((), (4, 4), (1, 1)), "angles"),
        (lambda vg: ParallelBeam((0.0,), (0, 4), (1, 1)), "det_shape"),
        (lambda vg: ParallelBeam((0.0,), (4, 4), (1, 0)), "pixel_size"),
        (lambda vg: ParallelBeam((float("inf"),), (4, 4), (1, 1)), "finite"),
        (lambda vg: ParallelBeam.circular(vg, num_views=0), "num_views"),
        (lambda vg: ParallelBeam.limited(vg, num_views=3, angle_range=4.0), "use circular"),
        (
            lambda vg: ConeBeam.circular(vg, num_views=3, src_orig_dist=10, src_det_dist=200),
            "inside the volume",
        ),
        (lambda vg: ConeBeam((0.0,), (4, 4), (1, 1), 100, 50), "nearer"),
        (lambda vg: ConeBeam.helical(vg, views_per_turn=8, pitch=0), "pitch"),
        (lambda vg: ParallelBeam((0.0,), (4, 4), (1, 1), tilt=2.0), "tilt"),
        (lambda vg: ParallelBeam.circular(vg, num_views=3, tilt=math.pi / 2), "tilt must lie"),
        (lambda vg: ParallelBeam(0.5, (4, 4), (1, 1)), "in a row, got float"),
        (lambda vg: ParallelBeam(np.zeros((2, 2)), (4, 4), (1, 1)), "in a row"),
        (lambda vg: ParallelBeam((10**400,), (4, 4), (1, 1)), "angles"),
        (lambda vg: ParallelBeam((0.0,), 4, (1, 1)), "det_shape"),
        (lambda vg: ParallelBeam((0.0,), (4, 10**400), (1, 1)), "det_shape"),
        (lambda vg: ParallelBeam((0.0,), (4, 4), 1.0), "pixel_size"),
        (lambda vg: ParallelBeam.circular(vg, num_views=3, pixel_size=()), "pixel_size"),
        (lambda vg: ParallelBeam.circular(vg, num_views=3, det_offset=5.0), "det_offset"),
        (lambda vg: ParallelBeam.circular(vg, num_views=3, det_shape=()), "det_shape"),
        (lambda vg: ParallelBeam.circular(vg, num_views=10**400), "num_views"),
        (lambda vg: ParallelBeam.circular(vg, num_views=3, angle_range=0.0), "angle_range"),
        (lambda vg: ParallelBeam.circular(vg, num_views=3, start=float("nan")), "start"),
        (lambda vg: ConeBeam.circular(vg, num_views=3, src_det_dist=0), "nearer to the axis"),
        (lambda vg: ConeBeam.circular(vg, num_views=3, src_orig_dist=1e300, src_det_dist=1e300), "nearer"),
        (lambda vg: ConeBeam.circular(vg, num_views=3, pitch=1e300), "pitch"),
        (lambda vg: SCANNERS["cone"].geometry(vg, num_views=0), "num_views"),
        (lambda vg: SCANNERS["cone"].geometry(vg, angle_range=0.0), "angle_range"),
    ],
)
def test_impossible_scans_are_refused_with_a_word(make, words, vg):
    with pytest.raises(ValueError, match=words):
        make(vg)


@pytest.mark.parametrize("name", list(SCANNERS))
def test_every_scanner_scans_something_that_fits_it(name):
    scanner = SCANNERS[name]
    size = {"dental": 220.0, "micro": 60.0}.get(name, 300.0)  # mm
    vg = VolumeGeometry((32, 64, 64), (size / 64 / 1.5,) * 3)
    pg = scanner.geometry(vg, num_views=5)
    assert pg.num_views == 5
    assert scanner.source


@pytest.mark.parametrize(
    "options", [{"pixel_size": (0.0, 1.0)}, {"pixel_size": (1e-300, 1.0)}, {"det_offset": (0.0, 1e308)}]
)
@pytest.mark.parametrize("beam", [ParallelBeam, ConeBeam])
def test_detectors_that_could_never_be_built_are_refused(vg, beam, options):
    with pytest.raises(ValueError, match=r"above 0|of them a side"):
        beam.circular(vg, num_views=4, **options)


def test_angles_may_be_any_row_of_numbers():
    angles = (0.0, 0.5, 1.0)
    for given in (list(angles), np.array(angles), np.array(angles, np.float32), torch.tensor(angles)):
        assert ParallelBeam(given, (4, 4), (1, 1)).angles == angles


def test_the_order_of_a_helix_s_views_does_not_move_them(vg):
    pg = ConeBeam.helical(vg, views_per_turn=8, pitch=20.0, src_orig_dist=120, src_det_dist=200)
    order = np.random.default_rng(0).permutation(pg.num_views)
    shuffled = replace(pg, angles=tuple(pg.angles[k] for k in order)).views()
    np.testing.assert_allclose(shuffled.source, pg.views().source[order], atol=1e-9)
    np.testing.assert_allclose(shuffled.det_pos, pg.views().det_pos[order], atol=1e-9)
