import numpy as np
import pytest
import torch

from tomopatch import (
    ConeBeam,
    ParallelBeam,
    Projector,
    Volume,
    VolumeGeometry,
    crop,
    pad,
    phantom,
    resample,
    write_nifti,
)
from tomopatch.io.dicom_writer import write_dicom
from tomopatch.volume import MU_WATER, area_average, body_box, hu_from_mu, mu_from_hu, mu_from_hu_


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


# ---- what people pass ---------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float64", "float32", ">f4", "int16", "uint16", "bool"])
def test_arrays_of_any_type_make_a_volume(dtype):
    vg = VolumeGeometry((2, 3, 4))
    hu = (np.arange(24).reshape(vg.shape) * 10).astype(dtype)
    expected = torch.from_numpy(hu.astype(np.float32))
    volume = Volume.from_hu(hu, vg)
    assert volume.data.dtype == torch.float32
    torch.testing.assert_close(volume.hu, expected, atol=1e-3, rtol=0)
    torch.testing.assert_close(Volume(hu, vg).data, expected)
    torch.testing.assert_close(Volume(hu.tolist(), vg).data, expected)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda vg: Volume("data", vg), "got str"),
        (lambda vg: Volume(np.zeros(vg.shape, complex), vg), "real numbers"),
        (lambda vg: Volume(np.zeros(vg.shape), (2, 3, 4)), "VolumeGeometry, got tuple"),
        (lambda vg: Volume([[0.0], [0.0, 1.0]], vg), "not an array of numbers"),
    ],
)
def test_what_is_no_volume_is_refused_in_a_sentence(make, words):
    with pytest.raises(TypeError, match=words):
        make(VolumeGeometry((2, 3, 4)))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda v: resample(v, (8, 8)),
        lambda v: resample(v, (8, 8, 0)),
        lambda v: resample(v, 8),
        lambda v: pad(v, (64, 64)),
        lambda v: v.geometry.with_shape((1, 2)),
        lambda v: phantom("spheres", (64, 64)),
        lambda v: phantom("spheres", 64),
        lambda v: phantom("spheres", (4, 8, 8), voxel_size=(1.0, 1.0)),
        lambda v: crop(v, (slice(0, 2), slice(0, 2))),
        lambda v: crop(v, (0, 1, 2)),
        lambda v: VolumeGeometry((10**400, 2, 2)),
        lambda v: VolumeGeometry((2, 2, 2), (10**400, 1, 1)),
        lambda v: VolumeGeometry((2, 2, 2), pos=(0, 0)),
    ],
)
def test_wrong_shapes_are_answered_with_the_three_axes(blobs, wrong):
    with pytest.raises(ValueError, match=r"z, y, x"):
        wrong(blobs)


@pytest.mark.parametrize("size", [1e-9, 1e30])
def test_voxels_of_no_physical_size_are_refused(size):
    with pytest.raises(ValueError, match=r"voxel_size must lie between 1e-06 and 1e\+06 mm"):
        VolumeGeometry((2, 2, 2), (1.0, size, 1.0))


def test_in_place_conversion_gives_the_same_bits(generator):
    hu = torch.rand(10_000, generator=generator) * 4000 - 1000
    assert torch.equal(mu_from_hu_(hu.clone()), mu_from_hu(hu))


def test_a_volume_stands_for_its_grid(blobs):
    pg = ParallelBeam.circular(blobs, num_views=3)
    assert pg == ParallelBeam.circular(blobs.geometry, num_views=3)
    cone = {"num_views": 3, "src_orig_dist": 100, "src_det_dist": 150}
    assert ConeBeam.circular(blobs, **cone) == ConeBeam.circular(blobs.geometry, **cone)
    assert Projector(blobs, pg).vg == blobs.geometry
    for wrong in (lambda: ParallelBeam.circular((4, 4, 4), num_views=3), lambda: Projector((4, 4, 4), pg)):
        with pytest.raises(TypeError, match="expected a VolumeGeometry or a Volume, got tuple"):
            wrong()


def test_only_volumes_are_written(tmp_path, blobs):
    for write in (write_nifti, write_dicom):
        with pytest.raises(TypeError, match="expected a Volume, got ndarray"):
            write(tmp_path / "a.nii", blobs.data.numpy())
