"""Scans whose views are listed: angles in any order, or vectors of a free orbit."""

import json
import math

import numpy as np
import pytest
import torch

from tomopatch.cli.main import main
from tomopatch.geometry.beams import ConeBeam, ParallelBeam
from tomopatch.io.projections.writing import geometry_keys
from tomopatch.runs.config import ScanConfig
from tomopatch.runs.measurements import read_measurement, write_measurement
from tomopatch.runs.prepare import native_geometry, prepare

EVEN = ScanConfig("phantom:spheres", (8, 24, 24), num_views=6, photons=1e5)
GRID = native_geometry(EVEN).with_shape((8, 24, 24))


def listed(**values):
    return ScanConfig("phantom:spheres", (8, 24, 24), photons=1e5, **values)


def test_listed_angles_that_are_even_give_the_same_measurement():
    degrees = tuple(math.degrees(a) for a in EVEN.geometry(GRID).angles)
    scan = listed(num_views=6, angles=degrees)
    assert isinstance(scan.geometry(GRID), ParallelBeam)
    torch.testing.assert_close(
        prepare(scan).measurement.projections, prepare(EVEN).measurement.projections, rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("beam", ["parallel", "cone"])
def test_vectors_of_a_circle_give_the_same_measurement(beam):
    scan = ScanConfig("phantom:spheres", (8, 24, 24), beam=beam, num_views=6, photons=None)
    pg = scan.geometry(GRID)
    vectors = geometry_keys(pg.views(), rows="up")["vectors"]
    free = ScanConfig(
        "phantom:spheres", (8, 24, 24), beam=beam, num_views=6, det_shape=pg.det_shape, vectors=vectors
    )
    torch.testing.assert_close(
        prepare(free).measurement.projections, prepare(scan).measurement.projections, rtol=1e-4, atol=1e-4
    )


def test_digests_of_even_scans_do_not_change():
    """Fields that are added later are left out of the JSON at their default."""
    assert not {"angles", "vectors"} & set(EVEN.to_json())
    scan = listed(num_views=2, angles=(0.0, 50.0))
    assert ScanConfig.from_json(json.loads(json.dumps(scan.to_json()))) == scan
    assert scan.digest() != EVEN.digest()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"num_views": 3, "angles": (0.0, 50.0)}, "lists 2 views, but the number of views is 3"),
        ({"num_views": 1, "angles": (0.0,), "vectors": ((1.0,) * 12,)}, "leave one out"),
        ({"num_views": 1, "vectors": ((1.0,) * 12,)}, "needs the detector's rows and columns"),
        ({"num_views": 1, "vectors": ((1.0,) * 11,), "det_shape": (4, 4)}, "at least 12"),
        ({"num_views": 1, "angles": (float("nan"),)}, "finite number"),
    ],
)
def test_lists_that_make_no_scan_are_refused_in_a_sentence(values, words):
    with pytest.raises(ValueError, match=words):
        listed(**values)


def test_a_helix_has_no_list_of_angles():
    with pytest.raises(ValueError, match="helix has evenly spaced views"):
        ScanConfig("phantom:spheres", beam="cone", pitch=5.0, num_views=2, angles=(0.0, 9.0)).geometry(GRID)


def test_a_measurement_of_a_free_orbit_is_read_again(tmp_path):
    pg = ConeBeam.circular(GRID, num_views=5, tilt=0.1)
    vectors = geometry_keys(pg, rows="up")["vectors"]
    scan = listed(beam="cone", num_views=5, det_shape=pg.det_shape, vectors=vectors)
    write_measurement(tmp_path / "m.npz", scan, prepare(scan))
    A, measurement = read_measurement(tmp_path / "m.npz")
    np.testing.assert_allclose(A.pg.views().source, pg.views().source, atol=1e-9)
    assert torch.equal(measurement.projections, prepare(scan).measurement.projections)


def test_the_command_reads_angles_and_orbits(tmp_path, capsys):
    (tmp_path / "angles.txt").write_text("# golden angle\n0\n111.25\n42.5\n153.75\n")
    common = ["phantom:spheres", "--grid", "8x24x24", "--out"]
    main(["simulate", *common, str(tmp_path / "a.npz"), "--angles", str(tmp_path / "angles.txt")])
    A, _ = read_measurement(tmp_path / "a.npz")
    np.testing.assert_allclose(np.degrees(A.pg.angles), [0, 111.25, 42.5, 153.75])
    rows = geometry_keys(ConeBeam.circular(GRID, num_views=3, tilt=0.2), rows="up")["vectors"]
    (tmp_path / "orbit.txt").write_text("\n".join(",".join(map(str, row)) for row in rows))
    orbit = ["--geometry", "cone", "--orbit", str(tmp_path / "orbit.txt"), "--det-shape", "12", "40"]
    main(["simulate", *common, str(tmp_path / "b.npz"), *orbit])
    A, _ = read_measurement(tmp_path / "b.npz")
    assert A.range_shape == (12, 3, 40)
    capsys.readouterr()
    assert main(["simulate", *common, str(tmp_path / "c.npz"), *orbit, "--views", "9"]) == 2
    assert "cannot act with --orbit" in capsys.readouterr().err
    assert main(["simulate", *common, str(tmp_path / "c.npz"), "--angles", str(tmp_path / "none.txt")]) == 2
    assert "there is no file" in capsys.readouterr().err
