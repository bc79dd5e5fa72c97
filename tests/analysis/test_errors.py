import math

import pytest
import torch

from tomopatch import Volume, VolumeGeometry
from tomopatch.analysis.errors import calibration, error, histogram, noise_power
from tomopatch.analysis.metrics import quality

VG = VolumeGeometry((8, 40, 48), (2.0, 0.5, 0.7))


def test_error_is_that_of_the_metrics(generator):
    a, b = (Volume.from_hu(900 * torch.randn(VG.shape, generator=generator), VG) for _ in range(2))
    assert float(error(a, b).square().mean().sqrt()) == pytest.approx(quality(a, b).rmse_hu, rel=1e-5)
    with pytest.raises(ValueError, match="resample"):
        error(a, Volume(torch.zeros(1, 4, 4), VolumeGeometry((1, 4, 4))))


def test_histogram_keeps_every_voxel_and_its_place(generator):
    e = 30 * torch.randn(40_000, generator=generator) + 10
    centres, share = histogram(e, limit=60, num_bins=60)
    assert float(share.sum()) == pytest.approx(1)
    within = e.abs() < 60
    assert float(share[-1] + share[0]) >= float(
        (~within).double().mean()
    )  # those beyond are in the outermost
    density = torch.exp(-0.5 * ((centres - 10) / 30) ** 2) * 2 / (30 * math.sqrt(2 * math.pi))
    assert torch.allclose(share[1:-1], density[1:-1].double(), atol=0.005)
    with pytest.raises(ValueError, match="limit"):
        histogram(e, limit=0, num_bins=10)


@pytest.mark.parametrize("factor", [1.0, 3.0])
def test_calibration_tells_by_how_much_a_deviation_is_off(generator, factor):
    sigma = 5 + 95 * torch.rand(60_000, generator=generator)
    e = factor * sigma * torch.randn(sigma.shape, generator=generator)
    bins = calibration(e, sigma, num_bins=10)
    assert sum(b.num_voxels for b in bins) == sigma.numel()
    assert [b.predicted for b in bins] == sorted(b.predicted for b in bins)
    for b in bins:  # of 6000 voxels: random deviation 0.9 %, times five
        assert b.rms / b.predicted == pytest.approx(factor, rel=0.05)


def test_calibration_leaves_out_what_has_no_prediction():
    sigma = torch.tensor([0.0, 0.0, 2.0, 2.0])
    (only,) = calibration(torch.tensor([9.0, 9.0, 1.0, -1.0]), sigma, num_bins=1)
    assert (only.predicted, only.rms, only.num_voxels) == (2, 1, 2)
    assert calibration(torch.ones(3), torch.zeros(3)) == []
    with pytest.raises(ValueError, match="grid"):
        calibration(torch.ones(3), torch.ones(4))


def test_white_noise_has_a_flat_spectrum_at_its_variance(generator):
    pixel = (0.5, 0.7)
    frequency, power = noise_power(25 * torch.randn(40, 64, 80, generator=generator), pixel)
    assert float(frequency[-1]) <= 0.5 / 0.7 + 1e-9
    assert float(power.mean()) == pytest.approx(25**2 * 0.5 * 0.7, rel=0.02)
    # rings hold from 40 x 4 modes up: 8 % of chance each
    assert torch.allclose(power, torch.full_like(power, 25**2 * 0.5 * 0.7), rtol=0.35)


def test_a_wave_is_at_its_frequency():
    x = torch.arange(64) * 0.5
    wave = torch.cos(2 * math.pi * x / 4.0).expand(3, 64, 64)  # 4 mm long
    frequency, power = noise_power(wave + 100, (0.5, 0.5))  # a constant is no noise
    assert float(frequency[power.argmax()]) == pytest.approx(0.25, abs=1e-6)
    assert float(power.max() / power.sum()) > 0.99
