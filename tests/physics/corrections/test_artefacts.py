"""Corrections of beam hardening, scatter and metal, of dead pixels and of the axis in a simulated scan."""

from dataclasses import replace

import pytest
import torch

from tomopatch import MU_WATER, ConeBeam, ParallelBeam, Projector, Volume, VolumeGeometry, simulate
from tomopatch.physics.corrections.hardening import linearise_water, water_curve
from tomopatch.physics.corrections.metal import interpolated, reduce_metal
from tomopatch.physics.corrections.scatter import subtract_scatter
from tomopatch.physics.corrections.settings import Corrections, correct
from tomopatch.physics.effects import DetectorFaults, Effects, Insert, Misalignment, Scatter, Tube
from tomopatch.physics.measurement import Measurement
from tomopatch.reconstruct.run import reconstruct


def image(A, measurement):
    method = "fdk" if isinstance(A.pg, ConeBeam) else "fbp"
    return reconstruct(method, A, measurement, callback=lambda step: None).volume


@pytest.fixture(scope="module")
def cylinder():
    """A water cylinder of 240 mm diameter, with soft edges."""
    vg = VolumeGeometry((4, 96, 96), (5.0, 3.0, 3.0))
    y, x = torch.meshgrid(*[3.0 * (torch.arange(96) - 47.5)] * 2, indexing="ij")
    inside = ((120 - (x**2 + y**2).sqrt()) / 3 + 0.5).clamp(0, 1)
    return Volume(MU_WATER * inside.expand(4, 96, 96).contiguous(), vg)


@pytest.fixture(scope="module")
def parallel(cylinder):
    return Projector(cylinder.geometry, ParallelBeam.circular(cylinder.geometry, num_views=120))


def cupping(volume):
    """HU at the edge of the cylinder, 75 to 105 mm from the axis, minus HU in the middle."""
    y, x = torch.meshgrid(*[3.0 * (torch.arange(96) - 47.5)] * 2, indexing="ij")
    r = (x**2 + y**2).sqrt()
    hu = volume.hu.mean(0)
    return float(hu[(r > 75) & (r < 105)].mean() - hu[r < 30].mean())


@pytest.mark.parametrize("detector", ["integrating", "counting"])
@pytest.mark.parametrize("kvp", [60.0, 120.0])
def test_water_has_no_cupping_after_linearisation(cylinder, parallel, kvp, detector):
    tube = Tube(kvp, detector=detector)
    measured = simulate(cylinder, parallel, effects=Effects(tube=tube))
    before, after = (cupping(image(parallel, m)) for m in (measured, linearise_water(measured, tube)))
    ideal = cupping(image(parallel, simulate(cylinder, parallel)))
    assert before - ideal > 20
    # partial-volume voxels at the edge are not corrected; a few per cent remain
    assert abs(after - ideal) < 0.1 * (before - ideal)


def test_the_water_curve_starts_as_water_and_bends():
    measured, ideal = water_curve(Tube(100.0))
    assert measured[1] == pytest.approx(ideal[1], rel=0.01)
    assert (measured[10:] < ideal[10:]).all()
    assert (measured[1:] > measured[:-1]).all()


def test_linearisation_scales_the_weights_by_its_slope(parallel):
    """The variance of f(y) is f'(y)^2 times that of y, to first order."""
    tube, step = Tube(80.0), 1e-2
    flat = torch.full(parallel.range_shape, 3.0)
    at, beside = (
        linearise_water(Measurement(y, parallel.pg, torch.ones_like(y)), tube) for y in (flat, flat + step)
    )
    slope = float(beside.projections[0, 0, 0] - at.projections[0, 0, 0]) / step
    assert slope > 1
    assert float(at.weights[0, 0, 0]) == pytest.approx(1 / slope**2, rel=0.02)


@pytest.mark.parametrize("ratio", [0.05, 0.3])
def test_scatter_is_subtracted(cylinder, parallel, ratio):
    scatter = Scatter(ratio, 0.3)
    ideal = simulate(cylinder, parallel)
    measured = simulate(cylinder, parallel, effects=Effects(scatter=scatter))
    before, after = (
        float((m.projections - ideal.projections).square().mean().sqrt())
        for m in (measured, subtract_scatter(measured, scatter))
    )
    assert after < 0.1 * before


