"""A proxy that answers the first request of a client as a collector in trouble would, and passes all others on."""

from __future__ import annotations

import http.client
import http.server
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.parse import urlsplit


class Fault(NamedTuple):
    """The answer to a first request, which reaches no collector unless `is_stored`."""

    status: int
    headers: Mapping[str, str] = {}
    body: bytes = b'{"code":"fault","message":"a fault of this test"}'
    is_stored: bool = False


class FaultyProxy(http.server.ThreadingHTTPServer):
    """`requests` counts the requests with events that came."""

    daemon_threads = True

    def __init__(self, collector: str, fault: Fault) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.collector = collector
        self.fault = fault
        self.requests = 0
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def take(self) -> bool:
        """Count a request; whether it is the first."""
        with self._lock:
            self.requests += 1
            return self.requests == 1


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FaultyProxy

    def do_POST(self) -> None:
        body = self._body()
        fault = self.server.fault if self.server.take() else None
        if fault is None or fault.is_stored:
            status, headers, answer = self._pass_on(body)
            if fault is None:
                return self._answer(status, headers, answer)
        return self._answer(fault.status, fault.headers, b"" if fault.status == 204 else fault.body)

    do_GET = do_POST

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("transfer-encoding", ""):
            return self.rfile.read(int(self.headers.get("content-length") or 0))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _pass_on(self, body: bytes) -> tuple[int, Mapping[str, str], bytes]:
        where = urlsplit(self.server.collector)
        connection = http.client.HTTPConnection(str(where.hostname), where.port, timeout=30)
        sent = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "transfer-encoding", "content-length")}  # fmt: skip
        connection.request(self.command, self.path, body or None, sent)
        found = connection.getresponse()
        answer = found.read()
        connection.close()
        return found.status, {"content-type": found.getheader("content-type") or ""}, answer

    def _answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in {"content-type": "application/json", **headers}.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None: ...


@contextmanager
def faulty_proxies(collector: str, faults: Mapping[str, Fault]) -> Iterator[dict[str, FaultyProxy]]:
    """A proxy for each fault, by its name, until the end of the `with`."""
    proxies = {name: FaultyProxy(collector, fault) for name, fault in faults.items()}
    threads = [threading.Thread(target=proxy.serve_forever, args=(0.05,), daemon=True) for proxy in proxies.values()]
    for thread in threads:
        thread.start()
    try:
        yield proxies
    finally:
        for proxy in proxies.values():
            proxy.shutdown()
            proxy.server_close()
        for thread in threads:
            thread.join()


WITHOUT_CODE = json.dumps({"error": "a fault without a code"}).encode()
