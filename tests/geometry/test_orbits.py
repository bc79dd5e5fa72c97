import numpy as np
import pytest
import torch

from tomopatch import ConeBeam, ParallelBeam, Projector, VolumeGeometry
from tomopatch.geometry.orbits import (
    circle_and_line,
    degrees_from_text,
    sine_on_circle,
    tomosynthesis,
    views_from_text,
)
from tomopatch.geometry.views import Views, difference

VG = VolumeGeometry((16, 24, 24), (1.0, 1.0, 1.0))
SCANNER = {"src_orig_dist": 200.0, "src_det_dist": 300.0}


def as_text(views: Views, axes: str) -> str:
    vectors = [views.source, views.det_pos, views.det_u, views.det_v]
    vectors = [v[:, ::-1] if axes == "xyz" else v for v in vectors]
    rows = np.concatenate(vectors, 1)
    return "# source, detector, u, v\n" + "\n".join(", ".join(f"{n:.12g}" for n in row) for row in rows)


@pytest.mark.parametrize("axes", ["xyz", "zyx"])
@pytest.mark.parametrize("make", [ConeBeam.circular, ParallelBeam.circular])
def test_views_survive_a_text(make, axes):
    pg = make(VG, num_views=7, tilt=0.2)
    views = pg.views()
    found = views_from_text(as_text(views, axes), pg.det_shape, cone=views.cone, axes=axes)
    assert difference(found, views) is None


def test_an_astra_row_is_read_in_its_order():
    """cone_vec: srcX srcY srcZ, dX dY dZ, uX uY uZ, vX vY vZ."""
    views = views_from_text("1 2 3 4 5 6 7 8 9 10 -11 12", (2, 3))
    assert views.source.tolist() == [[3, 2, 1]]
    assert views.det_u.tolist() == [[9, 8, 7]]
    assert views.det_v.tolist() == [[12, -11, 10]]


def test_angles_are_in_degrees():
    assert degrees_from_text("0\n90\n\n# end\n180.0\n") == (0, 90, 180)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "got none"),
        ("1 2 3", "line 1 must hold 12"),
        ("1 2 3 4 5 6 7 8 9 10 11 nan", "12 finite"),
        ("0 0 0 0 1 0 1 0 0 2 0 0", "do not span a detector"),
        ("0 1 0 0 1 0 1 0 0 0 0 1", "no direction"),
    ],
)
def test_a_wrong_table_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        views_from_text(text, (4, 4))


def test_a_sine_of_no_amplitude_is_a_circle():
    pg = ConeBeam.circular(VG, num_views=9, **SCANNER)
    assert difference(sine_on_circle(VG, num_views=9, amplitude=0.0, **SCANNER), pg.views()) is None


def test_a_sine_lifts_the_source_and_looks_at_the_origin():
    views = sine_on_circle(VG, num_views=40, amplitude=0.3, cycles=2, **SCANNER)
    angles = np.arange(40) / 40 * 2 * np.pi
    np.testing.assert_allclose(views.source[:, 0], 200 * np.sin(0.3 * np.sin(2 * angles)), atol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(views.source, axis=1), 200)
    np.testing.assert_allclose(views.det_pos, -0.5 * views.source, atol=1e-9)


def test_a_line_follows_the_circle():
    views = circle_and_line(VG, num_views=10, line_views=5, length=20.0, **SCANNER)
    assert views.num_views == 15
    assert views.source[10:, 0].tolist() == [-10, -5, 0, 5, 10]
    np.testing.assert_allclose(views.source[12], views.source[0])
    assert np.ptp(views.det_pos[10:, 0]) == pytest.approx(20)


def test_the_detector_of_a_tomosynthesis_stands_still():
    views = tomosynthesis(VG, num_views=5, angle_range=1.0, **SCANNER)
    assert np.ptp(views.det_pos, axis=0).max() == 0
    place = np.arctan2(views.source[:, 2], -views.source[:, 1])
    np.testing.assert_allclose(place, [-0.4, -0.2, 0, 0.2, 0.4], atol=1e-12)


@pytest.mark.parametrize(
    "views",
    [
        sine_on_circle(VG, num_views=12, amplitude=0.2, **SCANNER),
        circle_and_line(VG, num_views=8, line_views=4, length=30.0, **SCANNER),
        tomosynthesis(VG, num_views=7, angle_range=0.8, **SCANNER),
    ],
    ids=["sine", "line", "arc"],
)
def test_every_view_sees_the_volume(views):
    projections = Projector(VG, views)(torch.ones(VG.shape))
    assert float(projections.amax((0, 2)).min()) > 15


@pytest.mark.parametrize(
    "call",
    [
        lambda: sine_on_circle(VG, num_views=4, amplitude=2.0),
        lambda: circle_and_line(VG, num_views=4, line_views=1, length=10.0),
        lambda: tomosynthesis(VG, num_views=4, angle_range=4.0),
    ],
)
def test_refusals(call):
    with pytest.raises(ValueError, match=r"rad|views"):
        call()
