import numpy as np
import pytest

from tomopatch import MU_WATER
from tomopatch.physics.effects import Insert
from tomopatch.physics.materials.attenuation import densities, mass_attenuation, mu, reference_energy

NIST = {
    "water": {20: 0.8096, 40: 0.2683, 60: 0.2059, 100: 0.1707, 150: 0.1505},
    "cortical bone": {20: 4.001, 40: 0.6655, 60: 0.3148, 100: 0.1855, 150: 0.1480},
    "aluminium": {20: 3.441, 40: 0.5685, 60: 0.2778, 100: 0.1704, 150: 0.1378},
    "copper": {20: 33.79, 40: 4.862, 60: 1.593, 100: 0.4584, 150: 0.2217},
    "titanium": {20: 15.85, 40: 2.214, 60: 0.7661, 100: 0.2721, 150: 0.1649},
    "steel": {20: 25.68, 40: 3.629, 60: 1.205, 100: 0.3717, 150: 0.1964},
    "pure iodine": {30: 8.561, 40: 22.10, 60: 7.579, 100: 1.942},
    "PMMA": {60: 0.1924, 100: 0.1641},
    "air": {60: 0.1875, 100: 0.1541},
}
"""Mass attenuation [cm^2/g] by energy [keV], coherent scattering included: NISTIR 5632 (1995)."""


@pytest.mark.parametrize("material", NIST)
def test_attenuation_is_that_of_nist(material):
    energies, values = np.array(list(NIST[material].items())).T
    # the tables of Elam and of NIST differ by up to 2 % (iron and titanium), interpolation adds 0.1 %
    np.testing.assert_allclose(mass_attenuation(material, energies), values, rtol=0.02)


def test_attenuation_is_that_of_xraydb():
    xraydb = pytest.importorskip("xraydb")
    energies = np.array([11.3, 23.7, 35.1, 47.9, 71.0, 88.8, 133.0])
    for material, symbol in (("aluminium", "Al"), ("copper", "Cu"), ("tin", "Sn"), ("steel", "Fe")):
        exact = xraydb.mu_elam(symbol, energies * 1e3, kind="total")
        np.testing.assert_allclose(mass_attenuation(material, energies), exact, rtol=5e-3)


def test_a_k_edge_is_a_step():
    below, above = mass_attenuation("pure iodine", [33.16, 33.18])
    assert 5 < above / below < 7  # 6.55 to 35.8 cm^2/g (NIST)


def test_water_has_its_attenuation_at_the_reference_energy():
    assert 70 < reference_energy() < 72
    assert float(mu("water", reference_energy())) == pytest.approx(MU_WATER, rel=1e-9)


def test_iodine_is_a_solution():
    """20 mg/ml: the attenuation of water, and of the iodine that is in it."""
    energies = np.array([40.0, 70.0])
    expected = 0.996 * mu("water", energies) + 0.020 / 10 * mass_attenuation("pure iodine", energies)
    np.testing.assert_allclose(mu("iodine", energies), expected, rtol=2e-3)


def test_every_material_of_an_insert_has_attenuation():
    for material in ("titanium", "steel", "aluminium", "iodine", "cortical bone", "PMMA", "water", "air"):
        assert Insert(material=material).material in densities()


@pytest.mark.parametrize(
    ("material", "energy", "message"),
    [("unobtainium", 50, "unknown material"), ("water", 9.9, "10 and 150 keV"), ("water", 151, "151")],
)
def test_refusals(material, energy, message):
    with pytest.raises(ValueError, match=message):
        mu(material, energy)
