"""Contrast of a ball against closed forms."""

import pytest
import torch

from tomopatch.analysis.contrast import Contrast, contrast
from tomopatch.phantoms.lesions import plant
from tomopatch.phantoms.scene import Lesion
from tomopatch.volume import Volume, VolumeGeometry

VG = VolumeGeometry((24, 48, 48), (3.0, 2.0, 2.0))


@pytest.mark.parametrize("hu", [40.0, -900.0])
def test_the_contrast_of_a_planted_ball_is_that_of_its_tissue(hu):
    lung = Volume.from_hu(torch.full(VG.shape, -850.0), VG)
    found = contrast(plant(lung, [Lesion((2.0, -5.0, 7.0), 9.0, hu)]), (2.0, -5.0, 7.0), 9.0)
    # voxels on the surface belong to both in part
    assert found.hu == pytest.approx(hu + 850, abs=0.04 * abs(hu + 850))
    without = contrast(lung, (2.0, -5.0, 7.0), 9.0)
    assert (without.hu, without.noise) == pytest.approx((0, 0), abs=1e-2)


def test_the_noise_is_that_of_the_surroundings():
    noise = torch.randn(VG.shape, generator=torch.Generator().manual_seed(0)) * 30
    found = contrast(Volume.from_hu(noise, VG), (0.0, 0.0, 0.0), 10.0)
    assert found.noise == pytest.approx(30, rel=0.1)  # about a thousand voxels
    assert abs(found.hu) < 5


def test_blurring_loses_contrast():
    lung = Volume.from_hu(torch.full(VG.shape, -850.0), VG)
    sharp = plant(lung, [Lesion((0.0, 0.0, 0.0), 6.0, 40.0)])
    kernel = torch.ones(1, 1, 5, 5, 5) / 125
    data = torch.nn.functional.conv3d(sharp.data[None, None], kernel, padding=2)[0, 0]
    blurred = contrast(sharp.with_data(data), (0.0, 0.0, 0.0), 6.0)
    assert 0 < blurred.hu < 0.9 * contrast(sharp, (0.0, 0.0, 0.0), 6.0).hu


@pytest.mark.parametrize(
    ("hu", "noise", "kept"),
    [(60, 10, True), (49, 1, False), (60, 21, False), (-60, 10, False), (100, 33, True)],
)
def test_contrast_is_kept_if_it_is_large_enough_and_above_the_noise(hu, noise, kept):
    assert Contrast(hu, noise).is_kept(100, share=0.5, to_noise=3) == kept
    assert Contrast(-hu, noise).is_kept(-100, share=0.5, to_noise=3) == kept


def test_a_ball_outside_the_volume_is_refused():
    with pytest.raises(ValueError, match="centre"):
        contrast(Volume.from_hu(torch.zeros(VG.shape), VG), (500.0, 0.0, 0.0), 5.0)
