"""Fixtures that run pages through app.py with a separate store and small scans."""

import sys
from pathlib import Path

import pytest

from tomopatch.runs.config import ScanConfig

APP = str(Path(__file__).parents[2] / "app.py")
SMALL = ScanConfig("phantom:spheres", grid=(12, 32, 32), num_views=8, photons=1e5, same_grid=True)


@pytest.fixture(scope="session", autouse=True)
def own_store(tmp_path_factory):
    """Use a temporary store, and stop its workers after the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOMOPATCH_STORE", str(tmp_path_factory.mktemp("store")))
        from pages.ui.session import engine

        engine.queue.clear()
        yield
        engine.queue().close()
        engine.queue.clear()


@pytest.fixture(scope="session", autouse=True)
def one_search_for_components():
    """Streamlit's test reads the metadata of all installed packages for each visit; once is enough."""
    from streamlit.components.v2 import manifest_scanner

    found = manifest_scanner.scan_component_manifests()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifest_scanner, "scan_component_manifests", lambda: found)
        yield


@pytest.fixture(autouse=True)
def own_main():
    """Restore the main module, which AppTest replaces and spawned processes import."""
    main = sys.modules["__main__"]
    yield
    sys.modules["__main__"] = main


@pytest.fixture
def small_scan():
    return SMALL


@pytest.fixture
def visit():
    """Open the app with these query parameters."""
    from streamlit.testing.v1 import AppTest

    def start(**parameters: str) -> AppTest:
        app = AppTest.from_file(APP, default_timeout=60)
        for name, value in parameters.items():
            app.query_params[name] = value
        return app.run()

    return start


@pytest.fixture
def app(visit):
    """Open the app on its first page."""
    return visit()


@pytest.fixture
def upload(app):
    """Upload files (name, content) on Acquire, without a crop to the body, and return the app."""
    from pages.ui.session import routes, state

    app.switch_page(routes.ACQUIRE).run()
    app.segmented_control(key=state.field("kind")).set_value("upload").run()
    app.checkbox(key=state.field("crop")).uncheck().run()

    def start(*files):
        named = [(*file, "application/octet-stream")[:3] for file in files]
        app.file_uploader(key=state.field("files.False")).set_value(named).run()
        assert not app.exception
        return app

    return start
