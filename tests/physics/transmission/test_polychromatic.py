import math

import numpy as np
import pytest
import torch

from tomopatch import (
    MU_WATER,
    ConeBeam,
    ParallelBeam,
    Projector,
    Volume,
    VolumeGeometry,
    reconstruct,
    simulate,
)
from tomopatch.physics import chain
from tomopatch.physics.effects import Effects, Insert, Tube
from tomopatch.physics.materials.attenuation import mu, reference_energy
from tomopatch.physics.source.spectrum import Spectrum, tube_spectrum
from tomopatch.physics.transmission import polychromatic
from tomopatch.physics.transmission.polychromatic import Beam, beam_of, bowtie_thickness, material_volumes

TWO = Spectrum(np.array([40.0, 100.0]), np.array([1.0, 1.0]))
RADIUS = 100.0


def cylinder(vg: VolumeGeometry, radius: float = RADIUS, mu: float = MU_WATER) -> Volume:
    """A cylinder along z, with partial volumes."""
    _, y, x = torch.meshgrid(*(vg.axis(i) for i in range(3)), indexing="ij")
    share = (0.5 - (torch.hypot(y, x) - radius) / vg.voxel_size[2]).clamp(0, 1)
    return Volume((mu * share).to(torch.float32), vg)


@pytest.fixture
def disc():
    return cylinder(VolumeGeometry((1, 128, 128), (2.0, 2.0, 2.0)))


def closed_form(length, spectrum=TWO, detector="integrating"):
    """-log of the transmission through water, calibrated on a thin layer; from the definition, bin by bin."""
    per_photon = spectrum.energies if detector == "integrating" else np.ones(len(spectrum.energies))
    signal = spectrum.photons * per_photon / (spectrum.photons @ per_photon)
    attenuation = mu("water", spectrum.energies)
    transmission = np.exp(-np.multiply.outer(length, attenuation)) @ signal
    return -np.log(transmission) * MU_WATER / (signal @ attenuation)


@pytest.mark.parametrize("detector", ["integrating", "counting"])
def test_two_energies_through_water_follow_the_closed_form(disc, monkeypatch, detector):
    """Cupping: line integrals through a water cylinder deviate from MU_WATER times length."""
    monkeypatch.setattr(polychromatic, "tube_spectrum", lambda tube: TWO)
    pg = ParallelBeam.circular(disc.geometry, num_views=3)
    m = simulate(disc, Projector(disc.geometry, pg), effects=Effects(tube=Tube(detector=detector)))
    u = (np.arange(pg.det_shape[1]) - (pg.det_shape[1] - 1) / 2) * pg.pixel_size[1]
    length = 2 * np.sqrt(np.maximum(RADIUS**2 - u**2, 0))
    inside = np.abs(u) < 0.9 * RADIUS
    exact = closed_form(length, detector=detector)
    # the ideal scan of the same voxels is within 0.3 % of the chord; the deviation is 15 times as large
    np.testing.assert_allclose(m.projections[0, 0, inside], exact[inside], rtol=0.003)
    assert exact.max() < 0.95 * MU_WATER * 2 * RADIUS


def test_cupping_in_hounsfield_units(disc):
    """The centre of a water cylinder is darker than its edge, by the amount of the closed form."""
    pg = ParallelBeam.circular(disc.geometry, num_views=120)
    A = Projector(disc.geometry, pg)
    m = simulate(disc, A, effects=Effects(tube=Tube()))
    u = (np.arange(pg.det_shape[1]) - (pg.det_shape[1] - 1) / 2) * pg.pixel_size[1]
    exact = closed_form(2 * np.sqrt(np.maximum(RADIUS**2 - u**2, 0)), tube_spectrum(Tube()))
    exact = torch.from_numpy(exact).to(torch.float32)[None, None].expand(m.projections.shape)
    y, x = torch.meshgrid(disc.geometry.axis(1), disc.geometry.axis(2), indexing="ij")
    radius = torch.hypot(y, x)

    def cup(projections):
        hu = reconstruct("fbp", A, type(m)(projections.contiguous(), pg)).volume.hu[0]
        centre = float(hu[radius < 20].mean())
        return centre, centre - float(hu[(radius > 85) & (radius < 94)].mean())

    centre, found = cup(m.projections)
    centre_exact, expected = cup(exact)
    # two sets of rays of the same cylinder: its edge is drawn in voxels in one of them
    assert found == pytest.approx(expected, abs=8)
    assert centre == pytest.approx(centre_exact, abs=8)
    assert -150 < found < -30


