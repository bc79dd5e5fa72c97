"""Phantoms are objects in millimetres: the grid only samples them, and the numbers can be checked."""

import math

import numpy as np
import pytest
import torch

from tomopatch.geometry.beams import ConeBeam, ParallelBeam
from tomopatch.phantoms.anatomy import abdomen, thorax
from tomopatch.phantoms.catalogue import (
    PHANTOMS,
    SPHERES,
    Sphere,
    draw,
    lesions,
    phantom,
    sphere_line_integrals,
)
from tomopatch.phantoms.geometric import geometric
from tomopatch.phantoms.head import head
from tomopatch.phantoms.scene import Material, Scene
from tomopatch.phantoms.trees import branches, curve, points_within
from tomopatch.volume import MU_WATER, VolumeGeometry, area_average

ANATOMY = {"thorax": thorax, "abdomen": abdomen, "head": head}
RANDOM = ANATOMY | {"geometric": geometric}
SMALL = (24, 40, 40)


# ---- the grid only samples ----------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(28, 40, 40), (27, 41, 41)])  # an odd one has voxels on the axis
@pytest.mark.parametrize("name", PHANTOMS)
def test_twice_the_grid_is_the_same_object(name, shape):
    coarse, fine = phantom(name, shape), phantom(name, tuple(2 * n for n in shape))
    assert fine.geometry.size == pytest.approx(coarse.geometry.size)
    averaged = area_average(fine.hu, shape)
    # Edges are shares of a voxel up to the curvature within it: means agree closely, voxels nearly.
    assert abs(float((coarse.hu - averaged).mean())) < 8
    spread = float((averaged - averaged.mean()).square().mean().sqrt())
    assert float((coarse.hu - averaged).square().mean().sqrt()) < 0.12 * spread


@pytest.mark.parametrize("name", PHANTOMS)
def test_voxel_size_crops_but_never_scales(name):
    whole = phantom(name, (16, 24, 24))
    part = phantom(name, (8, 12, 20), voxel_size=whole.geometry.voxel_size)
    assert torch.allclose(part.hu, whole.hu[4:12, 6:18, 2:22], atol=0.5)


@pytest.mark.parametrize("name", PHANTOMS)
def test_attenuation_is_never_negative_and_the_border_is_air(name):
    volume = phantom(name, SMALL)
    assert float(volume.data.min()) >= 0
    edge = torch.cat([volume.hu[:, 0].flatten(), volume.hu[:, :, 0].flatten(), volume.hu[:, :, -1].flatten()])
    assert float(edge.max()) < -990


@pytest.mark.parametrize("name", PHANTOMS)
def test_a_seed_chooses_the_anatomy_and_nothing_else(name):
    first, other = phantom(name, SMALL), phantom(name, SMALL, seed=1)
    assert torch.equal(first.data, other.data) == (name not in RANDOM)
    assert torch.equal(first.data, phantom(name, SMALL).data)
    if name in RANDOM:  # composed anew
        assert torch.allclose(RANDOM[name](0).paint(first.geometry), first.hu, atol=1e-3)


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(ValueError, match=r"no phantom 'foot'.*shepp-logan"):
        phantom("foot")


# ---- the painter --------------------------------------------------------------------------------

BOX = VolumeGeometry((40, 40, 40), (2.0, 1.5, 1.0))
COVERED = {
    "ellipsoid": (
        lambda s: s.ellipsoid((3, 2, 1), (20, 15, 10), Material(0)),
        4 / 3 * math.pi * 20 * 15 * 10,
    ),
    "turned": (
        lambda s: s.ellipsoid((0, 0, 0), (20, 9, 14), Material(0), turn=(30, 20, 10)),
        4 / 3 * math.pi * 20 * 9 * 14,
    ),
    "box": (lambda s: s.box((1, 2, 3), (10.3, 7.7, 5.1), Material(0)), 8 * 10.3 * 7.7 * 5.1),
    "cylinder": (lambda s: s.cylinder((0, 0, 0), 12.3, 17.7, Material(0)), math.pi * 12.3**2 * 35.4),
    "rod": (
        lambda s: s.capsule((-9, -8, -7), (12, 10, 8), 6.0, Material(0)),
        math.pi * 36 * math.dist((-9, -8, -7), (12, 10, 8)) + 4 / 3 * math.pi * 216,
    ),
}


