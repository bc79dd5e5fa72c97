import math

import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from tomopatch import Volume, VolumeGeometry, quality
from tomopatch.analysis.metrics import contrast_to_noise, psnr, rmse, roi_statistics, ssim


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


def test_quality_inside_a_mask_ignores_what_is_outside(pair):
    a, b = pair
    vg = VolumeGeometry(a.shape)
    inside = torch.zeros(a.shape, dtype=torch.bool)
    inside[1:4, 8:24, 10:30] = True
    reference, test = Volume.from_hu(a, vg), Volume.from_hu(b, vg)
    found = quality(reference, test, inside=inside)
    ruined = Volume.from_hu(torch.where(inside, b, 900.0), vg)
    assert quality(reference, ruined, inside=inside).rmse_hu == pytest.approx(found.rmse_hu, rel=1e-5)
    assert quality(reference, ruined, inside=inside).psnr == pytest.approx(found.psnr, rel=1e-5)
    x, y = (v.hu.clip(-1000, 1000) for v in (reference, test))
    maps = [
        structural_similarity(
            p, q, data_range=2000, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True
        )[1]
        for p, q in zip(x.double().numpy(), y.double().numpy(), strict=True)
    ]
    expected = sum(maps[k][8:24, 10:30].mean() for k in (1, 2, 3)) / 3
    assert found.ssim == pytest.approx(expected, abs=1e-6)
    everything = quality(reference, test, inside=torch.ones(a.shape, dtype=torch.bool))
    assert everything.psnr == pytest.approx(quality(reference, test).psnr)
    assert everything.ssim == pytest.approx(quality(reference, test).ssim)


@pytest.mark.parametrize("shape", [(5, 32, 40), (5, 32, 41)])
def test_a_mask_without_voxels_or_of_another_shape_is_refused(pair, shape):
    volume = Volume.from_hu(pair[0], VolumeGeometry(pair[0].shape))
    with pytest.raises(ValueError, match="non-empty mask of shape"):
        quality(volume, volume, inside=torch.zeros(shape, dtype=torch.bool))


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


# ---- what people pass ---------------------------------------------------------------------------


def test_numpy_and_torch_give_the_same_numbers(pair):
    a, b = pair
    assert rmse(a.numpy(), b.numpy()) == rmse(a, b)
    assert psnr(a.numpy(), b, data_range=2000) == psnr(a, b, data_range=2000)
    assert ssim(a.numpy(), b.numpy(), data_range=2000) == pytest.approx(ssim(a, b, data_range=2000))
    volume = Volume.from_hu(a, VolumeGeometry(tuple(a.shape)))
    mask = a > 0
    assert roi_statistics(volume, mask.numpy()) == roi_statistics(volume, mask)


def test_arrays_of_two_shapes_are_not_broadcast(pair):
    a, _ = pair
    for metric in (rmse, lambda p, q: psnr(p, q, data_range=2000), lambda p, q: ssim(p, q, data_range=2000)):
        with pytest.raises(ValueError, match=r"\(5, 32, 40\) and \(32, 40\); expected one shape"):
            metric(a, a[0])
    with pytest.raises(ValueError, match=r"volumes \(z, y, x\)"):
        ssim(a[0], a[0], data_range=2000)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_volumes_that_are_not_finite_have_no_quality(pair, bad):
    """Infinity would be clipped to 1000 HU, and NaN make every metric NaN."""
    vg = VolumeGeometry(tuple(pair[0].shape))
    good, corrupted = Volume.from_hu(pair[0], vg), pair[1].clone()
    corrupted[1, 2, 3] = bad
    for volumes in ((good, Volume(corrupted, vg)), (Volume(corrupted, vg), good)):
        with pytest.raises(ValueError, match=r"1 voxel of NaN or infinity.*to be compared"):
            quality(*volumes)


def test_only_volumes_on_one_grid_are_compared(pair):
    shape = tuple(pair[0].shape)
    a, b = (Volume.from_hu(pair[0], VolumeGeometry(shape, size)) for size in ((1, 1, 1), (1, 1, 1.1)))
    with pytest.raises(ValueError, match="resample one to the other's grid"):
        quality(a, b)
    with pytest.raises(TypeError, match="two volumes, got Tensor"):
        quality(a, pair[1])
