"""Simulated scans: each effect has its expected result; without effects the scan is ideal."""

import math
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.conftest import SCANS
from tomopatch import MU_WATER, ConeBeam, ParallelBeam, Projector, Views, Volume, VolumeGeometry, simulate
from tomopatch.physics.chain import switched_on
from tomopatch.physics.effects import (
    Blur,
    DetectorFaults,
    Effects,
    Insert,
    Misalignment,
    Motion,
    Scatter,
    Tube,
)
from tomopatch.physics.materials.inserts import plant_inserts
from tomopatch.physics.rays import pixels
from tomopatch.physics.rays.misalignment import misaligned
from tomopatch.physics.remarks import effect_remarks

NOTHING = Effects(
    scatter=Scatter(ratio=0.0),
    blur=Blur(0.0, 0.0),
    misalignment=Misalignment(seed=3),
    motion=Motion(amplitude=(0.0, 5.0, 5.0)),
    faults=DetectorFaults(seed=4),
)
ALL = Effects(
    tube=Tube(bowtie=True),
    scatter=Scatter(),
    blur=Blur(1.0, 0.5),
    misalignment=Misalignment(1.0, 0.5, 1.0, 2.0, 0.1),
    motion=Motion(amplitude=(2.0, 0.0, 0.0)),
    faults=DetectorFaults(0.01, 0.01, 1, 0.05, 0.9),
    inserts=(
        Insert("ball", "iodine", (1.0, -2.0, 3.0), (6.0, 1.0)),
        Insert("rod", "steel", size=(2.0, 50.0)),
    ),
)


def without_cone(effects: Effects) -> Effects:
    """Return the effects that also suit a parallel beam."""
    return replace(
        effects,
        blur=replace(effects.blur, focal_spot=0.0),
        misalignment=replace(effects.misalignment, distance=0.0),
    )


@pytest.mark.parametrize("photon_count", [None, 1e4])
@pytest.mark.parametrize("name", ["parallel", "cone", "parallel tilted"])
def test_effects_of_no_strength_are_the_ideal_scan_exactly(blobs, name, photon_count):
    A = Projector(blobs.geometry, SCANS[name](blobs.geometry))
    for supersample in (1, 2):
        ideal = simulate(blobs, A, photon_count=photon_count, supersample=supersample)
        for effects in (None, Effects(), NOTHING):
            found = simulate(blobs, A, photon_count=photon_count, supersample=supersample, effects=effects)
            assert torch.equal(found.projections, ideal.projections)
            assert photon_count is None or torch.equal(found.weights, ideal.weights)
    assert switched_on(NOTHING) == Effects()


@pytest.mark.parametrize("name", SCANS)
@pytest.mark.parametrize("as_views", [False, True])
def test_all_effects_at_once_in_every_scan(blobs, name, as_views):
    pg = SCANS[name](blobs.geometry)
    effects = ALL if (pg.cone if isinstance(pg, Views) else isinstance(pg, ConeBeam)) else without_cone(ALL)
    A = Projector(blobs.geometry, pg.views() if as_views and not isinstance(pg, Views) else pg)
    m = simulate(blobs, A, photon_count=1e4, effects=effects)
    assert tuple(m.projections.shape) == A.range_shape
    assert m.geometry is A.pg
    assert float(m.weights.min()) > 0


def test_a_single_row_has_all_effects():
    vg = VolumeGeometry((1, 32, 32), (2.0, 2.0, 2.0))
    volume = Volume(torch.full(vg.shape, MU_WATER), vg)
    for pg in (ConeBeam.circular(vg, num_views=5), ParallelBeam.circular(vg, num_views=5)):
        effects = ALL if isinstance(pg, ConeBeam) else without_cone(ALL)
        m = simulate(volume, Projector(vg, pg), photon_count=1e5, effects=replace(effects, inserts=()))
        assert m.projections.shape == (1, 5, pg.det_shape[1])
    for view in (0, 3):  # one pixel
        pg = ConeBeam.circular(vg, num_views=5, det_shape=(1, 1)).subset([view])
        effects = replace(ALL, inserts=(), faults=None)
        assert simulate(volume, Projector(vg, pg), effects=effects).projections.shape == (1, 1, 1)


@pytest.mark.parametrize("name", ["parallel", "cone"])
def test_chunks_of_views_give_the_same(blobs, name, monkeypatch):
    A = Projector(blobs.geometry, SCANS[name](blobs.geometry))
    effects = replace(ALL if name == "cone" else without_cone(ALL), faults=None)
    for supersample in (1, 2):
        monkeypatch.setattr(pixels, "MAX_RAYS", 2**26)
        whole = simulate(blobs, A, supersample=supersample, effects=effects)
        monkeypatch.setattr(pixels, "MAX_RAYS", 1)
        views = simulate(blobs, A, supersample=supersample, effects=effects)
        torch.testing.assert_close(views.projections, whole.projections, rtol=1e-5, atol=1e-6)


