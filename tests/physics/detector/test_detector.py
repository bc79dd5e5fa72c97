import math

import numpy as np
import pytest
import torch

from tomopatch.physics.detector import blur
from tomopatch.physics.detector.blur import FWHM, focal_spot, smeared
from tomopatch.physics.detector.faults import lagged, pixels_of, read_out
from tomopatch.physics.detector.noise import photon_noise
from tomopatch.physics.effects import DetectorFaults, Scatter, Tube
from tomopatch.physics.materials.attenuation import mu
from tomopatch.physics.source.spectrum import tube_spectrum
from tomopatch.physics.transmission.scatter import scattered


def test_gain_errors_are_constant_in_time_and_have_their_size():
    flat = torch.ones(40, 3, 50)
    read = read_out(flat, DetectorFaults(gain=0.02, seed=1), 1.0)
    assert torch.equal(read[:, 0], read[:, 2])
    # 2000 pixels: the standard deviation of a standard deviation is 1.6 %
    assert float(read[:, 0].std()) == pytest.approx(0.02, rel=0.06)
    assert torch.equal(read, read_out(flat, DetectorFaults(gain=0.02, seed=1), 1.0))
    assert not torch.equal(read, read_out(flat, DetectorFaults(gain=0.02, seed=2), 1.0))


def test_dead_pixels_and_columns_read_nothing():
    faults = DetectorFaults(dead=0.1, dead_columns=3)
    dead = pixels_of(faults, (20, 30)).dead
    assert int(dead.all(0).sum()) == 3
    assert int(pixels_of(DetectorFaults(dead=0.1), (20, 30)).dead.sum()) == 60
    read = read_out(torch.ones(20, 4, 30), faults, 1.0, electronic=torch.ones(20, 4, 30))
    assert torch.equal(read == 0, dead[:, None].expand(20, 4, 30))


def test_lag_carries_a_share_into_the_next_view():
    signal = torch.zeros(1, 4, 2)
    signal[:, 1] = 1.0
    assert lagged(signal, 0.25)[0, :, 0].tolist() == [0.0, 0.75, 0.25, 0.0]
    steady = torch.ones(1, 4, 2)
    assert torch.equal(lagged(steady, 0.25), steady)


def test_saturation_limits_the_signal():
    signal = torch.tensor([[[0.2, 0.6, 1.0]]])
    read = read_out(signal, DetectorFaults(saturation=0.5), torch.tensor([[[1.0, 1.0, 0.4]]]))
    torch.testing.assert_close(read, torch.tensor([[[0.2, 0.5, 0.2]]]))


@pytest.mark.parametrize("width", [0.5, 2.0, 6.0])
def test_detector_blur_has_its_width(width):
    point = torch.zeros(41, 1, 61, dtype=torch.float64)
    point[20, 0, 30] = 1.0
    image = smeared(point, width / FWHM)[:, 0]
    assert float(image.sum()) == pytest.approx(1.0)
    for axis, n in enumerate(image.shape):
        places = torch.arange(n, dtype=torch.float64) - n // 2
        variance = float((image.sum(1 - axis) * places**2).sum())
        assert variance == pytest.approx((width / FWHM) ** 2, rel=1e-6)


def test_a_kernel_is_the_same_on_both_sides_of_its_change(monkeypatch):
    point = torch.zeros(1, 1, 301, dtype=torch.float64)
    point[..., 150] = 1.0
    exact = smeared(point, blur.WIDE)
    monkeypatch.setattr(blur, "WIDE", 1.0)
    torch.testing.assert_close(smeared(point, 20.0), exact, atol=4e-4 * float(exact.max()), rtol=0)


def test_blur_keeps_an_even_signal_up_to_the_edges():
    flat = torch.ones(5, 2, 9)
    torch.testing.assert_close(smeared(flat, 30.0), flat)