def test_scatter_of_a_tube_with_a_bowtie_is_subtracted(cylinder, parallel):
    tube, scatter = Tube(120.0, bowtie=True), Scatter(0.3, 0.3)
    without = simulate(cylinder, parallel, effects=Effects(tube=tube))
    effects = Effects(tube=tube, scatter=scatter)
    measured = simulate(cylinder, parallel, effects=effects)
    found = correct(measured, parallel, Corrections(scatter=True), effects, image).measurement
    before, after = (
        float((m.projections - without.projections).square().mean().sqrt()) for m in (measured, found)
    )
    assert after < 0.1 * before


def test_without_scatter_nothing_is_subtracted(cylinder, parallel):
    ideal = simulate(cylinder, parallel, photon_count=1e5)
    same = subtract_scatter(ideal, Scatter(0.0))
    torch.testing.assert_close(same.projections, ideal.projections, atol=1e-5, rtol=1e-5)


def test_a_shadow_is_interpolated_linearly_and_at_the_end_of_a_row_repeated():
    y = torch.arange(8.0).repeat(1, 3, 1)
    shadow = torch.zeros(1, 3, 8, dtype=torch.bool)
    shadow[0, 0, 2:5] = shadow[0, 1, 6:] = shadow[0, 2] = True
    wrong = torch.where(shadow, 100.0, y)
    out = interpolated(wrong, shadow)
    torch.testing.assert_close(out[0, 0], y[0, 0])
    assert out[0, 1].tolist() == [0, 1, 2, 3, 4, 5, 5, 5]
    assert torch.equal(out[0, 2], wrong[0, 2])


@pytest.mark.parametrize("beam", [ParallelBeam, ConeBeam])
@pytest.mark.parametrize("normalised", [False, True])
def test_metal_reduction_removes_nine_tenths_of_the_streak_energy(cylinder, beam, normalised):
    rods = tuple(Insert("rod", "steel", (0.0, 0.0, x), (15.0, 100.0)) for x in (-50.0, 50.0))
    pg = beam.circular(cylinder.geometry, num_views=120)
    A, tube = Projector(cylinder.geometry, pg), Tube(120.0)
    measured = simulate(cylinder, A, photon_count=1e6, effects=Effects(tube=tube, inserts=rods))
    measured = linearise_water(measured, tube)
    found, _ = reduce_metal(measured, A, lambda m: image(A, m), normalised=normalised)
    y, x = torch.meshgrid(*[3.0 * (torch.arange(96) - 47.5)] * 2, indexing="ij")
    far = ((x**2 + y**2).sqrt() < 100) & (torch.minimum((x - 50).abs(), (x + 50).abs()) > 20)
    before, after = (float(image(A, m).hu[1:3, far].square().mean()) for m in (measured, found))
    assert after < 0.1 * before
    assert float(image(A, found).hu[2, 47:49, 31:33].mean()) > 2500


def test_without_metal_the_measurement_stays(cylinder, parallel):
    ideal = simulate(cylinder, parallel)
    found, share = reduce_metal(ideal, parallel, lambda m: image(parallel, m))
    assert share == 0
    assert found is ideal


def test_the_axis_of_a_misaligned_scan_is_found_and_used(cylinder, parallel):
    offset = 4.2
    effects = Effects(misalignment=Misalignment(axis_offset=offset))
    measured = simulate(cylinder, parallel, photon_count=1e6, effects=effects)
    found = correct(measured, parallel, Corrections(axis=True), effects, image)
    # a tenth of a pixel of 3 mm
    assert found.figures["axis_offset_mm"] == pytest.approx(offset, abs=0.3)
    assert found.measurement.geometry.det_offset[1] == pytest.approx(offset, abs=0.3)


