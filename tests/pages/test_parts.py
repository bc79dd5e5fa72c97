"""Parts of the pages, tested without a page."""

import json
import math
import struct

import numpy as np
import pytest
import torch

from pages.ui.charts import figures, frequencies
from pages.ui.charts.colours import REFERENCE, Line
from pages.ui.texts import formatting, messages
from pages.ui.viewer.slice_viewer import fit, pack
from tomopatch.geometry.beams import ConeBeam, ParallelBeam
from tomopatch.geometry.field_of_view import field_of_view
from tomopatch.geometry.remarks import covered, remarks
from tomopatch.volume import Volume, VolumeGeometry


def test_a_packed_volume_can_be_unpacked():
    volume = np.arange(24, dtype="<i2").reshape(2, 3, 4) - 1000
    packed = pack({"shape": [2, 3, 4], "names": ["ä"]}, [volume, volume + 1])
    (length,) = struct.unpack_from("<I", packed)
    head = json.loads(packed[4 : 4 + length])
    voxels = np.frombuffer(packed, "<i2", offset=4 + length)
    assert length % 2 == 0
    assert head["names"] == ["ä"]
    assert np.array_equal(voxels[:24].reshape(2, 3, 4), volume)
    assert np.array_equal(voxels[24:], volume.ravel() + 1)


def test_large_volumes_are_subsampled_with_a_note():
    small = [np.zeros((4, 8, 8), "<i2")]
    assert fit(small)[0] == ""
    note, thinned = fit([np.zeros((40, 80, 80), "<i2")] * 2, max_bytes=200_000)
    assert sum(a.nbytes for a in thinned) <= 200_000
    assert "every second voxel" in note


def test_the_viewer_refuses_volumes_of_different_grids():
    with pytest.raises(ValueError, match="one grid"):
        fit([np.zeros((4, 8, 8), "<i2"), np.zeros((4, 8, 9), "<i2")])


def test_the_outer_ray_of_a_cone_limits_the_field_of_view():
    vg = VolumeGeometry((8, 64, 64))
    pg = ConeBeam.circular(vg, num_views=36, src_orig_dist=300, src_det_dist=450)
    half = pg.det_shape[1] * pg.pixel_size[1] / 2
    expected = (
        300 * half / math.hypot(450, half)
    )  # distance of the origin from the line source -> detector edge
    assert field_of_view(pg).radius == pytest.approx(expected)
    assert expected >= vg.radius - 1e-6


def test_truncation_is_remarked_and_a_complete_scan_is_not():
    vg = VolumeGeometry((8, 32, 32), (2.0, 2.0, 2.0))
    volume = Volume.from_hu(torch.zeros(vg.shape), vg)
    full = ParallelBeam.circular(vg, num_views=60)
    cut = ParallelBeam.circular(vg, num_views=60, det_shape=(8, 16))
    assert remarks(volume, full) == []
    assert remarks(volume, cut)[0].title == "Truncated"


def test_a_limited_angle_is_remarked():
    vg = VolumeGeometry((8, 32, 32))
    volume = Volume.from_hu(torch.full(vg.shape, -1000.0), vg)
    limited = ParallelBeam.circular(vg, num_views=60, angle_range=math.radians(120))
    assert remarks(volume, limited)[0].title == "Limited angle"


def test_a_profile_passes_through_the_crosshair_in_mm():
    vg = VolumeGeometry((4, 6, 8), (3.0, 2.0, 1.0))
    hu = np.arange(4 * 6 * 8).reshape(4, 6, 8)
    line = figures.profiles([("reference", Line(REFERENCE), hu)], vg, (0.5, 0.99, 0.0), axis=2).data[0]
    assert np.array_equal(line.y, hu[2, 5])
    assert line.x[0] == pytest.approx(-3.5)
    assert line.x[-1] == pytest.approx(3.5)


def test_error_sentences_use_the_labels_of_the_app():
    told = messages.error_sentence(ValueError("src_orig_dist is 3 mm; use fewer num_views"))
    assert told == "The distance source to axis is 3 mm; use fewer the number of views"


def test_texts_from_outside_are_short_and_have_no_markup():
    shown = formatting.plain("num_views *a* [b](//c) :red[d] http://e.example\n# <f> " + "g" * 1000)
    assert shown.startswith(r"num_views \*a\* \[b\](//c) \:red\[d\] http:")
    assert "://" not in shown
    assert r"\# \<f\> g" in shown
    assert shown.endswith("g…")
    assert len(shown) < 420


def test_the_caption_of_the_frequencies_describes_the_scan():
    vg = VolumeGeometry((8, 64, 64))
    volume = Volume.from_hu(torch.zeros(vg.shape), vg)
    told = {}
    for name, pg in {
        "full": ParallelBeam.circular(vg, num_views=20),
        "dense": ParallelBeam.circular(vg, num_views=400),
        "limited": ParallelBeam.circular(vg, num_views=20, angle_range=math.radians(120)),
        "tilted": ParallelBeam.circular(vg, num_views=20, tilt=0.3),
        "cone": ConeBeam.circular(vg, num_views=20, src_orig_dist=200, src_det_dist=300),
    }.items():
        told[name] = frequencies.caption(covered(volume, pg), pg)
    assert "missing wedge, 60°" in told["limited"]
    assert all("wedge" not in told[name] for name in ("full", "dense", "tilted", "cone"))
    assert "all detail up to the rim" in told["dense"]
    assert "Crowther" in told["full"]
    assert "double cone" in told["tilted"]
    assert "fan beam" in told["cone"]
    assert "central slice" not in told["cone"]


def test_the_bow_tie_of_a_shifted_fan_matches_its_rays():
    vg = VolumeGeometry((8, 64, 64))
    pg = ConeBeam.circular(
        vg, num_views=9, src_orig_dist=200, src_det_dist=300, det_offset=(0.0, 30.0), det_shape=(8, 40)
    )
    found = covered(Volume.from_hu(torch.zeros(vg.shape), vg), pg)
    low, high = frequencies.picture_data(found, pg)["fan"]
    views = pg.views()
    for k in range(pg.num_views):
        for edge, fan in ((-0.5, low), (0.5, high)):
            ray = views.det_pos[k] + edge * pg.det_shape[1] * views.det_u[k] - views.source[k]
            line = found.directions[k] - fan  # a ray measures the frequencies across itself
            assert ray[2] * math.cos(line) + ray[1] * math.sin(line) == pytest.approx(0, abs=1e-6)
