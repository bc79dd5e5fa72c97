import math

import numpy as np
import pytest

from tomopatch import ConeBeam, ParallelBeam, VolumeGeometry
from tomopatch.physics.effects import Tube
from tomopatch.physics.materials.attenuation import mu
from tomopatch.physics.source.dose import air_kerma_at_axis, photons_per_ray
from tomopatch.physics.source.spectrum import Spectrum, tube_spectrum

SPEKPY = {
    # kVp and filters: photons per mm^2 and mAs, mean energy, HVL [mm Al], effective energy, mGy/mAs
    (40.0, 0.0, 0.0, 0.0): (4.4784e5, 25.194, 0.8155, 20.557, 0.05801),
    (62.5, 1.0, 0.0, 0.0): (9.5442e5, 35.869, 1.902, 27.912, 0.065483),
    (80.0, 2.5, 0.0, 0.0): (1.2530e6, 44.647, 3.2982, 34.745, 0.061109),
    (100.0, 2.5, 0.1, 0.0): (1.5266e6, 55.443, 5.8606, 45.391, 0.05678),
    (120.0, 2.5, 0.0, 0.0): (3.1489e6, 56.277, 4.9787, 41.858, 0.12894),
    (122.5, 6.0, 0.0, 0.0): (2.2152e6, 61.331, 6.8951, 49.637, 0.080024),
    (140.0, 2.5, 0.0, 0.4): (8.5701e5, 85.767, 12.380, 77.956, 0.030282),
    (147.0, 2.5, 2.0, 0.0): (6.0414e5, 94.208, 14.072, 90.931, 0.022193),
}
"""SpekPy 2.5.4, tungsten at 12 degrees, with 1 mm of aluminium as additional inherent filtration."""


def described(s: Spectrum) -> tuple[float, ...]:
    return s.total, s.mean_energy, s.half_value_layer(), s.effective_energy, s.air_kerma


@pytest.mark.parametrize("setting", SPEKPY)
def test_spectra_are_those_of_spekpy(setting):
    found = described(tube_spectrum(Tube(*setting), None))
    # bins of 1 keV and interpolation between voltages: up to 0.9 %, in the half-value layer behind tin
    np.testing.assert_allclose(found, SPEKPY[setting], rtol=0.01)


def test_spectra_are_those_of_the_installed_spekpy():
    spekpy = pytest.importorskip("spekpy")
    for kvp in (45.0, 73.0, 118.0, 150.0):
        s = spekpy.Spek(kvp=kvp, th=12, dk=0.5).filter("Al", 4.0)
        ours = tube_spectrum(Tube(kvp, 3.0), None)
        theirs = s.get_emean(), s.get_hvl1()
        np.testing.assert_allclose((ours.mean_energy, ours.half_value_layer()), theirs, rtol=0.01)


@pytest.mark.parametrize("setting", SPEKPY)
def test_twenty_bins_suffice(setting):
    """Line integrals through water and bone with 20 and 100 bins."""
    coarse, fine = (tube_spectrum(Tube(*setting), n) for n in (20, 100))
    assert len(coarse.energies) <= 20
    for material, thickness in (("water", 300), ("cortical bone", 50)):
        a, b = (
            -math.log(
                s.photons
                @ (s.energies * np.exp(-thickness * mu(material, s.energies)))
                / (s.photons @ s.energies)
            )
            for s in (coarse, fine)
        )
        # most at 40 kVp through 50 mm of bone, where one photon in 20,000 arrives
        assert a == pytest.approx(b, rel=3e-3 if setting[0] < 80 else 1e-3)
    assert coarse.mean_energy == pytest.approx(fine.mean_energy)
    assert coarse.total == pytest.approx(fine.total)


def test_no_photon_has_more_energy_than_the_tube_gives():
    s = tube_spectrum(Tube(92.3), None)
    assert s.energies[s.photons > 0].max() < 92.3 + 0.5  # the middle of the last bin


def test_one_energy_has_its_own_half_value_layer():
    s = Spectrum.monochromatic(60.0)
    assert s.half_value_layer("copper") == pytest.approx(math.log(2) / float(mu("copper", 60.0)))
    assert s.effective_energy == pytest.approx(60.0)


def test_photons_grow_with_current_and_area_and_fall_with_distance():
    vg = VolumeGeometry((4, 16, 16))
    pg = ConeBeam.circular(vg, num_views=3, src_orig_dist=500, src_det_dist=1000, pixel_size=(2.0, 0.5))
    total = tube_spectrum(Tube(), None).total
    assert photons_per_ray(Tube(mas=2.0), pg) == pytest.approx(2 * total)  # 1 mm^2 at 1 m
    near = ConeBeam.circular(vg, num_views=3, src_orig_dist=250, src_det_dist=500, pixel_size=(2.0, 0.5))
    assert photons_per_ray(Tube(mas=2.0), near) == pytest.approx(8 * total)
    assert photons_per_ray(Tube(), pg) is None
    assert photons_per_ray(Tube(mas=1.0), ParallelBeam.circular(vg, num_views=3)) == pytest.approx(total)


def test_kerma_follows_the_inverse_square():
    one = air_kerma_at_axis(Tube(mas=1.0), 1, 1000.0)
    # 0.129 mGy/mAs at 1 m: SpekPy above
    assert one == pytest.approx(0.129, rel=0.01)
    assert air_kerma_at_axis(Tube(mas=0.5), 400, 500.0) == pytest.approx(800 * one)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: air_kerma_at_axis(Tube(), 10, 500), "mAs"),
        (lambda: air_kerma_at_axis(Tube(mas=1.0), 10, 0), "above 0 mm"),
        (lambda: Spectrum(np.array([5.0]), np.ones(1)), "10 and 150 keV"),
        (lambda: Spectrum(np.array([50.0]), np.zeros(1)), "not all 0"),
        (lambda: Spectrum(np.array([50.0]), np.ones(2)), "same length"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()