@pytest.mark.parametrize("shape", COVERED)
def test_a_primitive_covers_its_volume(shape):
    draw, volume = COVERED[shape]
    scene = Scene()
    draw(scene)
    covered = float((scene.paint(BOX) / 1000 + 1).double().sum()) * math.prod(BOX.voxel_size)
    assert covered == pytest.approx(volume, rel=0.01)


def test_a_rod_thinner_than_a_voxel_keeps_its_mass():
    scene = Scene()
    scene.capsule((-25, 3.3, 4.4), (25, -6.1, 2.2), 0.4, Material(0))
    covered = float((scene.paint(BOX) / 1000 + 1).double().sum()) * math.prod(BOX.voxel_size)
    length = math.dist((-25, 3.3, 4.4), (25, -6.1, 2.2))
    assert covered == pytest.approx(math.pi * 0.4**2 * length, rel=0.25)


def test_texture_has_the_stated_spread_and_is_averaged_with_the_voxel():
    scene = Scene(3)
    scene.box((0, 0, 0), (500, 500, 500), Material(0, coarse=20, fine=0))
    fine = scene.paint(VolumeGeometry((96, 96, 96), (1.5, 1.5, 1.5)))
    assert float(fine.std()) == pytest.approx(20, rel=0.15)
    coarse = scene.paint(VolumeGeometry((48, 48, 48), (3.0, 3.0, 3.0)))
    assert torch.allclose(area_average(fine, (48, 48, 48)), coarse, atol=0.5)


def test_later_primitives_cover_earlier_ones_and_added_ones_add():
    scene = Scene()
    scene.box((0, 0, 0), (20, 20, 15), Material(100))
    scene.box((0, 0, 0), (10, 10, 8), Material(-50))
    scene.box((0, 0, 0), (5, 5, 4), Material(30), added=True)
    hu = scene.paint(VolumeGeometry((3, 3, 21), (1, 1, 1)))[1, 1]
    assert hu[10].item() == pytest.approx(-20)
    assert hu[4].item() == pytest.approx(-50)
    assert hu[0].item() == pytest.approx(100)


def test_fluid_levels_are_flat_and_gas_lies_in_front():
    scene = Scene()
    scene.ellipsoid((0, 0, 0), (15, 15, 15), Material(10))
    scene.ellipsoid((0, 0, 0), (15, 15, 15), Material(-990), above=-2.5)
    column = scene.paint(VolumeGeometry((1, 21, 1), (1, 1, 1)))[0, :, 0]  # y = -10 .. 10
    assert torch.allclose(column[:8], torch.tensor(-990.0), atol=1)
    assert torch.allclose(column[8:], torch.tensor(10.0), atol=1)


def test_a_tree_reaches_every_target_and_obeys_murrays_law():
    rng = np.random.default_rng(0)
    targets = points_within(rng, (0, 0, 50), (30, 20, 40), 37)
    a, b, radii = branches(rng, (0, 0, 0), targets, 0.5)
    tips = {tuple(p) for p in b}
    assert all(tuple(t) in tips for t in targets)
    assert radii[:, 0].max() ** 3 == pytest.approx(37 * 0.5**3)
    starts = {tuple(p) for p in a}
    assert all(tuple(s) == (0, 0, 0) or tuple(s) in tips for s in starts)  # in one piece


def test_a_curve_runs_through_its_points():
    points = np.array([(0, 0, 0), (5, 9, 1), (10, 2, 3), (20, 0, -4)], dtype=float)
    assert np.allclose(curve(points, 31)[::10], points, atol=1e-6)


# ---- test objects -------------------------------------------------------------------------------


def test_spheres_hold_the_mass_that_their_formula_says():
    volume = phantom("spheres", (72, 72, 72))
    exact = sum(4 / 3 * math.pi * s.radius**3 * s.mu for s in SPHERES)
    assert float(volume.data.double().sum()) * math.prod(volume.geometry.voxel_size) == pytest.approx(
        exact, rel=1e-3
    )


def test_inner_spheres_lie_wholly_in_the_large_one_and_apart():
    for k, a in enumerate(SPHERES[1:], 1):
        assert math.dist(a.centre, (0, 0, 0)) + a.radius < SPHERES[0].radius
        for b in SPHERES[k + 1 :]:
            assert math.dist(a.centre, b.centre) > a.radius + b.radius


