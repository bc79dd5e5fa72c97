import base64
import io
import re
from datetime import UTC, datetime
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from PIL import Image

from tomopatch import Volume, VolumeGeometry, quality
from tomopatch.export.report import Entry, report_html
from tomopatch.reconstruct.held_out import MeasuredQuality

VG = VolumeGeometry((6, 14, 18), (3.0, 1.0, 1.0))
NASTY = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'&"
NOW = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)


@pytest.fixture
def pair(generator):
    hu = 100 * torch.randn(VG.shape, generator=generator)
    reference = Volume.from_hu(hu, VG)
    return reference, Volume.from_hu(hu + 50, VG)


def entry(pair, name="FBP", settings=None):
    reference, test = pair
    return Entry(
        name, test, settings or {"Filter": "hann"}, "20 views", quality(reference, test), 1.25, "cpu"
    )


class Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.seen = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))


def test_the_report_contains_metrics_and_settings(pair):
    text = report_html("Thorax", {"Views": "20"}, pair[0], [entry(pair)], now=NOW).decode()
    q = quality(*pair)
    for said in (f"{q.psnr:.2f}", f"{q.ssim:.3f}", "50", "hann", "1.2"):
        assert f"<td>{said}</td>" in text
    assert "2026-01-02 03:04 UTC" in text
    assert text.count("Not for diagnosis") >= 2
    assert re.search(r"torch \d", text)


def test_nothing_from_a_file_becomes_markup_and_nothing_is_fetched(pair):
    text = report_html(NASTY, {NASTY: NASTY}, pair[0], [entry(pair, NASTY, {NASTY: NASTY})], now=NOW).decode()
    tags = Tags(text).seen
    assert not {"script", "iframe", "object", "link", "a", "form"} & {tag for tag, _ in tags}
    for tag, attributes in tags:
        assert not any(name.startswith("on") for name in attributes), tag
        assert "src" not in attributes or attributes["src"].startswith("data:image/png;base64,")
    assert [a["alt"] for t, a in tags if t == "img"][3] == f"{NASTY}, axial"
    assert "http:" not in text
    assert "https:" not in text


def test_pictures_are_the_slices_at_the_crosshair(pair):
    text = report_html(
        "x", {}, pair[0], [entry(pair)], now=NOW, cursor=(0.9, 0.5, 0.5), window=(-100, 100)
    ).decode()
    images = [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(d)))) for d in re.findall(r"base64,([^\"]+)", text)
    ]
    assert len(images) == 3 + 6  # three planes of the reference; of the run too, and their differences
    expected = ((pair[0].hu[5].numpy() + 100) / 200 * 255).clip(0, 255).round()
    assert np.abs(images[0].astype(float) - expected).max() <= 1
    coronal = ((pair[0].hu[:, 7].flip(0).numpy() + 100) / 200 * 255).clip(0, 255).round()  # the head up
    assert np.abs(images[1].astype(float) - coronal).max() <= 1
    red = images[6].astype(int)
    assert (red[..., 0] > red[..., 2]).all()  # brighter by 50 HU all over: on the red side


def test_grids_must_agree(pair):
    other = Entry("FBP", Volume(torch.zeros(1, 4, 4), VolumeGeometry((1, 4, 4))), {}, "", None, 0, "cpu")
    with pytest.raises(ValueError, match="resample"):
        report_html("x", {}, pair[0], [other], now=NOW)


def test_a_measured_scan_has_held_out_errors_and_a_stand_in(pair):
    reference, test = pair
    run = Entry("TV", test, {}, "9 views", None, 1.0, "cpu", MeasuredQuality(0.02, 0.0314, 50.4))
    text = report_html("Tooth", {}, reference, [run], now=NOW, reference_name="All views (stand-in)").decode()
    assert "Held-out error" in text
    assert "<td>3.14</td><td>50</td>" in text
    assert "All views (stand-in)" in text
    assert "PSNR" not in text
    assert "Reference" not in text
    assert "simulated" not in text
