"""Remarks on a scan: one definition of a full scan, Crowther's limit from the object's size, advice that
can be followed.
"""

import math
import re

import pytest
import torch

from tomopatch.geometry.beams import ConeBeam, ParallelBeam
from tomopatch.geometry.field_of_view import field_of_view, inside_field_of_view
from tomopatch.geometry.remarks import covered, extent, few_views, remarks, unseen
from tomopatch.physics.measurement import full_scan_views, relative_dose
from tomopatch.volume import Volume, VolumeGeometry

VG = VolumeGeometry((8, 96, 96), (4.0, 4.0, 4.0))
CONE = {"src_orig_dist": 785.0, "src_det_dist": 1200.0}
PANEL = {"det_shape": (40, 248), "pixel_size": (1.54, 1.54)}


def cylinder(radius, centre=(0.0, 0.0), vg=VG):
    y, x = torch.meshgrid(vg.axis(1), vg.axis(2), indexing="ij")
    inside = (y - centre[0]) ** 2 + (x - centre[1]) ** 2 <= radius**2
    return Volume.from_hu(torch.where(inside, 0.0, -1000.0).expand(vg.shape).clone(), vg)


def titles(volume, pg):
    return [remark.title for remark in remarks(volume, pg)]


@pytest.mark.parametrize("centre", [(0.0, 0.0), (60.0, -80.0)])
def test_the_extent_is_the_objects_own_wherever_it_lies(centre):
    found = extent(cylinder(70.0, centre))
    assert found.diameter == pytest.approx(140, abs=9)
    assert found.reach == pytest.approx(70 + math.hypot(*centre), abs=6)
    assert extent(Volume.from_hu(torch.full(VG.shape, -1000.0), VG)) == (0.0, 0.0)


def test_the_crowther_limit_is_that_of_the_object_not_of_the_field_of_view():
    """A C-arm whose shifted panel sees 61 mm around the axis, and a body of 300 mm."""
    pg = ConeBeam.circular(
        VG, num_views=40, angle_range=math.radians(200), det_offset=(0.0, 100.0), **CONE, **PANEL
    )
    assert field_of_view(pg).radius < 70
    body = cylinder(150.0)
    expected = 1 / (extent(body).diameter * math.radians(5))
    assert covered(body, pg).crowther == pytest.approx(expected, rel=1e-6)
    assert 0.5 / covered(body, pg).crowther > 12  # mm
    (few,) = few_views(body, pg)
    assert "40 views show details above 13 mm of an object of 300 mm" in few.text


def test_an_object_off_the_axis_needs_no_more_views_than_one_on_it():
    pg = ParallelBeam.circular(VG, num_views=60)
    on, off = (covered(cylinder(60.0, c), pg).crowther for c in ((0.0, 0.0), (80.0, 40.0)))
    assert on == pytest.approx(off, rel=0.03)


def test_views_that_are_enough_need_no_remark():
    assert few_views(cylinder(60.0), ParallelBeam.circular(VG, num_views=200)) == []


def test_a_helix_counts_the_views_at_one_height():
    vg = VolumeGeometry((70, 32, 32), (4.0, 4.0, 4.0))
    body = cylinder(50.0, vg=vg)
    helix = ConeBeam.helical(vg, views_per_turn=30, pitch=20.0, src_orig_dist=600.0, src_det_dist=1000.0)
    circle = ConeBeam.circular(vg, num_views=30, src_orig_dist=600.0, src_det_dist=1000.0)
    ratio = covered(body, helix).crowther / covered(body, circle).crowther
    assert 0.9 < ratio < 2.5  # the beam of one pitch at the axis is a turn high, or a little more


@pytest.mark.parametrize("centre", [(0.0, 0.0), (90.0, 60.0)])
def test_truncation_depends_on_how_far_the_object_reaches_from_the_axis(centre):
    pg = ParallelBeam.circular(VG, num_views=90, det_shape=(8, 40))  # sees 80 mm
    assert ("Truncated" in titles(cylinder(60.0, centre), pg)) == (centre != (0.0, 0.0))


def scan(shift, degrees, columns=248):
    return ConeBeam.circular(
        VG,
        num_views=360,
        angle_range=math.radians(degrees),
        det_offset=(0.0, shift),
        det_shape=(40, columns),
        pixel_size=(1.54, 1.54),
        **CONE,
    )


def advice(pg, volume):
    (found,) = (r for r in remarks(volume, pg) if r.title == "Truncated")
    return found.text.partition("wrong HU. ")[2]


@pytest.mark.parametrize(
    ("shift", "degrees", "said", "not_said"),
    [
        (0.0, 200, "or shift it across by 43 mm and scan a whole turn", "centre"),
        (0.0, 360, "or shift it across by 43 mm", "whole turn"),
        (100.0, 200, "or scan a whole turn", "shift"),
        (10.0, 360, "or shift it across by 43 mm", "whole turn"),
    ],
)
def test_advice_knows_what_is_set_already(shift, degrees, said, not_said):
    text = advice(scan(shift, degrees), cylinder(150.0))
    assert text.startswith("Widen the detector to ")
    assert said in text
    assert not_said not in text


