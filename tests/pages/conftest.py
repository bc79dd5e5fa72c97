"""Pages run through app.py, on a store of their own and small scans."""

import sys
from pathlib import Path

import pytest

from tomopatch.runs.config import ScanConfig

APP = str(Path(__file__).parents[2] / "app.py")
SMALL = ScanConfig("phantom:spheres", grid=(12, 32, 32), num_views=8, photons=1e5, same_grid=True)


@pytest.fixture(scope="session", autouse=True)
def own_store(tmp_path_factory):
    """No test touches the user's runs; the workers end with the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOMOPATCH_STORE", str(tmp_path_factory.mktemp("store")))
        from pages.ui.session import engine

        engine.queue.clear()
        yield
        engine.queue().close()
        engine.queue.clear()


@pytest.fixture(autouse=True)
def own_main():
    """AppTest puts the app in the place of the main module, which processes that are spawned later would import."""
    main = sys.modules["__main__"]
    yield
    sys.modules["__main__"] = main


@pytest.fixture
def small_scan():
    return SMALL


@pytest.fixture
def visit():
    """Start the app as a browser does that opens it with these query parameters."""
    from streamlit.testing.v1 import AppTest

    def start(**parameters: str) -> AppTest:
        app = AppTest.from_file(APP, default_timeout=60)
        for name, value in parameters.items():
            app.query_params[name] = value
        return app.run()

    return start


@pytest.fixture
def app(visit):
    """The app on its first page."""
    return visit()
