"""Checks of the web server on every request: security headers, a cap on uploads, and the visitor's cookie.

Streamlit has no options for these, but accepts middleware (`streamlit.App`). The engine is imported with the
first upload only, so that the server starts at once.
"""

from __future__ import annotations

import secrets
from collections import Counter
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from streamlit import config, runtime

from pages.ui.session import routes

VISITOR = "tomopatch_visitor"
"""Cookie that identifies a browser beyond one session; scripts of the page cannot read it."""
YEAR = 365 * 24 * 3600  # seconds
UPLOADS = "/_stcore/upload_file/"
CLOSED = "/_stcore/metrics"
SESSION_SHARE = 0.5
"""Share of the upload memory that one session may use."""
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; connect-src "
    "'self' ws: wss: data: blob:; frame-ancestors 'self'; object-src 'none'; base-uri 'self'; form-action "
    "'self'",
}
"""Headers of every response.

Streamlit needs inline scripts. Other sites can neither provide content nor embed the app.
"""
PAGES = {Path(file).stem for file in routes.TITLES}
RESERVED = ("_stcore", "app", "component", "media", "static", "vendor")
"""First parts of Streamlit's own addresses."""
NO_UPLOADS = "This server accepts no uploads."
TOO_MUCH = "The server has no memory for this upload now. Try again later, or upload a smaller file."
NO_LENGTH = "An upload must state its length."


def middleware() -> list[Middleware]:
    """Return the middleware of the app's server."""
    return [Middleware(Guard)]


class Guard:
    """Middleware that checks each request before Streamlit sees it and adds headers to the response."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.arriving: Counter[object] = Counter()  # bytes received by unfinished uploads, by request

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        send = _with_headers(scope, send)
        path = scope["path"]
        if CLOSED in path:
            await PlainTextResponse("Not found", 404)(scope, receive, send)
        elif (page := _page_above(scope)) is not None:
            await RedirectResponse(page, 307)(scope, receive, send)
        elif UPLOADS in path and scope["method"] == "PUT":
            await self._upload(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _upload(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward an upload while all uploads together stay within their memory limit."""
        session = scope["path"].partition(UPLOADS)[2].partition("/")[0]
        length = Headers(scope=scope).get("content-length", "")
        cap = await run_in_threadpool(upload_cap)
        request = object()

        def check(more: int) -> None:
            if not self._fits(session, more, cap):
                raise HTTPException(413, TOO_MUCH)

        async def counted() -> Message:
            message = await receive()
            check(len(message.get("body", b"")))
            self.arriving[request] += len(message.get("body", b""))
            return message

        try:
            if cap == 0:
                raise HTTPException(403, NO_UPLOADS)
            if not length.isdecimal():
                raise HTTPException(411, NO_LENGTH)
            check(int(length))
        except HTTPException as refused:
            await PlainTextResponse(refused.detail, refused.status_code)(scope, receive, send)
            return
        try:
            await self.app(scope, counted, send)
        finally:
            del self.arriving[request]

    def _fits(self, session: str, more: int, cap: float) -> bool:
        """Whether `more` bytes fit. Files of visitors who have left are deleted if necessary."""
        if more + self.arriving.total() > cap:
            return False
        manager: Any = runtime.get_instance().uploaded_file_mgr
        held = _held(manager)
        if held[session] + more > SESSION_SHARE * cap:
            return False
        if held.total() + self.arriving.total() + more > cap:
            for other in held:
                if not runtime.get_instance().is_active_session(other):
                    manager.remove_session_files(other)
            held = _held(manager)
        return held.total() + self.arriving.total() + more <= cap


def _page_above(scope: Scope) -> str | None:
    """Return the address of a page if a browser asks for a path below it, or for a name in another case.

    Streamlit would answer with the app, but the browser would look for its files below that path and show a
    white page. The app also requests `PAGE/_stcore/health` to find out whether it is served below PAGE. It is
    not, so this request gets a 404, which the browser's console shows.
    """
    base = "/" + str(config.get_option("server.baseUrlPath")).strip("/")
    path = scope["path"]
    if scope["method"] != "GET" or "text/html" not in Headers(scope=scope).get("accept", ""):
        return None
    first, *deeper = path.removeprefix(base).strip("/").split("/")
    page = first.lower() if first.lower() in PAGES else ""
    if first in RESERVED or not (deeper or page not in ("", first)):
        return None
    query = scope["query_string"].decode("latin-1")
    return f"{base.rstrip('/')}/{page}" + (f"?{query}" if query else "")


def upload_cap() -> float:
    """Return the bytes that all uploads together may use; 0 where uploads are off."""
    from tomopatch.runs.limits import read_only, upload_bytes  # imports the engine

    try:
        return 0.0 if read_only() else upload_bytes()
    except ValueError:  # the limit is not a number; the pages report it
        return 0.0


def _held(manager: Any) -> Counter[str]:
    """Return the bytes of uploaded files in memory, by session."""
    return Counter(
        {
            session: sum(len(f.data) for f in list(files.values()))
            for session, files in list(manager.file_storage.items())
        }
    )


def _with_headers(scope: Scope, send: Send) -> Send:
    """Return a sender that adds the headers to every response, and the visitor's cookie to the first page."""

    async def completed(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers[name] = value
            is_page = headers.get("content-type", "").startswith("text/html")
            if is_page and VISITOR not in _cookies(scope):
                secure = "; Secure" if scope.get("scheme") == "https" else ""
                headers.append(
                    "Set-Cookie",
                    f"{VISITOR}={secrets.token_urlsafe(24)}; Path=/; HttpOnly; SameSite=Lax; "
                    f"Max-Age={YEAR}{secure}",
                )
        await send(message)

    return completed


def _cookies(scope: Scope) -> SimpleCookie:
    try:
        return SimpleCookie(Headers(scope=scope).get("cookie", ""))
    except CookieError:
        return SimpleCookie()
