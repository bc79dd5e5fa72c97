"""Each reader on a file that the usual library of its format wrote."""

import io
import json
import math
import zipfile

import numpy as np
import pytest

from tomopatch.io.projections import Projections, is_projections, read_geometry_file, read_projections
from tomopatch.notes import collected

DATA = np.arange(4 * 2 * 5, dtype=np.float32).reshape(4, 2, 5) + 100  # (view, v, u)
ANGLES = [0.0, 45.0, 90.0, 135.0]
COUNTS = {"quantity": "counts", "white_level": 200}


def in_engine_order(data=DATA):
    return np.moveaxis(data, 0, 1)


def write_npz(path, **arrays):
    np.savez(path, **{"projections": DATA, "angles_deg": ANGLES, "quantity": "transmission", **arrays})
    return path


def test_npz(tmp_path):
    path = write_npz(
        tmp_path / "scan.bin",
        air=0.7,
        beam="fan",
        pixel_size_mm=[0.2, 0.3],
        src_orig_dist_mm=100.0,
        src_det_dist_mm=150.0,
        rotation_axis_u_px=1.5,
        license="anything",
    )
    path = path.with_suffix(".bin.npz")
    p = read_projections(path)
    np.testing.assert_array_equal(p.data, in_engine_order())
    np.testing.assert_allclose(p.angles, np.deg2rad(ANGLES))
    assert (p.quantity, p.beam, p.white, p.axis) == ("transmission", "cone", 0.7, 1.5)
    assert (p.pixel_size, p.src_orig_dist, p.src_det_dist) == ((0.2, 0.3), 100.0, 150.0)
    assert is_projections(path)
    uploaded = read_projections(("scan.npz", path.read_bytes()))
    np.testing.assert_array_equal(uploaded.data, p.data)


def test_npz_is_never_unpickled(tmp_path):
    path = write_npz(tmp_path / "scan.npz", dark=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ValueError, match=r"dark of type object"):
        read_projections(path)


def test_simulated_measurement_is_left_to_its_own_reader(tmp_path):
    """The command reads it with weights and grid; earlier versions did not store the geometry as arrays."""
    path = tmp_path / "scan.npz"
    np.savez(path, projections=np.ones((2, 3, 4), np.float32), about=np.zeros(3, np.uint8))
    assert not is_projections(path)
    with pytest.raises(ValueError, match="tomopatch simulate"):
        read_projections(path)


@pytest.mark.parametrize("kind", ["pages", "folder", "zip"])
def test_tiff(tmp_path, kind):
    tifffile = pytest.importorskip("tifffile")
    if kind == "pages":
        path = tmp_path / "scan.tif"
        tifffile.imwrite(path, DATA.astype(np.uint16), photometric="minisblack")
    else:
        path = tmp_path / "scan"
        (path / "darks").mkdir(parents=True)
        for k, view in enumerate(DATA):
            tifffile.imwrite(path / f"view{8 + k}.tif", view)  # view10 comes after view9
        tifffile.imwrite(path / "darks" / "1.tif", np.full((2, 5), 3, np.float32))
        tifffile.imwrite(path / "flat1.tif", np.full((2, 5), 500, np.float32))
        (path / "readme.txt").write_text("not a picture")
    if kind == "zip":
        path = tmp_path / "scan.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for file in sorted((tmp_path / "scan").rglob("*.*")):
                archive.write(file, file.relative_to(tmp_path))
    assert is_projections(path)
    with collected() as notes:
        p = read_projections(path, geometry=COUNTS | {"angle_step_deg": 45, "pixel_size_mm": 0.1})
    np.testing.assert_array_equal(p.data, in_engine_order())
    np.testing.assert_allclose(p.angles, np.deg2rad(ANGLES))
    if kind == "pages":
        assert p.dark is None
    else:
        assert p.dark.shape == (1, 2, 5)
        assert float(p.flat.mean()) == 500
        assert any("dark frame" in n for n in notes)