def test_scatter_has_its_ratio_and_leaves_air_alone():
    generator = torch.Generator().manual_seed(1)
    primary = torch.rand((6, 3, 40), generator=generator)
    primary[:, 2] = 1.0
    extra = scattered(primary, Scatter(ratio=0.4, width=0.3))
    source = primary * (1 - primary)
    torch.testing.assert_close(extra.sum((0, 2)), 0.4 * source.sum((0, 2)))
    assert float(extra[:, 2].abs().max()) == 0
    # behind a bowtie the transmission is relative to the beam without an object
    half = scattered(primary * 0.5, Scatter(ratio=0.4, width=0.3), torch.full((1, 1, 1), 0.5))
    torch.testing.assert_close(half, extra * 0.5)


def test_scatter_spreads_as_far_along_tall_pixels():
    """Pixels twice as high as wide: half as many rows as columns lie within the kernel."""
    primary = torch.ones(41, 1, 41)
    primary[20, 0, 20] = 0.5
    tall = scattered(primary, Scatter(ratio=1.0, width=0.1), aspect=2.0)[:, 0]
    rows, columns = ((t > 0.5 * t.max()).sum() for t in (tall[:, 20], tall[20]))
    assert float(columns) == pytest.approx(2 * float(rows), abs=1)
    assert float(tall.sum()) == pytest.approx(0.25)


def test_wide_scatter_is_smooth():
    primary = torch.ones(1, 1, 64)
    primary[..., 32] = 0.5
    extra = scattered(primary, Scatter(ratio=1.0, width=0.1))[0, 0]
    assert int(extra.argmax()) == 32
    # half of the maximum at FWHM / 2 = 1.18 standard deviations, 7.5 pixels
    half = extra > 0.5 * extra.max()
    assert int(half.sum()) == pytest.approx(2 * 1.1774 * 6.4, abs=1)


@pytest.mark.parametrize("photons", [2.0, 30.0, 3000.0])
def test_noise_of_an_integrating_detector_is_compound_poisson(photons):
    """Against the sum of Poisson numbers of photons of each energy, behind 100 mm of water."""
    s = tube_spectrum(Tube())
    left = s.photons * np.exp(-100 * mu("water", s.energies))
    expected = photons * left / left.sum()
    n = 100_000
    exact = np.random.default_rng(0).poisson(expected, (n, len(left))) @ s.energies
    mean, variance = expected @ s.energies, expected @ s.energies**2
    drawn = photon_noise(
        torch.full((n,), mean), torch.full((n,), variance / mean), torch.Generator().manual_seed(0)
    ).numpy()
    # standard errors of 100,000 draws: mean 0.7 % / sqrt(photons) of itself, variance 0.5 to 0.8 %
    for values in (exact, drawn):
        assert values.mean() == pytest.approx(mean, rel=0.01)
        assert values.var() == pytest.approx(variance, rel=0.025)
    # a Poisson variable of mean energy alone would miss the variance by more than that
    assert variance > 1.05 * mean**2 / photons
    if photons < 5:  # no photon at all, exp(-2); the scaled variable has a mean that is lower by 9 %
        assert (drawn == 0).mean() == pytest.approx((exact == 0).mean(), rel=0.25)


def test_one_energy_is_poisson():
    mean = torch.full((1000,), 20.0)
    a, b = (photon_noise(mean, gain, torch.Generator().manual_seed(3)) for gain in (None, torch.ones(1000)))
    assert torch.equal(a, b)


@pytest.mark.parametrize("diameter", [0.5, 20.0])
def test_points_of_a_focal_spot_have_the_moments_of_a_disc(diameter):
    from tomopatch import ConeBeam

    views = ConeBeam((0.3,), (5, 5), (1.0, 1.0), 100.0, 200.0).views()
    points = focal_spot(views, diameter)
    assert sum(w for w, _ in points) == pytest.approx(1.0)
    offsets = np.array([v.source[0] - views.source[0] for _, v in points])
    weights = np.array([w for w, _ in points])
    assert np.linalg.norm(weights @ offsets) < 0.02 * diameter
    for axis in (views.det_u[0], views.det_v[0]):
        assert weights @ (offsets @ axis) ** 2 == pytest.approx(diameter**2 / 16, rel=0.03)
    assert np.linalg.norm(offsets, axis=1).max() <= diameter / 2
    assert math.isclose(
        float(np.abs(offsets @ np.cross(views.det_u[0], views.det_v[0])).max()), 0, abs_tol=1e-9
    )
