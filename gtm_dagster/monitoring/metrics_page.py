"""`GET /metrics` of a process that serves nothing else, answered by a thread of its own."""

from __future__ import annotations

import ipaddress
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry

from gtm_dagster.monitoring.process_registry import CONTENT_TYPE, metrics_text

ANSWER_SECONDS = 10.0
"""A client that sends or takes nothing for this long is left."""
_LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})


@contextmanager
def metrics_page(registry: CollectorRegistry, host: str, port: int) -> Iterator[str]:
    """Serve the registry until the end of the `with`; yields the page's address. `port` 0 takes a free one.

    The page has no login. On loopback it is open to programs of this machine alone: not to a page of another site that
    leads a browser here under its own name. Raises OSError when the address cannot be listened on.
    """

    class Handler(BaseHTTPRequestHandler):
        timeout = ANSWER_SECONDS
        server_version, sys_version = "gtm", ""

        def do_GET(self) -> None:
            if loopback and _host(self.headers.get("Host", "")) not in _LOCAL:
                self._answer(403, "text/plain", b"this page is for programs of this machine\n")
            elif urlsplit(self.path).path != "/metrics":
                self._answer(404, "text/plain", b"the page is /metrics\n")
            else:
                self._answer(200, CONTENT_TYPE, metrics_text(registry))

        def _answer(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *values: Any) -> None:
            """Scrapes come every few seconds; nobody reads a line of each."""

    loopback = _is_loopback(host)
    with ThreadingHTTPServer((host, port), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, name="gtm-metrics", daemon=True)
        thread.start()
        try:
            yield f"http://{host}:{server.server_address[1]}/metrics"
        finally:
            server.shutdown()
            thread.join()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _host(header: str) -> str:
    return (urlsplit(f"//{header}").hostname or "").lower()