@pytest.mark.parametrize("degrees", [200, 360])
@pytest.mark.parametrize("shift", [0.0, 10.0, 100.0])
def test_advice_that_is_followed_is_enough(shift, degrees):
    body = cylinder(170.0)
    pg = scan(shift, degrees, 200)
    if "Truncated" not in titles(body, pg):
        pytest.skip("sees the whole object")
    text = advice(pg, body)
    columns = int(re.search(r"to (\d+) columns", text)[1])
    assert "Truncated" not in titles(body, scan(shift, degrees, columns))
    moved = re.search(r"by (\d+) mm", text)
    turn = 360 if "whole turn" in text else degrees
    if moved or turn != degrees:
        assert "Truncated" not in titles(body, scan(float(moved[1]) if moved else shift, turn, 200))


def test_a_detector_that_is_shifted_all_it_can_is_not_told_to_shift():
    text = advice(scan(100.0, 360, 140), cylinder(170.0))
    assert text.startswith("Widen the detector")
    assert "shift" not in text
    assert "turn" not in text


@pytest.mark.parametrize("degrees", [200, 360])
@pytest.mark.parametrize("beam", [ParallelBeam, ConeBeam])
def test_a_detector_that_misses_the_axis_measures_no_place_completely(beam, degrees):
    """Its columns cover 25 to 175 mm on one side: a disc in the middle lies in no view."""
    scanner = CONE if beam is ConeBeam else {}
    scale = 1200 / 785 if beam is ConeBeam else 1.0

    def moved(shift, columns, angle_range):
        return beam.circular(
            VG, num_views=120, angle_range=math.radians(angle_range), det_offset=(0.0, shift * scale),
            det_shape=(40, columns), pixel_size=(4.0 * scale, 5.0 * scale), **scanner,
        )  # fmt: skip

    pg, body = moved(100.0, 30, degrees), cylinder(130.0)
    assert field_of_view(pg).radius == 0
    assert not inside_field_of_view(VolumeGeometry((3, 9, 9), (4.0, 40.0, 40.0)), pg).any()
    (truncated,) = (r for r in remarks(body, pg) if r.title == "Truncated")
    assert "does not see the axis" in truncated.text
    columns = int(re.search(r"to (\d+) columns", truncated.text)[1])
    assert "Truncated" not in titles(body, moved(100.0, columns, degrees))
    nearer = float(re.search(r"shift it across by (\d+) mm", truncated.text)[1]) / scale
    assert "Truncated" not in titles(body, moved(nearer, 30, 360))
    assert "Truncated" not in titles(cylinder(60.0), moved(0.0, 30, degrees))
    assert "centre it" in advice(pg, cylinder(60.0))


@pytest.mark.parametrize("beam", [ParallelBeam, ConeBeam])
@pytest.mark.parametrize("num_views", [5, 45, 61, 120, 363])
def test_over_a_whole_turn_a_shifted_detector_that_sees_the_volume_needs_no_remark(beam, num_views):
    """Each place lies in half of the views, or in half a view less of an odd number."""
    vg = VolumeGeometry((4, 48, 48), (4.0, 4.0, 4.0))
    half = 50.0 if beam is ParallelBeam else 76.0
    pg = beam.circular(
        vg, num_views=num_views, angle_range=2 * math.pi, det_offset=(0.0, half - 1),
        det_shape=(200, round(4 * half)), pixel_size=(4.0, 0.5),
    )  # fmt: skip
    assert unseen(vg, pg) == []
    short = beam.circular(
        vg, num_views=num_views, det_offset=(0.0, half - 1), det_shape=(200, round(3 * half)),
        pixel_size=(4.0, 0.5), angle_range=math.pi,
    )  # fmt: skip
    assert "fewer than half" in unseen(vg, short)[0].text


def test_a_full_scan_is_defined_once():
    pg = ParallelBeam.circular(VG, num_views=1)
    full = ParallelBeam.circular(VG, num_views=full_scan_views(pg))
    assert relative_dose(full, 1e5) == pytest.approx(1.0)


def test_parts_that_no_view_sees_are_remarked_with_what_helps():
    vg = VolumeGeometry((70, 32, 32), (4.0, 4.0, 4.0))
    helix = ConeBeam.circular(vg, num_views=60, angle_range=4 * math.pi, pitch=10.0, **CONE)
    low = ParallelBeam.circular(vg, num_views=20, det_shape=(35, 60))
    body = cylinder(50.0, vg=vg)
    assert any("more turns or a higher detector" in r.text for r in remarks(body, helix))
    assert any("50 % of the volume lies in no view" in r.text for r in remarks(body, low))
    assert not any("turns" in r.text for r in remarks(body, low))


@pytest.mark.parametrize("scale", [5e-4, 20.0])
def test_remarks_are_the_same_on_every_scale(scale):
    vg = VolumeGeometry((8, 48, 48), (scale, scale, scale))
    body = cylinder(20 * scale, vg=vg)
    narrow = ParallelBeam.circular(vg, num_views=20, det_shape=(8, 20))
    assert titles(body, narrow) == ["Truncated"]
    assert titles(body, ParallelBeam.circular(vg, num_views=20)) == []
    assert "0 mm" not in re.sub(r"[1-9.]\d* mm", "", remarks(body, narrow)[0].text)
