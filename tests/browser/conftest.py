"""Fixtures for a real browser: a server on a free port with a separate store, and Chromium."""

import time

import pytest

from tests.browser.screenshots import keep
from tests.browser.server import FLAGS, chromium, serve
from tests.browser.visits import Log


@pytest.fixture(scope="session")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
    path = chromium()
    if path is None:
        pytest.skip("needs Chromium or Chrome on the PATH")
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield running
        running.close()


@pytest.fixture(scope="session")
def address(tmp_path_factory, browser):
    """Return the address of the app."""
    with serve(tmp_path_factory.mktemp("server")) as address:
        yield address


@pytest.fixture(scope="session")
def window(browser, address):
    """Return the browser window of all visitors, with the files of Streamlit in its cache."""
    context = browser.new_context(viewport={"width": 1440, "height": 1000}, base_url=address)
    yield context
    context.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Store the outcome of a test for the fixture that takes a picture of a failure."""
    report = yield
    if report.when == "call":
        item.failed = report.failed
    return report


@pytest.fixture
def page(window, address, request):
    """Return the empty page of a new visitor; fail on script errors and external requests.

    A test opens the page of the app that it needs: each costs seconds.
    """
    page = window.new_page()
    forget = {"origin": address, "storageTypes": "cookies,local_storage,indexeddb,cache_storage"}
    window.new_cdp_session(page).send("Storage.clearDataForOrigin", forget)
    log = Log(page)
    page.set_default_timeout(180_000)  # patient: the machine may be busy
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on(
        "request",
        lambda r: wrong.append(r.url) if not r.url.startswith((address, "data:", "blob:")) else None,
    )
    yield page
    if getattr(request.node, "failed", False):
        keep(page, f"failed-{request.node.originalname}")
        print(f"{time.time():.2f} failed at {page.url}", *log.lines, sep="\n")
    page.close()
    assert wrong == []