def test_the_ray_through_the_middle_sees_the_diameter_in_both_beams():
    vg = VolumeGeometry((41, 41, 41))
    ball = [Sphere((0.0, 0.0, 0.0), 15.0, 0.02)]
    beams = (
        ParallelBeam.circular(vg, num_views=4, det_shape=(41, 61)),
        ConeBeam.circular(vg, num_views=4, det_shape=(41, 61)),
    )
    for beam in beams:
        assert torch.allclose(sphere_line_integrals(ball, beam.views())[20, :, 30], torch.tensor(0.6))


def test_chords_off_centre_follow_from_pythagoras_and_magnification():
    vg = VolumeGeometry((41, 41, 41))
    ball = [Sphere((-6.0, 0.0, 10.0), 5.0, 0.02)]
    parallel = ParallelBeam.circular(vg, num_views=1, det_shape=(41, 61), pixel_size=(1.0, 1.0))
    row = sphere_line_integrals(ball, parallel.views())[:, 0]
    # At angle 0 columns run along +x and rows along +z.
    assert row[14, 40].item() == pytest.approx(0.2)
    assert row[14, 43].item() == pytest.approx(0.02 * 2 * 4)
    assert row[18, 40].item() == pytest.approx(0.02 * 2 * 3)
    assert row[14, 46].item() == 0
    cone = ConeBeam.circular(
        vg, num_views=1, det_shape=(41, 61), pixel_size=(2.0, 2.0), src_orig_dist=500, src_det_dist=1000
    )
    assert sphere_line_integrals(ball, cone.views())[14, 0, 40].item() == pytest.approx(0.2)


def test_line_integrals_over_the_detector_hold_the_mass_of_the_volume():
    vg = VolumeGeometry((90, 90, 90), (2.0, 2.0, 2.0))
    beam = ParallelBeam.circular(vg, num_views=3)
    exact = sum(4 / 3 * math.pi * s.radius**3 * s.mu for s in SPHERES)
    sums = sphere_line_integrals(SPHERES, beam.views()).double().sum((0, 2)) * math.prod(beam.pixel_size)
    assert torch.allclose(sums, torch.tensor(exact, dtype=torch.float64), rtol=1e-3)


def test_shepp_logan_has_the_densities_of_the_table():
    volume = phantom("shepp-logan", (101, 101, 101), (2.0, 2.0, 2.0))

    def at(x, y, z):  # in the table's frame: y to the front
        index = (round(50 + 50 * z), round(50 - 50 * y), round(50 + 50 * x))
        return float(volume.data[index]) / MU_WATER

    assert at(0, 0.90, 0) == pytest.approx(2.0, abs=0.02)  # skull
    assert at(0, -0.3, 0.0) == pytest.approx(1.02, abs=0.02)  # brain
    assert at(0.22, 0, 0) == pytest.approx(0.82, abs=0.02)  # ventricles
    assert at(-0.22, 0, 0) == pytest.approx(0.82, abs=0.02)
    assert at(0, 0.5, -0.1) == pytest.approx(1.12, abs=0.02)  # the bright ball in front
    assert at(-0.22 - 0.12 * math.sin(0.31), 0.30, 0) == pytest.approx(0.82, abs=0.02)  # leans outwards
    assert at(0, 0.98, 0) == 0


def test_defrise_discs_repeat_along_z():
    line = phantom("defrise", (176, 4, 4), (1.0, 1.0, 1.0)).hu[:, 1, 1]
    inside = line > -500
    starts = torch.nonzero(inside[1:] & ~inside[:-1]).flatten()
    assert len(starts) == 7
    assert (starts[1:] - starts[:-1] == 24).all()
    assert int(inside.sum()) == 7 * 12


@pytest.mark.parametrize(
    ("width", "y"), [(8.0, -60), (6.0, -36), (4.0, -12), (3.0, 12), (2.0, 36), (1.5, 60)]
)
def test_bars_come_in_fours_of_their_width(width, y):
    line = draw("bars", VolumeGeometry((1, 1, 320), (1.0, 1.0, 0.25), (-36, y, -40))).hu[0, 0]
    bars = line > 500
    assert int((bars[1:] & ~bars[:-1]).sum()) == 4
    assert float(bars.sum()) * 0.25 == pytest.approx(4 * width, abs=0.5)


