import math

import pytest
import torch

from tomopatch import Volume, VolumeGeometry
from tomopatch.analysis.metrics import contrast_to_noise, roi_statistics
from tomopatch.analysis.regions import Region, region_quality

VG = VolumeGeometry((40, 50, 60), (1.5, 1.0, 0.8))


def volume(hu, vg=VG):
    return Volume.from_hu(hu, vg)


@pytest.mark.parametrize(("kind", "content"), [("sphere", math.pi / 6), ("box", 1.0)])
@pytest.mark.parametrize("size", [12.0, 20.0])
def test_a_region_is_as_large_as_it_says(kind, content, size):
    _, inside, shell = Region(kind, (0.5, 0.48, 0.53), size).masks(VG)
    voxel = math.prod(VG.voxel_size)
    # a voxel in or out at the surface: some 5 % at this size, more for the cube, whose faces lie along the
    # grid
    assert int(inside.sum()) * voxel == pytest.approx(content * size**3, rel=0.2 if kind == "box" else 0.05)
    assert int(shell.sum()) * voxel == pytest.approx(content * size**3 * (2**3 - 1.25**3), rel=0.1)
    assert not bool((inside & shell).any())


def test_statistics_of_a_known_ball_in_known_noise(generator):
    z, y, x = torch.meshgrid(*(VG.axis(a) for a in range(3)), indexing="ij")
    ball = (z**2 + y**2 + x**2).sqrt() <= 8
    clean = torch.where(ball, 130.0, 30.0)
    noisy = clean + 20 * torch.randn(VG.shape, generator=generator)
    found = region_quality(volume(clean), volume(noisy), Region("sphere", (0.5, 0.5, 0.5), 14.0))
    error = 20 / math.sqrt(found.num_voxels)
    assert found.mean == pytest.approx(130, abs=4 * error)
    assert found.std == pytest.approx(20, rel=0.1)
    assert found.contrast_to_noise == pytest.approx(
        100 / 20, rel=0.1
    )  # of a ball that fills it, on flat ground
    assert found.psnr == pytest.approx(20 * math.log10(2000 / 20), abs=0.6)


def test_the_part_of_the_grid_changes_nothing(generator):
    hu = 300 * torch.randn(VG.shape, generator=generator)
    region = Region("box", (0.2, 0.9, 0.5), 11.0)  # its shell reaches over the edge
    cut, inside, shell = region.masks(VG)
    whole_inside, whole_shell = (
        torch.zeros(VG.shape, dtype=torch.bool),
        torch.zeros(VG.shape, dtype=torch.bool),
    )
    whole_inside[cut], whole_shell[cut] = inside, shell
    found = region_quality(volume(hu), volume(hu), region)
    stats = roi_statistics(volume(hu), whole_inside)
    assert (found.mean, found.std, found.num_voxels) == (
        pytest.approx(stats.mean, abs=1e-3),
        pytest.approx(stats.std, rel=1e-4),
        stats.num_voxels,
    )
    assert found.contrast_to_noise == pytest.approx(
        contrast_to_noise(volume(hu), whole_inside, whole_shell), abs=1e-4
    )
    assert found.psnr == math.inf


def test_an_error_outside_of_the_region_does_not_count():
    wrong = torch.zeros(VG.shape)
    wrong[:5] = 500.0
    region = Region("sphere", (0.7, 0.5, 0.5), 8.0)
    assert region_quality(volume(torch.zeros(VG.shape)), volume(wrong), region).psnr == math.inf


def test_what_cannot_be_measured_is_said():
    with pytest.raises(ValueError, match="choose another size"):
        Region("sphere", (0.5, 0.5, 0.5), 0.3).masks(VG)
    with pytest.raises(ValueError, match="choose another size"):  # all of the volume: nothing around it
        Region("box", (0.5, 0.5, 0.5), 500.0).masks(VG)
    for bad in (("ball", (0.5, 0.5, 0.5), 3), ("box", (0.5, 0.5, 2), 3), ("box", (0.5, 0.5, 0.5), -1)):
        with pytest.raises(ValueError):
            Region(*bad)
