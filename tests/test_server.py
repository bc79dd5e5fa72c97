"""The app's server over HTTP: headers, the metrics endpoint, and uploads as a scripted visitor sends them."""

import contextlib
import http.client
import json
import threading
import time
from urllib.parse import quote, urlsplit

import psutil
import pytest

from pages.ui.server.middleware import HEADERS, VISITOR
from tests.browser.server import serve

pytestmark = pytest.mark.system


class Visitor:
    """A script that speaks to the server: a session over its WebSocket, and requests.

    Its first page has the query: the app reads an address once in a session.
    """

    def __init__(self, address, page="", query=""):
        import websockets.sync.client

        self.host = urlsplit(address).netloc
        answer = self.request("GET", "/_stcore/health")
        self.token = answer.headers["Set-Cookie"].split("_streamlit_xsrf=")[1].split(";")[0]
        self.open = contextlib.ExitStack()
        connected = websockets.sync.client.connect(
            f"ws://{self.host}/_stcore/stream",
            subprotocols=["streamlit"],
            additional_headers={"Cookie": f"_streamlit_xsrf={self.token}"},
            origin=address,
            max_size=None,
        )
        self.socket = self.open.enter_context(connected)
        from streamlit.proto.BackMsg_pb2 import BackMsg
        from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

        self.socket.send(BackMsg(rerun_script={"query_string": query, "page_name": page}).SerializeToString())
        while True:
            message = ForwardMsg.FromString(self.socket.recv(timeout=60))
            if message.HasField("new_session"):
                self.session = message.new_session.initialize.session_id
                return

    def wait(self):
        """Wait until the first page is drawn."""
        from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

        while not ForwardMsg.FromString(self.socket.recv(timeout=120)).HasField("script_finished"):
            pass

    def request(self, method, path, body=None, **headers):
        connection = http.client.HTTPConnection(self.host, timeout=60)
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        answer.text = answer.read().decode(errors="replace")
        connection.close()
        return answer

    def upload(self, size, name="a", **headers):
        head = (
            f'--x\r\nContent-Disposition: form-data; name="{name}"; filename="{name}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        ).encode()
        body = head + bytes(size) + b"\r\n--x--\r\n"
        return self.request(
            "PUT",
            f"/_stcore/upload_file/{self.session}/{name}",
            headers.pop("body", body),
            **{
                "Content-Type": "multipart/form-data; boundary=x",
                "X-Xsrftoken": self.token,
                "Cookie": f"_streamlit_xsrf={self.token}",
                **headers,
            },
        )


def server_process(address):
    port = urlsplit(address).port
    return next(
        p
        for p in psutil.Process().children(recursive=True)
        if any(c.laddr.port == port and c.status == "LISTEN" for c in p.net_connections())
    )


def settled_memory(server):
    """Memory [B] of the server once it no longer changes by a megabyte in a second."""
    before, deadline = 0, time.monotonic() + 120
    while abs(server.memory_info().rss - before) > 1e6:
        assert time.monotonic() < deadline
        before = server.memory_info().rss
        time.sleep(1)
    return before


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOMOPATCH_UPLOAD_GB", "0.02")
        with serve(tmp_path_factory.mktemp("server")) as address:
            yield address


@pytest.fixture
def visitor(address):
    visitor = Visitor(address)
    yield visitor
    visitor.open.close()


@pytest.mark.parametrize("path", ["/", "/_stcore/health", "/static/nothing.js", "/_stcore/metrics", "/Runs"])
def test_every_answer_has_the_security_headers(visitor, path):
    answer = visitor.request("GET", path)
    assert {name: answer.headers[name] for name in HEADERS} == HEADERS


@pytest.mark.parametrize(
    ("path", "page"),
    [
        ("/acquire/nonsense?scan=x%20y", "/acquire?scan=x%20y"),
        ("/Compare", "/compare"),
        ("/nonsense/deeper/still", "/"),
        ("//example.org/x", "/"),  # never to another site
        ("/what_if", None),
        ("/nonsense", None),  # Streamlit shows Home and a message
    ],
)
def test_an_address_below_a_page_leads_to_the_page(visitor, path, page):
    answer = visitor.request("GET", path, Accept="text/html")
    assert (answer.status, answer.headers["Location"]) == ((307, page) if page else (200, None))


@pytest.mark.parametrize(
    "path", ["/_stcore/metrics", "/_stcore/metrics/", "/_stcore/%6Detrics", "/_stcore/metrics?a=1"]
)
def test_the_metrics_are_closed(visitor, path):
    assert visitor.request("GET", path).status == 404


def test_a_browser_is_given_a_cookie_once(visitor):
    given = visitor.request("GET", "/").headers["Set-Cookie"]
    assert given.startswith(f"{VISITOR}=")
    assert "HttpOnly" in given
    assert "SameSite=Lax" in given
    assert given != visitor.request("GET", "/").headers["Set-Cookie"]
    again = visitor.request("GET", "/", Cookie=given.partition(";")[0])
    assert again.headers["Set-Cookie"] is None


def test_uploads_have_a_cap_for_a_session_and_for_all_together(address):
    one, two, three = Visitor(address), Visitor(address), Visitor(address)
    assert one.upload(8_000_000).status == 204
    assert one.upload(8_000_000, "b").status == 413  # more than half of all
    assert "no memory" in one.upload(8_000_000, "b").text
    assert two.upload(8_000_000).status == 204
    assert three.upload(8_000_000).status == 413
    one.open.close()
    time.sleep(0.5)
    assert three.upload(8_000_000).status == 204  # of whoever has left nothing needs to stay
    assert two.upload(1000, "c").status == 204
    two.open.close()
    three.open.close()


def test_an_upload_without_a_length_is_refused(visitor):
    body = iter([b"a" * 1000])
    assert visitor.upload(0, body=body, **{"Transfer-Encoding": "chunked"}).status == 411


def test_a_server_without_uploads_refuses_them_and_its_memory_stays(tmp_path, monkeypatch):
    monkeypatch.setenv("TOMOPATCH_READ_ONLY", "1")
    with serve(tmp_path) as address:
        visitor = Visitor(address)
        visitor.wait()
        assert visitor.upload(10).status == 403
        server = server_process(address)
        before = settled_memory(server)  # with the engine, which the first page imports
        answers = [visitor.upload(50_000_000, f"f{i}") for i in range(6)]
        assert {a.status for a in answers} == {403}
        assert "no uploads" in answers[0].text
        # a third of what was sent; what else the server loads meanwhile is part of it
        assert server.memory_info().rss - before < 150e6
        visitor.open.close()


@pytest.mark.slow
def test_the_servers_memory_stays_below_its_limit_whatever_an_address_asks_for(tmp_path, monkeypatch):
    """A visitor sends grids, volumes and detectors that would take gigabytes, page after page."""
    monkeypatch.setenv("TOMOPATCH_MEMORY_GB", "1")
    scans = [
        {"source": "phantom:shepp-logan", "grid": [128, 512, 512], "num_views": 8},
        {"source": "phantom:thorax:3", "grid": [1024, 512, 512], "num_views": 2, "same_grid": True},
        {"source": "phantom:head:1", "grid": [8, 32, 32], "det_shape": [1, 20_000_000], "num_views": 100},
        *({"source": f"phantom:thorax:{n}", "grid": [72, 144, 144], "num_views": 8} for n in range(4)),
    ]
    with serve(tmp_path) as address:
        visitor = Visitor(address, "acquire")
        server = server_process(address)
        visitor.wait()
        time.sleep(5)  # the demo's volume is prepared meanwhile
        idle, peak = server.memory_info().rss, [0]
        done = threading.Event()

        def watch():
            while not done.wait(0.02):
                peak[0] = max(peak[0], server.memory_info().rss)

        watcher = threading.Thread(target=watch)
        watcher.start()
        for scan in scans:
            for page in ("acquire", "reconstruct", "compare", "what_if", "prior"):
                fresh = Visitor(address, page, f"scan={quote(json.dumps(scan))}")
                fresh.wait()
                fresh.open.close()
        done.set()
        watcher.join(60)
        visitor.open.close()
    assert peak[0] - idle < 1e9