# ---- anatomy ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ANATOMY)
@pytest.mark.parametrize("seed", [0, 1])
def test_lesions_are_where_they_are_said_to_be(name, seed):
    found, scene = lesions(name, seed), ANATOMY[name](seed)
    assert found
    for lesion in found:
        around = scene.paint(VolumeGeometry((3, 3, 3), (lesion.radius / 4,) * 3, lesion.centre))
        assert float(around.mean()) == pytest.approx(lesion.hu, abs=60)
        assert abs(lesion.centre[0]) < 140  # mm: in the field of view


def test_different_seeds_hide_lesions_in_different_places():
    assert len({lesions("head", seed)[0].centre for seed in range(5)}) == 5


def test_a_window_around_a_lesion_shows_it_in_the_same_place():
    lesion = lesions("head", 1)[0]
    window = draw("head", VolumeGeometry((9, 9, 9), (1.0, 1.0, 1.0), lesion.centre), seed=1)
    assert window.geometry.pos == lesion.centre
    assert float(window.hu[4, 4, 4]) == pytest.approx(lesion.hu, abs=30)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_trunk_lies_as_patients_lie(seed):
    volume = phantom("thorax", (56, 100, 100), seed=seed)
    hu, (z, y, x) = volume.hu, (volume.geometry.axis(k) for k in range(3))

    def middle(mask, axis, positions):
        return float((mask.sum([a for a in range(3) if a != axis]) * positions).sum() / mask.sum())

    lung = (hu > -950) & (hu < -700) & (z > -20)[:, None, None]
    assert 0.03 < float(lung.double().mean()) < 0.2
    low = (z < -60)[:, None, None] & (hu > 20) & (hu < 140)
    assert middle(low, 2, x) < -10  # the liver is on the right, x < 0
    heart = (
        ((z > -60) & (z < -20))[:, None, None] & (hu > 20) & (hu < 300) & (x.abs() < 80) & (y < 10)[:, None]
    )
    assert middle(heart, 2, x) > 5  # the heart on the left
    assert middle(hu > 400, 1, y) > 10  # the spine at the back
    assert middle(lung, 0, z) > middle(low, 0, z)


@pytest.mark.parametrize("name", ANATOMY)
def test_tissues_have_the_values_that_scanners_show(name):
    volume = phantom(name, (40, 128, 128))
    hu = volume.hu

    def share(low, high):
        return float(((hu > low) & (hu < high)).double().mean())

    assert share(-1001, -950) > 0.3  # air around
    assert share(20, 80) > 0.05  # soft tissue
    assert share(-130, -70) > 0.01  # fat
    assert share(300, 3100) > 0.01  # bone
    assert share(-700, -250) < 0.06  # hardly anything in between but edges
    assert float(hu.max()) < 3100


# ---- random geometric phantoms ------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_geometric_phantoms_are_piecewise_constant_and_surrounded_by_air(seed):
    volume = phantom("geometric", (40, 64, 64), seed=seed)
    hu = volume.hu
    edge = torch.cat([hu[[0, -1]].flatten(), hu[:, [0, -1]].flatten(), hu[:, :, [0, -1]].flatten()])
    assert float(edge.max()) < -990
    inside = hu > -900
    assert 0.05 < float(inside.float().mean()) < 0.9
    steps = (hu[:, :, 1:] - hu[:, :, :-1])[inside[:, :, 1:] & inside[:, :, :-1]]
    assert float((steps.abs() < 0.5).float().mean()) > 0.5  # most neighbours are equal, except at edges


def test_the_earlier_name_of_the_geometric_phantom_gives_the_same_volume():
    earlier, present = (phantom(name, (6, 8, 8), seed=3) for name in ("solids", "geometric"))
    assert torch.equal(earlier.data, present.data)
    assert earlier.name == present.name == "geometric 3"


@pytest.mark.parametrize("seed", [-1, 1.5, "x"])
def test_seeds_that_are_no_whole_numbers_are_refused(seed):
    with pytest.raises(ValueError, match="seed must be a whole number of at least 0"):
        phantom("head", (4, 6, 6), seed=seed)
