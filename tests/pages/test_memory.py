"""Pages never exceed the memory limit, whatever the address contains."""

import json
import math
from dataclasses import replace

import pytest

from pages.ui.scanview import component
from pages.ui.session import engine, routes, volume_cache
from tests.pages.test_pages import texts
from tomopatch.library import load_volume
from tomopatch.phantoms.catalogue import PHANTOMS
from tomopatch.runs import prepare
from tomopatch.runs.config import RunConfig, ScanConfig
from tomopatch.runs.prior import DenoiseConfig
from tomopatch.runs.resource_estimate import display_refusal
from tomopatch.store import phantom_cache

LARGE = ScanConfig("phantom:shepp-logan", (128, 512, 512), num_views=8)
PAGES = [
    routes.HOME,
    routes.ACQUIRE,
    routes.RECONSTRUCT,
    routes.COMPARE,
    routes.WHAT_IF,
    routes.PRIOR,
    routes.RUNS,
]


@pytest.fixture
def drawn(monkeypatch):
    """Record the sizes of computed volumes under a limit of 1 GB."""
    monkeypatch.setenv("TOMOPATCH_MEMORY_GB", "1")
    found = [0]

    def record(spec, *, shape=None, **options):
        found.append(math.prod(shape or (64, 128, 128)))
        return load_volume(spec, shape=(4, 8, 8), **options)

    for module in (volume_cache, phantom_cache, prepare):
        monkeypatch.setattr(module, "load_volume", record)
    return found


@pytest.mark.parametrize("name", PHANTOMS)
def test_the_geometry_is_known_without_computing_a_volume(name, drawn):
    grid = (6, 10, 14)
    expected = load_volume(f"phantom:{name}", shape=grid).geometry
    assert volume_cache.geometry(ScanConfig(f"phantom:{name}", grid)) == expected
    assert drawn == [0]


def test_the_geometry_of_a_stored_volume_is_known_without_reading_it(monkeypatch):
    digest = engine.store().add_volume(load_volume("phantom:spheres", shape=(8, 20, 24)))
    grid = (5, 11, 12)
    expected = volume_cache.preview_volume(f"volume:{digest}", grid).geometry
    monkeypatch.setattr(engine.store(), "volume", lambda digest: pytest.fail("was read"))
    assert volume_cache.geometry(ScanConfig(f"volume:{digest}", grid)) == expected
    assert volume_cache.grid_of(ScanConfig(f"volume:{digest}")) == (8, 20, 24)


def test_a_refusal_names_a_grid_that_fits(monkeypatch):
    monkeypatch.setenv("TOMOPATCH_MEMORY_GB", "1")
    sentence = display_refusal(LARGE, engine.store())
    z, y, x = map(int, sentence.split("a grid of ")[1].split(" would")[0].split(" x "))
    assert display_refusal(replace(LARGE, grid=(z, y, x)), engine.store()) == ""
    assert display_refusal(replace(LARGE, grid=(z + 8, y + 32, x + 32)), engine.store())


@pytest.mark.parametrize("page", PAGES)
def test_no_page_exceeds_the_memory_limit(visit, page, drawn):
    refused = engine.queue().submit(RunConfig(LARGE, "tv"))
    prior = engine.queue().submit(DenoiseConfig("phantom:thorax", (64, 512, 512), 0.1, 0))
    assert engine.queue().progress(refused).status == engine.queue().progress(prior).status == "failed"
    scan = json.dumps(LARGE.to_json())
    for address in (
        {"scan": scan},
        {"run": refused},
        {"scan": scan, "run": refused, "compare": refused, "sweep": '{"num_views":"4,8"}'},
        {"prior": prior},
    ):
        app = visit(**address)
        app.switch_page(page).run()
        assert not app.exception
    with pytest.raises(ValueError, match="Showing this volume needs about"):
        volume_cache.reference(LARGE).result(60)
    assert max(drawn) <= 8 * 64 * 128 * 128


@pytest.mark.parametrize("page", [routes.ACQUIRE, routes.RECONSTRUCT, routes.COMPARE, routes.WHAT_IF])
def test_pages_name_a_grid_that_fits(visit, page, drawn):
    app = visit(scan=json.dumps(LARGE.to_json()))
    app.switch_page(page).run()
    assert not app.exception
    told = texts(app) + " ".join(e.value for e in app.error)
    assert "needs about" in told
    assert "would fit" in told


@pytest.mark.parametrize("det_shape", [(1, 20_000_000), (20_000_000, 1), (4000, 4000), (3, 700_000), (1, 5)])
def test_the_scan_view_limits_the_number_of_rays(det_shape):
    scan = replace(LARGE, det_shape=det_shape, pixel_size=(0.1, 0.1), num_views=72)
    views = scan.geometry(volume_cache.geometry(scan)).views()
    shown, binned = component.bin_pixels(views)
    assert shown.num_views * math.prod(shown.det_shape) <= component.MAX_RAYS
    assert binned == pytest.approx(math.prod(det_shape) / math.prod(shown.det_shape))
