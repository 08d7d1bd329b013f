"""The dashboard as an ASGI app: routes, headers, what is answered when something is missing or wrong."""

from __future__ import annotations

import base64
import hashlib
import logging
import re
import time
from collections.abc import Mapping
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from gtm_dagster.dashboard.notices import NotFoundError, Notice, UnavailableError
from gtm_dagster.dashboard.page_access import COOKIE, COOKIE_SECONDS, PageAccess
from gtm_dagster.dashboard.page_text import moment
from gtm_dagster.dashboard.pages import Pages, chart_style, static_file
from gtm_dagster.dashboard.parameters import BadParameterError
from gtm_dagster.dashboard.request_metrics import RequestMetrics
from gtm_dagster.dashboard.screen import Screen, screens
from gtm_dagster.monitoring.process_registry import CONTENT_TYPE, metrics_text
from gtm_dagster.reports.command_lines import command_line, command_lines
from gtm_dagster.reports.names_in_text import isolated

_LOG = logging.getLogger(__name__)
_LONGEST_URL = 16_000
_LONGEST_FORM = 4_000
_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",  # with `no-referrer` a browser names no origin in the form that signs in
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
_OPEN = frozenset({"/livez", "/login", "/favicon.ico"})
_STATIC = {"dashboard.css": "text/css; charset=utf-8", "favicon.svg": "image/svg+xml"}


