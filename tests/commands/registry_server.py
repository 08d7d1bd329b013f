"""A schema registry that speaks Confluent's contract as far as `gtm plan publish` asks for it, on loopback.

Its rule of compatibility is one of BACKWARD for objects that allow no other properties: a property that goes, or one that
becomes required, breaks what was written by the version before.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit


class RegistryServer:
    """`subjects`: the schemas of each, oldest first; `levels`: the compatibility set for a subject; `writes`: what changed."""

    def __init__(self) -> None:
        self.subjects: dict[str, list[str]] = {}
        self.levels: dict[str, str] = {}
        self.writes: list[str] = []
        self.authorization: set[str | None] = set()
        self.url = ""

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        parts = [unquote(part) for part in path.strip("/").split("/")]
        if method == "GET" and parts == ["subjects"]:
            return 200, sorted(self.subjects)
        if method == "PUT" and parts[0] == "config":
            self.levels[parts[1]] = body["compatibility"]
            return 200, body
        assert body["schemaType"] == "JSON", "a registry takes a schema without a type for one of Avro"
        schema = body["schema"]
        if parts[0] == "compatibility":
            versions = self.subjects.get(parts[2])
            if not versions:
                return 404, {"error_code": 40401, "message": f"Subject '{parts[2]}' not found."}
            broken = self.broken(parts[2], versions[-1], schema)
            return 200, {"is_compatible": not broken, "messages": broken}
        subject = parts[1]
        versions = self.subjects.get(subject, [])
        if parts[2:] == ["versions"]:
            if versions and schema not in versions and self.broken(subject, versions[-1], schema):
                return 409, {
                    "error_code": 409,
                    "message": "Schema being registered is incompatible with an earlier schema",
                }
            if schema not in versions:
                self.subjects.setdefault(subject, []).append(schema)
                self.writes.append(subject)
            return 200, {"id": 1 + self.writes.index(subject)}
        if not versions:
            return 404, {"error_code": 40401, "message": f"Subject '{subject}' not found."}
        if schema not in versions:
            return 404, {"error_code": 40403, "message": "Schema not found"}
        return 200, {"subject": subject, "version": 1 + versions.index(schema), "id": 1, "schema": schema}

    def broken(self, subject: str, old_text: str, new_text: str) -> list[str]:
        if self.levels.get(subject, "BACKWARD") == "NONE":
            return []
        old, new = (json.loads(text)["properties"]["properties"] for text in (old_text, new_text))
        gone = sorted(set(old["properties"]) - set(new["properties"]))
        needed = sorted(set(new.get("required", ())) - set(old.get("required", ())))
        return [f"PROPERTY_REMOVED_FROM_CLOSED_CONTENT_MODEL {name}" for name in gone] + [
            f"REQUIRED_ATTRIBUTE_ADDED {name}" for name in needed
        ]


@contextmanager
def serving_registry() -> Iterator[RegistryServer]:
    """A registry without subjects; it ends with the block."""
    registry = RegistryServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            data = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            registry.authorization.add(self.headers.get("Authorization"))
            path = urlsplit(self.path).path
            status, answer = registry.answer(self.command, path, json.loads(data) if data else None)
            text = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_POST = do_PUT = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    registry.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield registry
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