# ---- misalignment -------------------------------------------------------------------------------------


@pytest.mark.parametrize("photon_count", [None, 1e4])
@pytest.mark.parametrize("name", ["parallel", "cone"])
def test_a_shifted_detector_measures_the_scan_of_the_moved_detector(blobs, name, photon_count):
    pg = SCANS[name](blobs.geometry)
    moved = replace(pg, det_offset=(pg.det_offset[0] + 1.3, pg.det_offset[1] - 2.1))
    effects = Effects(misalignment=Misalignment(axis_offset=-2.1, vertical_offset=1.3))
    found = simulate(blobs, Projector(blobs.geometry, pg), photon_count=photon_count, effects=effects)
    expected = simulate(blobs, Projector(blobs.geometry, moved), photon_count=photon_count)
    # the same rays, rounded differently
    torch.testing.assert_close(found.projections, expected.projections, atol=1e-5, rtol=1e-5)
    assert found.geometry is pg


def test_a_wrong_distance_is_that_of_another_scanner():
    vg = VolumeGeometry((4, 8, 8))
    pg = ConeBeam.circular(vg, num_views=6, src_orig_dist=100, src_det_dist=150)
    true = replace(pg, src_orig_dist=110.0, src_det_dist=160.0).views()
    found = misaligned(pg, Misalignment(distance=10.0))
    for name in ("source", "det_pos", "det_u", "det_v"):
        np.testing.assert_allclose(getattr(found, name), getattr(true, name), atol=1e-9)


def test_jitter_is_a_scan_at_other_angles():
    vg = VolumeGeometry((4, 8, 8))
    for circular in (ParallelBeam.circular, ConeBeam.circular):
        pg = circular(vg, num_views=400)
        found = misaligned(pg, Misalignment(jitter=2.0, seed=5))
        angles = np.asarray(pg.angles) + np.radians(2.0) * np.random.default_rng(5).standard_normal(400)
        true = replace(pg, angles=tuple(angles)).views()
        for name in ("source", "det_pos", "det_u", "det_v"):
            np.testing.assert_allclose(getattr(found, name), getattr(true, name), atol=1e-9)


def test_roll_turns_the_image():
    """A ball off the axis is projected to its position in the rotated detector coordinates."""
    vg = VolumeGeometry((41, 41, 41))
    ball = Insert("ball", "water", (8.0, 0.0, 5.0), (6.0, 1.0))
    volume = Volume(torch.zeros(vg.shape), vg)
    pg = ParallelBeam((0.0,), (41, 41), (1.0, 1.0))
    effects = Effects(inserts=(ball,), misalignment=Misalignment(roll=30.0))
    image = simulate(volume, Projector(vg, pg), effects=effects).projections[:, 0]
    v, u = centre_of(image)
    cos, sin = math.cos(math.radians(30)), math.sin(math.radians(30))
    # at angle 0 u runs along x and v along z; pixel (v, u) sees z = v cos + u sin, x = u cos - v sin
    assert v == pytest.approx(8 * cos - 5 * sin, abs=0.05)
    assert u == pytest.approx(5 * cos + 8 * sin, abs=0.05)


def centre_of(image) -> tuple[float, float]:
    """Centre of mass (v, u) [pixels from the detector's centre]."""
    v, u = (torch.arange(n, dtype=torch.float64) - (n - 1) / 2 for n in image.shape)
    image = image.double()
    return float((image.sum(1) * v).sum() / image.sum()), float((image.sum(0) * u).sum() / image.sum())


# ---- motion -------------------------------------------------------------------------------------------

BALL = Insert("ball", "water", (4.0, -5.0, 6.0), (8.0, 1.0))
ROOM = VolumeGeometry((41, 41, 41), (1.0, 1.0, 1.0), (1.0, 0.0, 0.0))


def sinogram(pg, motion, supersample=1):
    volume = Volume(torch.zeros(ROOM.shape), ROOM)
    effects = Effects(inserts=(BALL,), motion=motion)
    return simulate(volume, Projector(ROOM, pg), effects=effects, supersample=supersample).projections