def test_tiff_pages_as_sinograms(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(tmp_path / "s.tif", in_engine_order(), photometric="minisblack")
    p = read_projections(tmp_path / "s.tif", geometry=COUNTS | {"order": "v, view, u"})
    np.testing.assert_array_equal(p.data, in_engine_order())


@pytest.mark.parametrize("units", ["degrees", "radians"])
def test_data_exchange(tmp_path, units):
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "scan.h5"
    with h5py.File(path, "w") as file:
        file["exchange/data"] = DATA
        file["exchange/data_white"] = np.full((3, 2, 5), 500.0)
        file["exchange/data_dark"] = np.full((2, 2, 5), 5.0)
        file["exchange/theta"] = ANGLES if units == "degrees" else np.deg2rad(ANGLES)
        file["exchange/theta"].attrs["units"] = units
    p = read_projections(path)
    np.testing.assert_array_equal(p.data, in_engine_order())
    np.testing.assert_allclose(p.angles, np.deg2rad(ANGLES))
    assert p.quantity == "counts"
    assert (len(p.flat), len(p.dark)) == (3, 2)


def test_hdf5_stays_within_the_file(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = DATA
    with h5py.File(tmp_path / "link.h5", "w") as file:
        file.create_group("exchange")["data"] = h5py.ExternalLink("other.h5", "x")
    with h5py.File(tmp_path / "virtual.h5", "w") as file:
        layout = h5py.VirtualLayout(DATA.shape, DATA.dtype)
        layout[:] = h5py.VirtualSource("other.h5", "x", DATA.shape)
        file.create_group("exchange").create_virtual_dataset("data", layout)
    for name in ("link.h5", "virtual.h5"):
        with pytest.raises(ValueError, match="another file"):
            read_projections(tmp_path / name)


def test_declared_size_is_checked_before_decoding(tmp_path):
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "huge.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("exchange/data", (100_000, 4000, 4000), "u2", chunks=(1, 100, 100))
    assert path.stat().st_size < 1e6
    with pytest.raises(ValueError, match="bin or crop"):
        read_projections(path)


def helsinki(angles=(10.0, 10.5, 11.0, 11.5)):
    return {
        "sinogram": DATA[:, 0].astype(float),
        "parameters": {
            "angles": np.array([angles]),
            "distanceSourceOrigin": 410.66,
            "distanceSourceDetector": 553.74,
            "pixelSizePost": 0.2,
            "geometryType": "Cone",
        },
    }


def test_matlab_5(tmp_path):
    from scipy.io import savemat

    for compressed in (False, True):
        path = tmp_path / f"{compressed}.mat"
        savemat(path, {"CtDataLimited": helsinki()}, do_compression=compressed)
        check_helsinki(read_projections(path))


def test_matlab_73(tmp_path):
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "scan.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        file["CtDataFull/sinogram"] = helsinki()["sinogram"].T  # MATLAB's order
        for name, value in helsinki()["parameters"].items():
            if name != "geometryType":
                file[f"CtDataFull/parameters/{name}"] = np.atleast_2d(value).T
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: test".ljust(124) + b"\0\2IM")
    check_helsinki(read_projections(path))


def check_helsinki(p):
    np.testing.assert_array_equal(p.data[0], DATA[:, 0])
    assert p.data.shape == (1, 4, 5)
    assert (p.quantity, p.beam, p.pixel_size) == ("line_integrals", "cone", (0.2, 0.2))
    assert (p.src_orig_dist, p.src_det_dist) == (410.66, 553.74)
    np.testing.assert_allclose(np.rad2deg(p.angles), [10.0, 10.5, 11.0, 11.5])


def test_matlab_that_grows_is_refused(tmp_path):
    from scipy.io import savemat

    path = tmp_path / "bomb.mat"
    savemat(path, {"CtDataLimited": {"sinogram": np.zeros((2000, 2000))}}, do_compression=True)
    assert path.stat().st_size < 1e6
    with pytest.raises(ValueError, match="at most"):
        read_projections(path, max_mb=16)


def test_mrc(tmp_path):
    mrcfile = pytest.importorskip("mrcfile")
    path = tmp_path / "tilts.st"
    with mrcfile.new(path) as mrc:
        mrc.set_data(DATA.astype(np.int16))
        mrc.voxel_size = (20.0, 10.0, 1.0)  # x, y, z [Angstrom]
    (tmp_path / "tilts.rawtlt").write_text("\n".join(f"{a:.2f}" for a in ANGLES))
    with collected() as notes:
        p = read_projections(path)
    np.testing.assert_array_equal(p.data, in_engine_order())
    np.testing.assert_allclose(p.angles, np.deg2rad(ANGLES))
    assert (p.quantity, p.beam) == ("intensity", "parallel")
    np.testing.assert_allclose(p.pixel_size, (1e-6, 2e-6), rtol=1e-5)
    assert any("come from its .rawtlt file" in n for n in notes)
    turned = read_projections(path, geometry={"order": "view,u,v"})
    np.testing.assert_array_equal(turned.data, DATA.transpose(2, 0, 1))


def test_mrc_with_other_angles_or_cut_is_refused(tmp_path):
    mrcfile = pytest.importorskip("mrcfile")
    path = tmp_path / "tilts.mrc"
    with mrcfile.new(path) as mrc:
        mrc.set_data(DATA)
    (tmp_path / "tilts.tlt").write_text("1 2 3")
    with pytest.raises(ValueError, match="expected 4 angles"):
        read_projections(path)
    with pytest.raises(ValueError, match="truncated"):
        read_projections(("tilts.mrc", path.read_bytes()[:-8]))


def test_the_geometry_file_completes_and_replaces(tmp_path):
    path = write_npz(tmp_path / "scan.npz", rotation_axis_u_px=2.0)
    file = tmp_path / "geometry.json"
    file.write_text(
        json.dumps({"rotation_axis_u_px": 1, "angle_step_deg": 2, "angle_sign": -1, "leave_out": [1]})
    )
    with collected() as notes:
        p = read_projections(path, geometry=file)
    assert p.axis == 1.0
    np.testing.assert_allclose(np.rad2deg(p.angles), [0, -4, -6])
    np.testing.assert_array_equal(p.data, in_engine_order(DATA[[0, 2, 3]]))
    assert notes == ["1 view left out as the geometry file says."]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"pixelsize": 1}, "unknown key 'pixelsize'"),
        ({"beam": "helix"}, "beam must be one of parallel, fan, cone"),
        ({"pixel_size_mm": [1, 2, 3]}, "a length above 0 or two"),
        ({"pixel_size_mm": True}, "a length above 0"),
        ({"angle_sign": 2}, "1 or -1"),
        ({"order": "v,u"}, "order must be one of"),
        ({"angles_deg": [1, "2"]}, "a list of numbers"),
        ({"angles_deg": [1], "angle_step_deg": 1}, "give one of them"),
        ({"src_orig_dist_mm": math.inf}, "a number"),
        ({"vectors": [[1, 2]]}, "12 numbers"),
        ([1], "must hold an object"),
    ],
)
def test_geometry_files_that_are_refused(keys, message):
    with pytest.raises(ValueError, match=message) as error:
        read_geometry_file(json.dumps(keys).encode())
    assert str(error.value).count(". ") == 0