def create_app(pages: Pages, access: PageAccess) -> Starlette:
    """The app over the pages of a deployment, open to whom `access` lets in."""
    metrics = RequestMetrics()

    async def metrics_page(request: Request) -> Response:
        return Response(metrics_text(metrics.registry), headers={"content-type": CONTENT_TYPE})

    async def query(request: Request) -> Response:
        try:
            found = await run_in_threadpool(pages.answer, request.query_params.get("q", ""))
        except UnavailableError as error:
            return PlainTextResponse(notice_text(error.notice, of_demo=pages.of_demo), 400)
        headers = {"content-disposition": f'attachment; filename="{found.file_name}"'}
        return Response(found.text, media_type=found.media_type, headers=headers)

    async def livez(request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def static(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in _STATIC:
            return _message(404, "Not found", f"there is no /static/{name}")
        content, digest = static_file(name)
        kept = "public, max-age=31536000, immutable" if request.query_params.get("v") == digest else "no-cache"
        return Response(content, media_type=_STATIC[name], headers={"cache-control": kept})

    async def favicon(request: Request) -> Response:
        return Response(
            static_file("favicon.svg")[0], media_type=_STATIC["favicon.svg"], headers={"cache-control": "max-age=86400"}
        )

    async def login(request: Request) -> Response:
        if request.method == "GET":
            return _message(200, "Sign in", "This dashboard asks for its token.", form=access.has_token)
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > _LONGEST_FORM:
                return _message(413, "Too large", "a token is shorter")
        token = dict(parse_qsl(body.decode("latin-1"))).get("token", "")
        session = access.session_for(token.strip())
        if session is None:
            return _message(401, "Sign in", "That is not the token.", form=access.has_token)
        answer = RedirectResponse("/", 303)
        answer.set_cookie(
            COOKIE, session, max_age=COOKIE_SECONDS, secure=True, httponly=True, samesite="strict", path="/"
        )
        return answer

    async def chart(request: Request) -> Response:
        name, kind = request.path_params["name"], request.path_params["kind"]
        given = request.query_params.multi_items()
        found = await run_in_threadpool(pages.download, name, kind, given)
        extra = {"content-disposition": f'inline; filename="{found.file_name}"'}
        if kind == "csv":
            extra["content-disposition"] = f'attachment; filename="{found.file_name}"'
        if kind == "svg":
            extra["content-security-policy"] = (
                f"default-src 'none'; style-src '{_style_digest()}'; frame-ancestors 'none'"
            )
        return _kept(request, Response(found.text, media_type=found.media_type, headers=extra))

    def screen_route(screen: Screen) -> Route:
        async def show(request: Request) -> Response:
            path: Mapping[str, str] = request.path_params
            text = await run_in_threadpool(pages.page, screen, request.query_params.multi_items(), path)
            return _kept(request, Response(text, media_type="text/html"))

        return Route(screen.path, show, methods=["GET"], name=screen.name)

    def _message(status: int, title: str, text: str, *, form: bool = False) -> Response:
        return Response(pages.message(title, text, form=form), status, media_type="text/html")

    async def bad(request: Request, error: Exception) -> Response:
        return _message(400, "Not a page of this dashboard", str(error))

    async def absent(request: Request, error: Exception) -> Response:
        text = (
            str(error) if isinstance(error, NotFoundError) else f"there is no page {isolated(request.url.path[:200])}"
        )
        return _message(404, "Not found", text)

    async def unavailable(request: Request, error: Exception) -> Response:
        notice = error.notice if isinstance(error, UnavailableError) else Notice(str(error))
        return PlainTextResponse(notice_text(notice, of_demo=pages.of_demo), 503, headers={"retry-after": "10"})

    return Starlette(
        routes=[
            Route("/livez", livez),
            Route("/favicon.ico", favicon),
            Route("/static/{name}", static),
            Route("/login", login, methods=["GET", "POST"]),
            Route("/metrics", metrics_page),
            Route("/query.csv", query, name="query"),
            Route("/chart/{name}.{kind}", chart, name="chart"),
            Route("/chart/{name}/{kind}", chart, name="chart"),
            *(screen_route(screen) for screen in screens()),
        ],
        middleware=[
            Middleware(_Guarded, pages=pages, access=access, metrics=metrics),
            Middleware(GZipMiddleware, minimum_size=1000, compresslevel=6),
        ],
        exception_handlers={
            BadParameterError: bad,
            NotFoundError: absent,
            404: absent,
            UnavailableError: unavailable,
        },
    )


def notice_text(notice: Notice, *, of_demo: bool = False) -> str:
    """A notice as plain text, for who asked for no page."""
    lines = [notice.what, notice.why, f"since {moment(notice.since)}" if notice.since else ""]
    run = [f"run: {command_line(notice.command, of_demo=of_demo)}"] if notice.command else []
    return command_lines("\n".join([*filter(None, lines), *run]) + "\n", of_demo=of_demo)


class _Guarded:
    """Lets in whom the rules of access let in, and puts the headers on every answer."""

    def __init__(self, app: ASGIApp, pages: Pages, access: PageAccess, metrics: RequestMetrics) -> None:
        self._app = app
        self._pages = pages
        self._access = access
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        has_begun = False
        began = time.perf_counter()

        async def sent(message: dict) -> None:  # type: ignore[type-arg]
            nonlocal has_begun
            if message["type"] == "http.response.start":
                has_begun = True
                page = getattr(scope.get("route"), "name", None)
                self._metrics.answered(page, message["status"], time.perf_counter() - began)
                names = {name.lower() for name, _ in message["headers"]}
                defaults = {**_HEADERS, "content-security-policy": _POLICY, "cache-control": "private, no-cache"}
                message["headers"] = [
                    *message["headers"],
                    *((n.encode(), v.encode()) for n, v in defaults.items() if n.encode() not in names),
                ]
            await send(message)

        answer = self._answer(scope)
        try:
            await (answer or self._app)(scope, receive, sent)  # type: ignore[arg-type]
        except Exception:
            if has_begun:
                raise
            _LOG.exception("%s could not be made", scope["path"])
            text = self._pages.message("This page could not be made", "The reason is in the output of the dashboard.")
            await Response(text, 500, media_type="text/html")(scope, receive, sent)  # type: ignore[arg-type]

    def _answer(self, scope: Scope) -> Response | None:
        """What is answered before the app is asked; None for a request that it answers."""
        if len(scope["path"]) + len(scope.get("query_string", b"")) > _LONGEST_URL:
            return PlainTextResponse("the address is too long\n", 414)
        is_open = scope["path"] in _OPEN or scope["path"].startswith("/static/")
        refusal = self._access.foreign(scope) if is_open else self._access.refusal(scope)
        if refusal is None:
            return None
        if refusal.status == 401:
            text = self._pages.message("Sign in", f"{refusal.reason}.", form=self._access.has_token)
            return Response(
                text, 401, media_type="text/html", headers={"www-authenticate": 'Bearer realm="gtm dashboard"'}
            )
        return PlainTextResponse(f"{refusal.reason}\n", refusal.status)


def _kept(request: Request, response: Response) -> Response:
    """The response with a tag of its content, or 304 when the browser has it."""
    body = bytes(response.body)
    tag = f'W/"{hashlib.sha256(body).hexdigest()[:20]}"'
    if tag in re.split(r"\s*,\s*", request.headers.get("if-none-match", "")):
        return Response(status_code=304, headers={"etag": tag})
    response.headers["etag"] = tag
    return response


def _style_digest() -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(chart_style().encode()).digest()).decode()