@pytest.mark.parametrize("kind", ["drift", "jump"])
@pytest.mark.parametrize("beam", ["parallel", "cone"])
def test_a_moving_ball_follows_its_analytic_path(kind, beam):
    if beam == "parallel":
        pg = ParallelBeam.circular(ROOM, num_views=24, det_shape=(61, 81), pixel_size=(1.0, 1.0))
    else:
        pg = ConeBeam.circular(
            ROOM, num_views=24, src_orig_dist=400, src_det_dist=500, det_shape=(81, 81), pixel_size=(1.0, 1.0)
        )
    motion = Motion(kind, (5.0, -4.0, 7.0), time=0.4)
    found = sinogram(pg, motion)
    for i, angle in enumerate(pg.angles):
        time = i / 24
        share = time if kind == "drift" else float(time >= 0.4)
        z, y, x = (c + share * a for c, a in zip(BALL.centre, motion.amplitude, strict=True))
        along, u = y * math.cos(angle) - x * math.sin(angle), x * math.cos(angle) + y * math.sin(angle)
        scale = 1.0 if beam == "parallel" else 500 / (400 + along)
        centre = centre_of(found[:, i])
        # a ball of 8 voxels has its centre to 0.03; the centre of a cone's shadow lies off by 0.01
        assert centre == pytest.approx((z * scale, u * scale), abs=0.06)


@pytest.mark.parametrize("beam", ["parallel", "cone"])
def test_breathing_is_the_scan_of_the_stretched_volume(beam):
    """At full inspiration, the view shows longer voxels, with the upper end in place."""
    make = ParallelBeam.circular if beam == "parallel" else ConeBeam.circular
    pg = make(ROOM, num_views=2, det_shape=(71, 71), pixel_size=(1.0, 1.0))
    motion = Motion("breathing", (6.0, 0.0, 0.0), cycles=1.0)
    found = sinogram(pg, motion)
    stretch, top = 1 + 6 / 41, ROOM.pos[0] + 41 / 2
    longer = VolumeGeometry(ROOM.shape, (stretch, 1.0, 1.0), (top - 41 / 2 * stretch, 0.0, 0.0))
    still = Volume(torch.zeros(ROOM.shape), ROOM)
    data = plant_inserts(still, (BALL,)).data
    # the views are measured at the times 0 and 1/2
    torch.testing.assert_close(found[:, 0], Projector(ROOM, pg)(data)[:, 0], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found[:, 1], Projector(longer, pg)(data)[:, 1], atol=1e-5, rtol=1e-4)


# ---- focal spot, scatter ------------------------------------------------------------------------------


@pytest.mark.parametrize("diameter", [2.0, 12.0])
def test_the_focal_spot_widens_a_shadow_by_its_variance(diameter):
    """The variance of a small ball's shadow grows by d^2/16 times (magnification - 1)^2."""
    pg = ConeBeam((0.0,), (61, 61), (1.0, 1.0), 400.0, 800.0)
    ball = Insert("ball", "water", (0.0, 0.0, 0.0), (4.0, 1.0))
    volume = Volume(torch.zeros(ROOM.shape), replace(ROOM, pos=(0.0, 0.0, 0.0)))

    def variances(blur):
        effects = Effects(inserts=(ball,), blur=blur)
        # many rays a pixel: the moments of voxels that are sampled coarsely depend on the place of the rays
        m = simulate(volume, Projector(volume.geometry, pg), supersample=6, effects=effects)
        shadow, places = (1 - torch.exp(-m.projections))[:, 0].double(), torch.arange(61) - 30.0
        return [float((shadow.sum(a) * places**2).sum() / shadow.sum()) for a in (0, 1)]

    sharp, blurred = variances(None), variances(Blur(0.0, diameter))
    for a, b in zip(sharp, blurred, strict=True):
        # 7 points have the disc's moments exactly, the spiral of 61 to 2 %
        assert b - a == pytest.approx(diameter**2 / 16, rel=0.05)


def test_scatter_fills_the_shadow_and_its_log_is_lower(small):
    A = Projector(small.geometry, ParallelBeam.circular(small.geometry, num_views=6))
    ideal = simulate(small, A, supersample=1).projections
    found = simulate(small, A, supersample=1, effects=Effects(scatter=Scatter(0.5))).projections
    added = (torch.exp(-found) - torch.exp(-ideal)).sum((0, 2))
    primary = torch.exp(-ideal)
    torch.testing.assert_close(added, 0.5 * (primary * (1 - primary)).sum((0, 2)), rtol=1e-4, atol=0)
    air = small.with_data(torch.zeros_like(small.data))
    assert float(simulate(air, A, effects=Effects(scatter=Scatter(0.5))).projections.abs().max()) == 0


