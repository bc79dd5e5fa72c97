"""Rays and projected points of the scan view against the geometry's vectors, and clicks by mouse."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest

import pages.ui.scanview
from pages.ui.scanview import component
from tests.browser.screenshots import keep
from tomopatch.geometry.beams import ConeBeam, ParallelBeam
from tomopatch.runs.config import ScanConfig
from tomopatch.volume import Volume, VolumeGeometry

pytestmark = pytest.mark.browser
VG = VolumeGeometry((12, 40, 48), (3.0, 2.0, 2.0), (4.0, -3.0, 5.0))
CONE = {"num_views": 9, "src_orig_dist": 160, "src_det_dist": 260}
SCANS = {
    "parallel": ParallelBeam.circular(VG, num_views=9, start=0.2),
    "parallel, tilted": ParallelBeam.circular(VG, num_views=9, tilt=0.4),
    "cone": ConeBeam.circular(VG, **CONE),
    "cone, shifted": ConeBeam.circular(VG, det_offset=(6.0, 20.0), **CONE),
    "helix": ConeBeam.circular(VG, pitch=20.0, **CONE),
}


def spot(views, k, point):
    """Return the projection of a point, (row, column) in pixels from the panel's centre."""
    start = views.source[k] if views.cone else np.asarray(point)
    ray = np.asarray(point) - views.source[k] if views.cone else views.source[k]
    # start + t ray = det_pos + row det_v + column det_u
    _, row, column = np.linalg.solve(
        np.stack([-ray, views.det_v[k], views.det_u[k]], 1), start - views.det_pos[k]
    )
    return row, column


@pytest.mark.parametrize("name", list(SCANS))
def test_projected_points_and_rays_match_the_geometry(browser, name):
    pg = SCANS[name]
    views, cone = pg.views(), isinstance(pg, ConeBeam)
    distance = 1.75 * VG.radius
    scan = {
        "parallel": not cone,
        "distance": distance,
        "panel": [n * p for n, p in zip(pg.det_shape, pg.pixel_size, strict=True)],
        "views": [component.view_vectors(views, k, cone, distance) for k in range(views.num_views)],
    }
    rng = np.random.default_rng(5)
    points = (
        (rng.uniform(-0.45, 0.45, (20, 3)) * VG.size + VG.pos).round(3).tolist()
    )  # also outside the middle plane
    page = browser.new_page()
    page.add_script_tag(
        content=(Path(pages.ui.scanview.__file__).parent / "scanview_rays.js").read_text("utf-8")
    )
    found = page.evaluate(
        """([scan, points]) => points.map((q) => scan.views.map((view) => {
            const s = projectPoint(scan, view, q);
            return [s.row, s.column, ...rayTo(scan, view, s.row, s.column)];
        }))""",
        [scan, points],
    )
    page.close()
    rows, columns = pg.det_shape
    for point, by_view in zip(points, found, strict=True):
        for k, (row, column, start, end) in enumerate(by_view):
            expected = spot(views, k, point)
            assert (row - 0.5) * rows == pytest.approx(expected[0], abs=0.02)
            assert (column - 0.5) * columns == pytest.approx(expected[1], abs=0.02)
            # the ray that is measured there passes through the point
            start, end = np.array(start), np.array(end)
            along = (end - start) / np.linalg.norm(end - start)
            gap = np.asarray(point) - start
            assert np.linalg.norm(gap - (gap @ along) * along) < 0.05
            assert 0 < gap @ along < np.linalg.norm(end - start)


