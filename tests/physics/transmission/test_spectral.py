import numpy as np
import pytest
import torch

from tomopatch.physics.effects import Tube
from tomopatch.physics.source.spectrum import tube_spectrum
from tomopatch.physics.transmission import polychromatic
from tomopatch.physics.transmission.polychromatic import Beam
from tomopatch.physics.transmission.spectral import BLOCK, spectral_sums


def direct(paths, attenuation, weights):
    """The same sum in float64."""
    return weights.astype(float) @ np.exp(-attenuation.astype(float) @ paths.astype(float))


@pytest.mark.parametrize("materials", [1, 2, 4])
@pytest.mark.parametrize("rays", [1, BLOCK, 3 * BLOCK + 7])
def test_sums_equal_float64(materials, rays):
    rng = np.random.default_rng(rays)
    paths = rng.random((materials, rays), np.float32) * np.float32(400 / materials)
    attenuation, weights = rng.random((20, materials)) * 0.1, rng.random((2, 20))
    weights /= weights.sum(1, keepdims=True)
    # exponents up to 40: rounding of the exponents to float32 costs 40 * 6e-8
    np.testing.assert_allclose(
        spectral_sums(paths, attenuation, weights), direct(paths, attenuation, weights), rtol=5e-6
    )


def test_a_short_path_loses_nothing():
    """Small absorptions keep their digits: 1 - exp(-1e-4) to float32."""
    paths = np.full((1, 5), 1e-4, np.float32)
    out = spectral_sums(paths, np.ones((20, 1)), np.full((2, 20), 0.05))
    np.testing.assert_allclose(out, np.exp(-1e-4), rtol=4e-7)


def test_an_opaque_ray_and_negative_overshoot_are_finite():
    """A path length may be slightly negative where an object was resampled; it may also absorb everything."""
    paths = np.array([[0.0, -1e-3, 1e6, 1e30]], np.float32)
    out = spectral_sums(paths, np.ones((20, 1)), np.full((2, 20), 0.05))
    np.testing.assert_allclose(out[0, :2], [1.0, np.exp(1e-3)], rtol=1e-6)
    assert ((out[:, 2:] >= 0) & (out[:, 2:] < 1e-37)).all()


def test_air_within_a_block_is_one():
    paths = np.zeros((2, 2 * BLOCK), np.float32)
    paths[0, -1] = 10.0
    out = spectral_sums(paths, np.full((20, 2), 0.02), np.full((2, 20), 0.05))
    np.testing.assert_allclose(out[:, :-1], 1.0, rtol=2e-7)
    np.testing.assert_allclose(out[:, -1], np.exp(-0.2), rtol=1e-6)


def test_the_sums_of_torch_are_the_same_in_any_chunks(monkeypatch):
    monkeypatch.setattr(polychromatic, "RAYS_AT_ONCE", 7)
    beam = Beam(("water", "cortical bone"), tube_spectrum(Tube()))
    paths = [torch.rand(2, 3, 50) * 200, torch.rand(2, 3, 50) * 20]
    exact = beam([path.double() for path in paths], slice(None))
    torch.testing.assert_close(beam(paths, slice(None)), exact.float(), rtol=5e-6, atol=0)