# ---- noise --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("detector", ["integrating", "counting"])
@pytest.mark.parametrize("lag", [0.0, 0.3])
def test_weights_are_the_inverse_variance(detector, lag):
    vg = VolumeGeometry((1, 8, 8))
    pg = ParallelBeam.circular(vg, num_views=400, det_shape=(1, 40), pixel_size=(1.0, 0.2))
    A = Projector(vg, pg)
    volume = Volume(torch.full(vg.shape, 0.05), vg)
    effects = Effects(tube=Tube(bowtie=True, detector=detector), faults=DetectorFaults(lag=lag))
    clean = simulate(volume, A, supersample=1, effects=effects).projections
    noisy = simulate(volume, A, photon_count=1e4, electronic_noise=5.0, supersample=1, effects=effects)
    normalised = (noisy.projections - clean) * noisy.weights.sqrt()
    # 16,000 rays: the standard deviation of a standard deviation is 0.6 %
    assert float(normalised.std()) == pytest.approx(1.0, abs=0.03)
    assert abs(float(normalised.mean())) < 0.05


def test_the_tube_s_current_sets_the_photons(small):
    A = Projector(small.geometry, ParallelBeam.circular(small.geometry, num_views=3))
    m = simulate(small, A, photon_count=5.0, effects=Effects(tube=Tube(mas=0.01)))
    assert m.photon_count == pytest.approx(0.01 * 3.146e6 * math.prod(A.pg.pixel_size), rel=0.01)


# ---- refusals and remarks -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("effects", "message"),
    [
        (Effects(misalignment=Misalignment(distance=5.0)), "a parallel beam has no distance"),
        (Effects(blur=Blur(0.0, 1.0)), "a parallel beam has no focal spot"),
        (Effects(motion=Motion(amplitude=(-60.0, 0.0, 0.0))), "compress the volume of 40 mm"),
        (Effects(faults=DetectorFaults(dead_columns=99)), "99 dead columns"),
        (Effects(inserts=(Insert(centre=(0.0, 0.0, 500.0)),)), "outside the volume"),
        (Effects(tube=Tube(mas=1000.0), inserts=(Insert(centre=(0.0, 0.0, 500.0)),)), "outside the volume"),
    ],
)
def test_refusals_are_one_sentence(blobs, effects, message):
    A = Projector(blobs.geometry, SCANS["parallel"](blobs.geometry))
    with pytest.raises(ValueError, match=message) as error:
        simulate(blobs, A, photon_count=1e4, effects=effects)
    assert str(error.value).endswith(".")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("effects", [Effects(tube=Tube()), Effects(scatter=Scatter())])
def test_more_photons_than_were_emitted_are_refused(blobs, effects):
    A = Projector(blobs.geometry, SCANS["parallel"](blobs.geometry))
    with pytest.raises(ValueError, match="negative attenuation"):
        simulate(blobs.with_data(blobs.data - 50.0), A, photon_count=1e4, effects=effects)


def test_a_source_cannot_pass_the_axis():
    pg = ConeBeam((0.0,), (4, 4), (1.0, 1.0), 100.0, 150.0)
    with pytest.raises(ValueError, match="above -100 mm"):
        misaligned(pg, Misalignment(distance=-100.0))


def test_remarks_name_what_is_extreme(blobs):
    A = Projector(blobs.geometry, SCANS["parallel"](blobs.geometry))
    assert effect_remarks(None, A.vg, A.pg, 1e5) == []
    assert effect_remarks(NOTHING, A.vg, A.pg, 1e5) == []
    effects = Effects(
        tube=Tube(mas=1e-6),
        motion=Motion(),
        faults=DetectorFaults(saturation=0.5),
        inserts=(Insert("rod", "steel", size=(0.5, 500.0)),),
    )
    text = " ".join(effect_remarks(effects, A.vg, A.pg, 1e5))
    for words in ("not used", "counts as 1 m", "measure nothing", "bones included", "saturates", "thinner"):
        assert words in text
    assert "reaches beyond" in text
    assert "no beam hardening" in effect_remarks(replace(effects, tube=None), A.vg, A.pg)[0]


def test_the_dose_of_a_tube_current_is_stated(small):
    """Twice the current gives twice the air kerma."""
    pg, stated = ConeBeam.circular(small.geometry, num_views=3), []
    for mas in (0.1, 0.2):
        (text,) = effect_remarks(Effects(tube=Tube(mas=mas)), small.geometry, pg)
        stated.append(float(re.search(r"([\d.e-]+) mGy", text)[1]))
    assert stated[1] == pytest.approx(2 * stated[0], rel=0.01)
