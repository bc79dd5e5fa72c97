import pytest
import torch

from core import Volume, VolumeGeometry, crop, pad, resample
from core.volume import MU_WATER, area_average, body_box, hu_from_mu, mu_from_hu


def test_hounsfield_fixes_air_and_water():
    hu = torch.tensor([-1000.0, 0.0, 1000.0])
    torch.testing.assert_close(mu_from_hu(hu), torch.tensor([0.0, MU_WATER, 2 * MU_WATER]))
    torch.testing.assert_close(hu_from_mu(mu_from_hu(hu)), hu, atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("shape", "voxel_size", "word"),
    [((0, 4, 4), (1, 1, 1), "shape"), ((4, 4), (1, 1, 1), "shape"), ((4, 4, 4), (1, -1, 1), "voxel_size"),
     ((4, 4, 4), (1, float("nan"), 1), "voxel_size"), ((2.5, 4, 4), (1, 1, 1), "shape")],
)  # fmt: skip
def test_impossible_geometry_is_refused_with_its_name(shape, voxel_size, word):
    with pytest.raises(ValueError, match=word):
        VolumeGeometry(shape, voxel_size)


def test_data_must_fit_its_geometry():
    with pytest.raises(ValueError, match=r"\(4, 4, 5\).*\(4, 4, 4\)"):
        Volume(torch.zeros(4, 4, 5), VolumeGeometry((4, 4, 4)))


@pytest.mark.parametrize("shape", [(5, 7, 9), (10, 14, 18), (20, 24, 28), (3, 24, 11), (40, 48, 30)])
def test_area_average_keeps_constants_and_the_mean(shape, generator):
    x = torch.rand(20, 24, 28, generator=generator)
    torch.testing.assert_close(area_average(torch.ones_like(x), shape), torch.ones(shape))
    torch.testing.assert_close(area_average(x, shape).mean(), x.mean(), atol=1e-6, rtol=1e-5)


def test_area_average_of_a_ramp_is_the_ramp_at_cell_centres():
    x = torch.linspace(0.5, 29.5, 30).expand(4, 4, 30)  # value = position
    for n, tolerance in (
        (6, 1e-5),
        (7, 0.06),
    ):  # cells that cut voxels see steps: off by up to 1/8 voxel / 4.3
        expected = (torch.arange(n) + 0.5) * 30 / n
        torch.testing.assert_close(area_average(x, (4, 4, n))[0, 0], expected, atol=tolerance, rtol=0)


def test_resample_keeps_extent_and_place(blobs):
    coarse = resample(blobs, (10, 11, 7))
    assert coarse.geometry.size == pytest.approx(blobs.geometry.size)
    assert coarse.geometry.pos == blobs.geometry.pos


def test_crop_and_pad_leave_voxels_where_they_are(blobs):
    part = crop(blobs, (slice(3, 9), slice(0, 20), slice(5, 28)))
    for axis, first in enumerate((3, 0, 5)):
        assert float(part.geometry.axis(axis)[0]) == pytest.approx(float(blobs.geometry.axis(axis)[first]))
    grown = pad(part, (9, 23, 30))
    position = [int((grown.geometry.axis(a) - part.geometry.axis(a)[0]).abs().argmin()) for a in range(3)]
    assert float(grown.data[tuple(position)]) == float(part.data[0, 0, 0])
    assert float(grown.data.sum()) == pytest.approx(float(part.data.sum()))
    with pytest.raises(ValueError, match="smaller"):
        pad(part, (2, 20, 23))


def test_body_box_ignores_a_thin_table():
    data = torch.zeros(10, 60, 60)
    data[:, 20:40, 15:45] = MU_WATER
    data[0, 55, 0:3] = MU_WATER  # a speck: less than 1 % of its planes
    box = body_box(Volume(data, VolumeGeometry(data.shape)), margin=2.0)
    assert box == (slice(0, 10), slice(18, 42), slice(13, 47))