@pytest.mark.parametrize("name", list(SCANS))
def test_sent_projections_match_the_trace(name):
    """The projection of a single ball lies around the projection of its centre."""
    pg, centre = SCANS[name], (7.0, 12.0, -12.0)
    z, y, x = (VG.axis(k) - c for k, c in enumerate(centre))
    inside = z[:, None, None] ** 2 + y[:, None] ** 2 + x**2 < 7.0**2
    ball = Volume(0.02 * inside, VG)
    ideal = ScanConfig("phantom:spheres")
    packed, _ = component.scan_picture(f"a ball, {name}", ideal, ball, ball, pg, False)
    (length,) = struct.unpack_from("<I", packed)
    head = json.loads(packed[4 : 4 + length])
    body, shape = head["volumeShape"], head["shape"]
    voxels = np.frombuffer(packed, np.uint8, offset=4 + length)
    seen, projections = np.split(voxels, [np.prod(body)])
    assert np.array_equal(seen.reshape(body) > 128, inside.numpy())
    checked = 0
    for k, shot in enumerate(projections.reshape(shape).swapaxes(0, 1).astype(float)):
        at = spot(pg.views(), k, centre)
        if any(abs(q) > n / 2 - 3 for q, n in zip(at, (shape[0], shape[2]), strict=True)):
            continue  # a helix sees it in some views only, or a part of it
        checked += 1
        v, u = np.indices(shot.shape)
        row, column = (np.average(q, weights=shot) - (n - 1) / 2 for q, n in ((v, shape[0]), (u, shape[2])))
        assert (row, column) == pytest.approx(at, abs=0.6)
    assert checked >= 3


def drag_to(page, canvas, fx, fy):
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    page.mouse.click(box["x"] + fx * box["width"], box["y"] + fy * box["height"])


def numbers(view, name):
    return [float(q) for q in view.get_attribute(f"data-{name}").split(",")]


def test_clicks_link_the_sinogram_and_the_object(page):
    page.goto("/acquire")
    view = page.locator(".sv[data-view]")
    view.wait_for()
    drag_to(page, page.locator(".sv .sinogram"), 0.4, 0.5)
    page.locator(".sv:not([data-ray=''])").wait_for()
    assert numbers(view, "spot")[1] == pytest.approx(0.4, abs=0.01)
    ray = np.array(numbers(view, "ray")).reshape(2, 3)
    assert np.linalg.norm(ray[1] - ray[0]) > 100
    assert page.locator(".sv[data-voxel='']").count() == 1

    drag_to(page, page.locator(".sv .slice"), 0.6, 0.4)
    page.locator(".sv:not([data-voxel=''])").wait_for()
    voxel = np.array(numbers(view, "voxel"))
    assert voxel[1] < 0 < voxel[2]  # above the middle is the front, to the right the patient's left
    ray = np.array(numbers(view, "ray")).reshape(2, 3)
    along = (ray[1] - ray[0]) / np.linalg.norm(ray[1] - ray[0])
    gap = voxel - ray[0]
    assert np.linalg.norm(gap - (gap @ along) * along) < 0.1

    z = voxel[0]
    page.locator(".sv .slice").press("PageUp")
    page.wait_for_timeout(300)
    assert numbers(view, "voxel")[0] > z


def test_an_insert_and_a_lesion_are_placed_by_mouse(page):
    page.goto("/acquire")
    view = page.locator(".sv[data-view]")
    view.wait_for()
    assert page.locator(".sv button.place:visible").count() == 0
    page.get_by_text("Plant a lesion").click()
    page.get_by_text("A lesion in the volume").click()
    page.get_by_text("Effects of a real scan").click()
    page.get_by_text("Insert", exact=True).click()
    for name, at in (("Insert", (0.62, 0.45)), ("Lesion", (0.4, 0.6))):
        button = page.get_by_role("button", name=f"{name} here")
        button.wait_for()
        drag_to(page, page.locator(".sv .slice"), *at)
        page.wait_for_timeout(300)  # the selection is drawn
        voxel = numbers(view, "voxel")
        assert all(abs(c) > 5 for c in voxel[1:])  # not the centre, where both are by default
        button.click()
        labels = (f"Centre {a} [mm]" for a in "zyx") if name == "Insert" else "zyx"
        for label, c in zip(labels, voxel, strict=True):
            field = page.get_by_label(label, exact=True)
            page.wait_for_function(
                "([node, value]) => Math.abs(Number(node.value) - value) <= 0.5",
                arg=[field.element_handle(), c],
                polling=100,
            )
    keep(page, "placed-by-mouse")
