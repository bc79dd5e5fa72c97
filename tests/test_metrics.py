import math

import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from core import Volume, VolumeGeometry, quality
from core.metrics import contrast_to_noise, psnr, rmse, roi_statistics, ssim


@pytest.fixture
def pair(generator):
    x = torch.rand(5, 32, 40, generator=generator) * 1000 - 500
    return x, x + 80 * torch.randn(x.shape, generator=generator)


def test_psnr_and_ssim_are_those_of_scikit_image(pair):
    a, b = pair
    assert psnr(a, b, data_range=2000) == pytest.approx(
        peak_signal_noise_ratio(a.numpy(), b.numpy(), data_range=2000), abs=1e-3
    )
    theirs = [
        structural_similarity(
            p, q, data_range=2000, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
        for p, q in zip(a.double().numpy(), b.double().numpy(), strict=True)
    ]
    assert ssim(a, b, data_range=2000) == pytest.approx(sum(theirs) / len(theirs), abs=1e-6)


def test_equal_volumes_are_perfect(pair):
    a, _ = pair
    assert psnr(a, a, data_range=2000) == math.inf
    assert ssim(a, a, data_range=2000) == pytest.approx(1.0)
    assert rmse(a, a) == 0


def test_quality_clips_to_the_window_of_every_table():
    vg = VolumeGeometry((2, 16, 16))
    air = Volume.from_hu(torch.full(vg.shape, -1000.0), vg)
    below = Volume.from_hu(torch.full(vg.shape, -3000.0), vg)
    assert quality(air, below).rmse_hu == pytest.approx(0, abs=1e-3)
    hundred = Volume.from_hu(torch.full(vg.shape, -900.0), vg)
    assert quality(air, hundred).rmse_hu == pytest.approx(100, abs=1e-3)
    assert quality(air, hundred).psnr == pytest.approx(20 * math.log10(20), abs=1e-4)


def test_regions():
    vg = VolumeGeometry((2, 4, 4))
    hu = torch.zeros(vg.shape)
    hu[0], hu[1, :2] = 100.0, 10.0
    volume = Volume.from_hu(hu, vg)
    top, bottom = torch.zeros(vg.shape, dtype=torch.bool), torch.zeros(vg.shape, dtype=torch.bool)
    top[0], bottom[1] = True, True
    stats = roi_statistics(volume, bottom)
    assert (stats.mean, stats.std, stats.num_voxels) == (
        pytest.approx(5, abs=1e-2),
        pytest.approx(5, abs=1e-2),
        16,
    )
    assert contrast_to_noise(volume, top, bottom) == pytest.approx(19, rel=1e-3)
    with pytest.raises(ValueError, match="non-empty"):
        roi_statistics(volume, torch.zeros(vg.shape, dtype=torch.bool))
    with pytest.raises(ValueError, match="resample"):
        quality(volume, Volume(torch.zeros(1, 4, 4), VolumeGeometry((1, 4, 4))))
