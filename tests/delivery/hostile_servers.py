"""Receivers on loopback that misbehave, each a real server: they hang, drip, redirect, flood, and have the wrong certificate."""

from __future__ import annotations

import json
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

Act = Callable[[BaseHTTPRequestHandler], None]


class Receiver:
    """A server on loopback: `requests` holds (path, headers, body); `act` answers each request."""

    def __init__(self, act: Act, *, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.connections = 0
        self.released = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def setup(self) -> None:
                receiver.connections += 1
                super().setup()

            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"] or 0))
                receiver.requests.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                try:
                    act(self)
                except OSError:
                    self.close_connection = True

            do_GET = do_POST = handle_any

            def log_message(self, *_: Any) -> None: ...

        class Server(ThreadingHTTPServer):
            def handle_error(self, *_: Any) -> None:
                """What a client does that leaves."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = self._server.server_port
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}/hook"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    def __enter__(self) -> Receiver:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def ids(self) -> list[str]:
        """The webhook-id of every request."""
        return [headers["webhook-id"] for _, headers, _ in self.requests]

    @property
    def documents(self) -> list[Any]:
        """The body of every request."""
        return [json.loads(body) for _, _, body in self.requests]


def answering(status: int, body: bytes = b"", **headers: str) -> Act:
    """Answer with `status`."""

    def act(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return act


def in_turn(*acts: Act) -> Act:
    """One after the other, the last again and again."""
    left = list(acts)

    def act(handler: BaseHTTPRequestHandler) -> None:
        (left.pop(0) if len(left) > 1 else left[0])(handler)

    return act


def dripping(stop: threading.Event) -> Act:
    """A header that never ends, a letter at a time."""

    def act(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-")
        while not stop.wait(0.02):
            handler.wfile.write(b"x")

    return act


def hanging(stop: threading.Event) -> Act:
    """Nothing at all."""
    return lambda handler: stop.wait(30) and None  # type: ignore[return-value]


def flooding(size: int) -> Act:
    """A body of `size` bytes."""

    def act(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(size))
        handler.end_headers()
        piece = b"x" * 1_000_000
        for _ in range(size // len(piece)):
            handler.wfile.write(piece)
            handler.server.flooded = getattr(handler.server, "flooded", 0) + len(piece)  # type: ignore[attr-defined]

    return act


@contextmanager
def own_certificate(folder: Path, name: str) -> Iterator[tuple[ssl.SSLContext, Path]]:
    """A server's context with a self-signed certificate for `name`, and its file."""
    key, certificate = folder / f"{name}.key", folder / f"{name}.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", f"/CN={name}",
         "-addext", f"subjectAltName=DNS:{name}", "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    yield context, certificate