def test_one_energy_is_the_ideal_scan(small, monkeypatch):
    monkeypatch.setattr(
        polychromatic, "tube_spectrum", lambda tube: Spectrum.monochromatic(reference_energy())
    )
    for pg in (
        ParallelBeam.circular(small.geometry, num_views=5),
        ConeBeam.circular(small.geometry, num_views=5, src_orig_dist=200, src_det_dist=300),
    ):
        A = Projector(small.geometry, pg)
        for supersample in (1, 2):
            ideal = simulate(small, A, supersample=supersample)
            found = simulate(small, A, supersample=supersample, effects=Effects(tube=Tube()))
            # float32: one rounding of exp and log, at transmissions above 1e-3
            torch.testing.assert_close(found.projections, ideal.projections, atol=2e-5, rtol=2e-5)


def test_one_energy_has_the_noise_of_the_ideal_scan(small, monkeypatch):
    monkeypatch.setattr(
        polychromatic, "tube_spectrum", lambda tube: Spectrum.monochromatic(reference_energy())
    )
    A = Projector(small.geometry, ParallelBeam.circular(small.geometry, num_views=5))
    ideal = simulate(small, A, photon_count=1e4)
    found = simulate(small, A, photon_count=1e4, effects=Effects(tube=Tube()))
    torch.testing.assert_close(found.weights.mean(), ideal.weights.mean(), rtol=1e-2, atol=0)


def test_materials_add_up_to_the_volume(vg, generator):
    """The sum holds at the reference energy for air, water, mixtures and dense bone."""
    hu = torch.linspace(-1000, 3000, math.prod(vg.shape)).reshape(vg.shape)
    volume = Volume.from_hu(hu, vg)
    parts = material_volumes(volume)
    assert list(parts) == ["water", "cortical bone"]
    total = torch.zeros(1, *vg.shape)
    energy = reference_energy()
    one_row = ParallelBeam.circular(vg, num_views=4)
    total = sum(float(mu(name, energy)) * Projector(p.geometry, one_row)(p.data) for name, p in parts.items())
    torch.testing.assert_close(total, Projector(vg, one_row)(volume.data), rtol=1e-5, atol=1e-5)
    assert float(parts["cortical bone"].data.min()) == 0


def test_soft_tissue_alone_has_no_bone(small):
    assert list(material_volumes(small.with_data(small.data.clamp(max=MU_WATER)))) == ["water"]


def test_an_insert_replaces_what_lies_there(vg):
    volume = Volume(torch.full(vg.shape, MU_WATER), vg)
    insert = Insert("ball", "titanium", (1.0, -2.0, 3.0), (10.0, 1.0))
    parts = material_volumes(volume, [insert])
    assert list(parts) == ["water", "titanium"]
    removed = math.prod(vg.shape) - float(parts["water"].data.sum())
    assert removed == pytest.approx(float(parts["titanium"].data.sum()), rel=1e-3)
    assert math.prod(parts["titanium"].shape) < math.prod(vg.shape) / 2


def test_metal_hardens_more_than_its_monochromatic_attenuation(disc):
    """Rays through two rods look less dense than the sum of each: the dark band between metals."""
    rods = tuple(Insert("rod", "steel", (0.0, 0.0, x), (10.0, 10.0)) for x in (-50.0, 50.0))
    # the last column angle looks along x, through both rods
    pg = ParallelBeam((math.pi / 2,), (1, 128), (2.0, 2.0))
    A = Projector(disc.geometry, pg)

    def excess(tube, inserts):
        effects = Effects(tube=tube, inserts=inserts)
        bare = simulate(disc, A, effects=Effects(tube=tube)).projections
        return float((simulate(disc, A, effects=effects).projections - bare)[0, 0, 62:66].mean())

    assert excess(None, rods) == pytest.approx(2 * excess(None, rods[:1]), rel=0.05)
    assert excess(Tube(), rods) < 0.9 * 2 * excess(Tube(), rods[:1])


def test_a_bowtie_completes_the_cylinder(disc):
    pg = ConeBeam.circular(disc.geometry, num_views=2)
    thickness = bowtie_thickness(pg.views(), 60.0)
    assert thickness.shape == (2, pg.det_shape[1])
    half = thickness[0].argmax()
    assert half in (0, pg.det_shape[1] - 1)
    assert float(thickness.min()) < 0.01 * float(thickness.max())
    # at the edge the ray misses the cylinder: all of its diameter is completed
    edge = pg.pixel_size[1] * (pg.det_shape[1] - 1) / 2
    radius = pg.src_orig_dist * math.sin(math.atan(edge / pg.src_det_dist)) / 2
    expected = 2 * radius * float(mu("water", 60.0) / mu("PMMA", 60.0))
    assert float(thickness.max()) == pytest.approx(expected, rel=1e-6)