def test_the_roll_of_a_misaligned_scan_is_found_and_removed(one_thread):
    vg = VolumeGeometry((32, 64, 64), (3.0, 3.0, 3.0))
    z, y, x = torch.meshgrid(*(vg.axis(i) for i in range(3)), indexing="ij")
    # soft edges, which rotating the projections hardly blurs
    body = (5 - 5 * ((x - 12) ** 2 / 60**2 + (y + 8) ** 2 / 45**2)).clamp(0, 1) * MU_WATER
    volume = Volume(body * (1 + 0.003 * z), vg)
    A = Projector(vg, ParallelBeam.circular(vg, num_views=60))
    effects = Effects(misalignment=Misalignment(axis_offset=4.2, roll=2.0))
    measured = simulate(volume, A, photon_count=1e6, effects=effects)
    found = correct(measured, A, Corrections(roll=True, axis=True), effects, image)
    assert abs(found.figures["roll_degrees"]) == pytest.approx(2.0, abs=0.1)
    ideal = simulate(volume, A, photon_count=1e6)
    rows = slice(3, -3)  # the first and last ones leave the detector

    def error(m):
        shifted = Projector(vg, m.geometry)
        return float((image(shifted, m).hu - image(A, ideal).hu)[rows].square().mean())

    axis_alone = correct(measured, A, Corrections(axis=True), effects, image)
    assert error(found.measurement) < 0.2 * error(axis_alone.measurement)
    assert (found.measurement.weights >= 0).all()


def test_a_cone_beam_refuses_the_correction_of_the_roll(cylinder):
    A = Projector(cylinder.geometry, ConeBeam.circular(cylinder.geometry, num_views=30))
    measured = simulate(cylinder, A, photon_count=1e6)
    with pytest.raises(ValueError, match="parallel beam only"):
        correct(measured, A, Corrections(roll=True), Effects(), image)


def test_dead_columns_are_interpolated_and_have_no_weight(cylinder, parallel):
    effects = Effects(faults=DetectorFaults(dead=0.01, dead_columns=2, seed=3))
    measured = simulate(cylinder, parallel, photon_count=1e6, effects=effects)
    found = correct(measured, parallel, Corrections(pixels=True), effects, image).measurement
    ideal = simulate(cylinder, parallel, photon_count=1e6)
    errors = [(m.projections - ideal.projections).abs() for m in (measured, found)]
    assert float(errors[0].max()) > 3
    assert float(errors[1].max()) < 0.5
    dead = (found.weights == 0).all(1)
    assert int(dead.sum()) >= 2 * dead.shape[0]


def test_no_corrections_change_nothing(cylinder, parallel):
    measured = simulate(cylinder, parallel, effects=Effects(tube=Tube()))
    found = correct(measured, parallel, Corrections(), Effects(tube=Tube()), image)
    assert found.measurement is measured
    assert found.measurement.metal is None
    assert not found.figures


def test_corrections_of_absent_effects_change_nothing(cylinder, parallel):
    ideal = simulate(cylinder, parallel)
    every = Corrections(pixels=True, scatter=True, hardening=True)
    assert correct(ideal, parallel, every, Effects(), image).measurement is ideal
    assert replace(every, metal="LI").metal == "LI"


def test_the_metal_of_a_measurement_is_in_every_reconstruction(cylinder, parallel):
    """Also of some of its views, and on another grid of the same extent."""
    data = torch.zeros(cylinder.shape)
    data[:, 40:44, 40:44] = 0.2
    ideal = simulate(cylinder, parallel)
    measured = replace(ideal, metal=cylinder.with_data(data)).subset(slice(0, 120, 2))
    for vg in (cylinder.geometry, cylinder.geometry.with_shape((4, 48, 48))):
        A = Projector(vg, measured.geometry)
        with_metal, without = (image(A, m).data for m in (measured, replace(measured, metal=None)))
        factor = 96 // vg.shape[1]
        box = slice(40 // factor, 44 // factor)
        torch.testing.assert_close(with_metal[:, box, box], torch.full_like(without[:, box, box], 0.2))
        changed = with_metal != without
        changed[:, box, box] = False
        assert not changed.any()


def test_metal_of_another_extent_is_refused(cylinder, parallel):
    other = Volume(torch.zeros(4, 8, 8), VolumeGeometry((4, 8, 8), (1.0, 1.0, 1.0)))
    measured = replace(simulate(cylinder, parallel), metal=other)
    with pytest.raises(ValueError, match=r"another extent; .* covers 4 x 8 x 8 mm"):
        image(parallel, measured)
