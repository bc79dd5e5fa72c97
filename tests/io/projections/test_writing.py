"""Exported projections are read again with the same values and the same rays."""

import json
import zipfile

import numpy as np
import pytest
import torch

from tomopatch.geometry.beams import ConeBeam, ParallelBeam
from tomopatch.io.projections import read_projections
from tomopatch.io.projections.writing import GEOMETRY_NAME, npz_keys, tiff_zip_bytes
from tomopatch.physics.corrections import prepare_projections
from tomopatch.volume import VolumeGeometry

VG = VolumeGeometry((6, 16, 16), (2.0, 1.5, 1.5))
PARALLEL = ParallelBeam.circular(VG, num_views=7, start=0.3)
CONE = ConeBeam.circular(VG, num_views=9, src_orig_dist=100.0, src_det_dist=160.0, det_offset=(1.5, -2.0))
GEOMETRIES = {
    "parallel": PARALLEL,
    "parallel, shifted axis": ParallelBeam.circular(VG, num_views=7, det_offset=(0.0, 3.0)),
    "parallel, shifted rows": ParallelBeam.circular(VG, num_views=7, det_offset=(4.0, 3.0)),
    "laminography": ParallelBeam.circular(VG, num_views=7, tilt=0.4),
    "cone": CONE,
    "fan": ConeBeam.circular(
        VolumeGeometry((1, 16, 16), (2.0, 1.5, 1.5)),
        num_views=9,
        src_orig_dist=100.0,
        src_det_dist=160.0,
        det_shape=(1, 24),
    ),
    "helix": ConeBeam.circular(VG, num_views=9, src_orig_dist=100.0, src_det_dist=160.0, pitch=5.0),
    "free": CONE.views().subset([4, 1, 0]),
}


def written(tmp_path, kind, y, pg):
    path = tmp_path / ("scan.npz" if kind == "npz" else "scan.zip")
    if kind == "npz":
        np.savez(path, projections=y, **npz_keys(pg))
    else:
        path.write_bytes(tiff_zip_bytes(y, pg))
    return path


@pytest.mark.parametrize("kind", ["npz", "tiff"])
@pytest.mark.parametrize("name", GEOMETRIES)
def test_values_and_rays_are_the_same_after_reading(tmp_path, kind, name):
    if kind == "tiff":
        pytest.importorskip("tifffile")
    pg = GEOMETRIES[name]
    v, u = pg.det_shape
    y = np.random.default_rng(0).random((v, pg.num_views, u), np.float32)
    path = written(tmp_path, kind, y, pg)
    measurement = prepare_projections(read_projections(path), stripes=False).measurement
    np.testing.assert_array_equal(measurement.projections.numpy(), y)
    assert isinstance(measurement.geometry, type(pg)) or name in (
        "helix",
        "laminography",
        "parallel, shifted rows",
    )
    expected, found = pg.views(), measurement.geometry.views()
    assert found.cone == expected.cone
    for array in ("source", "det_pos", "det_u", "det_v"):
        # degrees in JSON: the last bits of the angles may change
        np.testing.assert_allclose(getattr(found, array), getattr(expected, array), rtol=0, atol=1e-9)


def test_a_view_is_an_upright_picture(tmp_path):
    """The first row of a TIFF shows the top of the object."""
    tifffile = pytest.importorskip("tifffile")
    y = torch.zeros(6, 7, 16)
    y[-1] = 1  # the engine counts rows upwards
    (tmp_path / "scan.zip").write_bytes(tiff_zip_bytes(y.numpy(), PARALLEL))
    with zipfile.ZipFile(tmp_path / "scan.zip") as archive:
        names = archive.namelist()
        keys = json.loads(archive.read(GEOMETRY_NAME))
        archive.extract("view_3.tif", tmp_path)
    page = tifffile.imread(tmp_path / "view_3.tif")
    assert len(names) == 8
    assert keys["rows"] == "down"
    assert page.dtype == np.float32
    assert (page[0] == 1).all()
    assert not page[1:].any()


def test_a_geometry_file_that_is_given_replaces_the_one_in_the_zip(tmp_path):
    pytest.importorskip("tifffile")
    (tmp_path / "scan.zip").write_bytes(tiff_zip_bytes(np.zeros((6, 7, 16), np.float32), PARALLEL))
    found = read_projections(tmp_path / "scan.zip", geometry={"rotation_axis_u_px": 3.0})
    assert found.axis == 3.0
    assert found.num_views == 7
