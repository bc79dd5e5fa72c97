"""Texts from a web address, in a browser: none of them becomes a link, an image or markup."""

import json
from urllib.parse import quote

import pytest

pytestmark = pytest.mark.browser
HOSTILE = (
    "![a](http://a.example/x) [b](//b.example) http://c.example www.d.example e@f.example :red[g] **h** <b>"
)


@pytest.mark.parametrize(
    ("path", "scan", "place"),
    [
        ("acquire", {"source": "phantom:spheres", "beam": HOSTILE[:60]}, "[data-testid=stToast]"),
        ("acquire", {"source": "phantom:spheres", "units": HOSTILE[50:]}, "[data-testid=stToast]"),
        ("reconstruct", {"source": f"phantom:{HOSTILE}"}, "body"),
    ],
)
def test_texts_in_an_address_are_shown_as_text(page, address, path, scan, place):
    page.goto(f"{address}/{path}?scan={quote(json.dumps(scan))}")
    page.get_by_text("cannot be used").first.wait_for()
    shown = page.locator(place).first
    assert ".example" in shown.inner_text()
    assert (
        shown.locator("a[href*='.example'], img[src*='.example'], b, em, [style*='color: red']").count() == 0
    )