@pytest.mark.parametrize(
    "content",
    [
        b"", b"II*\0" + b"\xff" * 60, b"\x89HDF\r\n\x1a\n" + bytes(600),
        b"MATLAB 5.0 MAT-file" + b"\x0f" * 300, b"PK\x03\x04 no zip", bytes(208) + b"MAP " + bytes(2000),
        b"hello",
    ],
)  # fmt: skip
def test_damaged_files_give_one_sentence(content):
    with pytest.raises(ValueError) as error:
        read_projections(("scan.bin", content))
    assert "\n" not in str(error.value)
    assert str(error.value).endswith(".")


def test_missing_and_contradictory_information_is_reported(tmp_path):
    with pytest.raises(ValueError, match="does not exist"):
        read_projections(tmp_path / "nothing.npz")
    path = tmp_path / "plain.npz"
    np.savez(path, projections=DATA)
    with pytest.raises(ValueError, match="does not state the quantity of its values"):
        read_projections(path)
    with pytest.raises(ValueError, match="4 views but angles"):
        read_projections(path, geometry=COUNTS | {"angles_deg": [1, 2]})
    with pytest.raises(ValueError, match="names view 9"):
        read_projections(path, geometry=COUNTS | {"leave_out": [9]})


def test_missing_library_names_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(ValueError, match=r"pip install 'tomopatch\[measured\]'"):
        read_projections(io.BytesIO(b"\x89HDF\r\n\x1a\n" + bytes(600)))


def test_binning_keeps_the_axis_in_place():
    data = np.zeros((4, 2, 9), np.float32)
    data[..., 4:6] = 1  # centre at 4.5
    p = Projections(data, "line_integrals", axis=4.5, pixel_size=(1.0, 0.5), middle_row=1.5).bin(2)
    assert p.data.shape == (2, 2, 4)
    assert (p.axis, p.middle_row, p.pixel_size) == (2.0, 0.5, (2.0, 1.0))
    np.testing.assert_array_equal(p.data[0, 0], [0, 0, 1, 0])


def test_an_axisymmetric_object_needs_one_view():
    p = Projections(np.ones((2, 1, 3), np.float32), "counts").repeated(8)
    assert p.num_views == 8
    np.testing.assert_allclose(np.diff(p.angles), math.pi / 4)
    with pytest.raises(ValueError, match="single view"):
        p.repeated(3)