def test_a_bowtie_takes_photons_from_the_edges_and_leaves_air_at_zero(disc):
    air = disc.with_data(torch.zeros_like(disc.data))
    A = Projector(disc.geometry, ConeBeam.circular(disc.geometry, num_views=4))
    m = simulate(air, A, photon_count=1e5, effects=Effects(tube=Tube(bowtie=True)))
    weights = m.weights.mean((0, 1))
    assert float(weights[len(weights) // 2]) > 5 * float(weights[0])
    assert abs(float(m.projections.mean())) < 0.01
    clean = simulate(air, A, effects=Effects(tube=Tube(bowtie=True))).projections
    torch.testing.assert_close(clean, torch.zeros_like(clean), atol=1e-5, rtol=0)


def test_nothing_in_the_way_transmits_everything():
    out = Beam(("water",), TWO)([torch.linspace(0, 300, 60).reshape(3, 4, 5)], slice(None))
    assert out.shape == (2, 3, 4, 5)
    assert torch.equal(out[:, 0, 0, 0], torch.ones(2))


def test_the_gain_is_the_second_moment_over_the_first(disc):
    """Variance over mean of the signal of one photon per ray, from the spectrum behind water."""
    effects = Effects(tube=Tube())
    pg = ParallelBeam.circular(disc.geometry, num_views=1)
    rays = chain.measured_rays(pg, effects, disc.geometry)
    signal = chain.expected_signal(disc, rays, effects, 1, "joseph")
    s = tube_spectrum(Tube())
    length = float(Projector(disc.geometry, pg)(disc.data)[0, 0, pg.det_shape[1] // 2]) / MU_WATER
    left = s.photons * np.exp(-mu("water", s.energies) * length)
    expected = (left @ s.energies**2) / (left @ s.energies) / s.mean_energy
    assert float(signal.gain[0, 0, pg.det_shape[1] // 2]) == pytest.approx(expected, rel=1e-4)


def test_rows_above_the_volume_see_air(disc):
    """One slice of 2 mm before five rows of 2 mm that are shifted by half a row; several rays a pixel."""
    pg = ParallelBeam.circular(
        disc.geometry, num_views=3, det_shape=(5, 64), pixel_size=(2.0, 4.0), det_offset=(1.0, 0.0)
    )
    A = Projector(disc.geometry, pg)
    m = simulate(disc, A, effects=Effects(tube=Tube(bowtie=True)), supersample=2).projections
    one_row = ParallelBeam.circular(disc.geometry, num_views=3, det_shape=(1, 64), pixel_size=(2.0, 4.0))
    full = simulate(
        disc, Projector(disc.geometry, one_row), effects=Effects(tube=Tube(bowtie=True)), supersample=2
    ).projections[0]
    torch.testing.assert_close(m[[0, 3, 4]], torch.zeros(3, 3, 64), atol=1e-5, rtol=0)
    # two rows see the slice over half of their height: half of the signal is that of air
    factor = beam_of(Tube(bowtie=True), ("water",), one_row.views()).water_factor[0]
    half = -factor * torch.log((1 + torch.exp(-full / factor)) / 2)
    torch.testing.assert_close(m[[1, 2]], half.expand(2, 3, 64), atol=1e-4, rtol=1e-4)


def test_a_thin_layer_of_water_is_water_in_each_column_behind_a_bowtie(disc):
    views = ParallelBeam.circular(disc.geometry, num_views=2).views()
    beam = beam_of(Tube(bowtie=True), ("water",), views)
    shape = (1, 2, views.det_shape[1])
    air, layer = (beam([torch.full(shape, t, dtype=torch.float64)], slice(None))[0] for t in (0.0, 0.01))
    measured = beam.water_factor * torch.log(air / layer)
    # the layer of 10 um hardens the beam by less than a thousandth
    torch.testing.assert_close(
        measured, torch.full(shape, 0.01 * MU_WATER, dtype=torch.float64), rtol=1e-3, atol=0
    )
    assert float(beam.water_factor.max() / beam.water_factor.min()) > 1.01
