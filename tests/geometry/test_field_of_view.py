"""Voxels inside the field of view, checked against the detector positions of every view."""

import math

import numpy as np
import pytest
import torch

from tomopatch.geometry.beams import ConeBeam, ParallelBeam
from tomopatch.geometry.field_of_view import field_of_view, inside_field_of_view
from tomopatch.volume import VolumeGeometry

VG = VolumeGeometry((20, 40, 40), (4.0, 4.0, 4.0))
CONE = {"num_views": 90, "src_orig_dist": 300.0, "src_det_dist": 450.0}


def in_every_view(vg, pg):
    """Whether each voxel's centre is projected onto the detector in all views, bool (z, y, x)."""
    views = pg.views()
    points = np.stack(np.meshgrid(*(vg.axis(i).numpy() for i in range(3)), indexing="ij"), -1).reshape(-1, 3)
    seen = np.ones(len(points), bool)
    for k in range(views.num_views):
        u, v, centre = views.det_u[k], views.det_v[k], views.det_pos[k]
        normal = np.cross(u, v)
        ray = points - views.source[k] if views.cone else np.broadcast_to(views.source[k], points.shape)
        start = views.source[k] if views.cone else points
        hit = start + (((centre - start) @ normal) / (ray @ normal))[:, None] * ray - centre
        rows, columns = views.det_shape
        seen &= (np.abs(hit @ v / (v @ v)) <= rows / 2) & (np.abs(hit @ u / (u @ u)) <= columns / 2)
    return torch.from_numpy(seen.reshape(vg.shape))


@pytest.mark.parametrize(
    "pg",
    [
        ParallelBeam.circular(VG, num_views=90, angle_range=2 * math.pi, det_shape=(12, 25)),
        ParallelBeam.circular(VG, num_views=90, angle_range=2 * math.pi, det_shape=(20, 40), tilt=0.3),
        ConeBeam.circular(VG, det_shape=(20, 60), pixel_size=(4.0, 4.0), **CONE),
        ConeBeam.circular(VG, det_shape=(16, 30), det_offset=(8.0, 0.0), **CONE),
        ConeBeam.circular(VG, det_shape=(24, 60), tilt=-0.2, **CONE),
    ],
    ids=["parallel", "tilted parallel", "cone", "shifted cone", "tilted cone"],
)
def test_the_mask_holds_the_voxels_that_every_view_sees(pg):
    inside, expected = inside_field_of_view(VG, pg), in_every_view(VG, pg)
    assert 0 < float(inside.double().mean()) < 1
    assert not bool((inside & ~expected).any())
    # between the views a circle of the mask lies inside the polygon that the views see
    assert float((inside == expected).double().mean()) > 0.97


def test_a_fitted_detector_sees_the_whole_grid():
    assert inside_field_of_view(VG, ParallelBeam.circular(VG, num_views=9)) is None
    assert inside_field_of_view(VG, ConeBeam.circular(VG, **CONE)) is None
    assert inside_field_of_view(VG, ConeBeam.helical(VG, views_per_turn=30, pitch=30.0)) is None


def test_a_shifted_detector_counts_with_its_longer_side_over_a_whole_turn():
    turn = {"det_shape": (20, 20), "det_offset": (0.0, 30.0), "num_views": 60}
    pg = ParallelBeam.circular(VG, angle_range=2 * math.pi, **turn)
    inside = inside_field_of_view(VG, pg)
    y, x = torch.meshgrid(VG.axis(1), VG.axis(2), indexing="ij")
    assert torch.equal(inside[10], torch.hypot(y, x) <= field_of_view(pg).radius)
    half = inside_field_of_view(VG, ParallelBeam.circular(VG, angle_range=math.pi, **turn))
    assert int(half.sum()) < int(inside.sum())


def test_a_short_helix_does_not_measure_the_ends():
    pg = ConeBeam.circular(VG, angle_range=2 * math.pi, pitch=30.0, **CONE)
    inside = inside_field_of_view(VG, pg)
    slices = inside.any(2).any(1)
    assert bool(slices[10])
    assert not bool(slices[0])
    assert not bool(slices[-1])


def test_a_free_orbit_has_no_field_of_view():
    pg = ParallelBeam.circular(VG, num_views=9, det_shape=(4, 4))
    assert inside_field_of_view(VG, pg.views()) is None
