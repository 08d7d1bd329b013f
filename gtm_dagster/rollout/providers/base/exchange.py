"""One HTTP request and its whole answer within a time, whatever the server does: the layer under `Api`.

A socket's timeout starts anew with every byte, so a server that drips its headers passes it. An exchange therefore runs
in a thread that is left behind when its time is over; how many may hang is bounded.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import requests

MAX_ANSWER_BYTES = 16_000_000
MAX_ABANDONED = 8
"""Exchanges that outlived their timeout and still hold a thread; above that nothing new is tried."""
_CHUNK_BYTES = 65_536


@dataclass(frozen=True)
class Response:
    """A whole answer of any status."""

    status: int
    headers: Mapping[str, str]
    content: bytes


class Exchanges:
    """Exchanges with the server under `base`; `headers` authenticate. Usable from any thread."""

    def __init__(self, base: str, headers: Mapping[str, str], name: str) -> None:
        self._base = base
        self._headers = dict(headers)
        self._name = name
        self._abandoned: list[threading.Thread] = []
        self._session = requests.Session()
        self._session.auth = self._authorize

    @property
    def abandoned(self) -> int:
        """Exchanges that outlived their timeout, as of the last call."""
        return len(self._abandoned)

    def run(self, method: str, path: str, body: Any, headers: Mapping[str, str], timeout: float) -> Response:
        """The answer within `timeout` seconds. Raises requests.Timeout without a whole one, requests' errors otherwise."""
        return self._in_time(lambda: self._exchange(method, path, body, headers, timeout), timeout)

    def _in_time(self, exchange: Callable[[], Response], timeout: float) -> Response:
        self._abandoned = [thread for thread in self._abandoned if thread.is_alive()]
        if len(self._abandoned) >= MAX_ABANDONED:
            raise requests.Timeout("too many attempts still hang")
        responses: list[Response] = []
        errors: list[BaseException] = []

        def run() -> None:
            try:
                responses.append(exchange())
            except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
                errors.append(error)

        thread = threading.Thread(target=run, daemon=True, name=f"call {self._name}")
        thread.start()
        thread.join(timeout + 0.1)
        if errors:
            raise errors[0]
        if not responses:
            self._abandoned.append(thread)
            raise requests.Timeout("no whole answer in time")
        return responses[0]

    def _exchange(self, method: str, path: str, body: Any, headers: Mapping[str, str], timeout: float) -> Response:
        deadline = time.monotonic() + timeout
        data = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        sent = {"Accept": "application/json"} | ({} if data is None else {"Content-Type": "application/json"})
        with self._session.request(
            method,
            self._base + path,
            data=data,
            headers=sent | dict(headers),
            timeout=timeout,
            allow_redirects=False,
            stream=True,
        ) as response:
            parts, size = [], 0
            for part in response.iter_content(_CHUNK_BYTES):
                parts.append(part)
                size += len(part)
                if size > MAX_ANSWER_BYTES or time.monotonic() > deadline:
                    raise requests.Timeout("no whole answer in time")
            return Response(response.status_code, response.headers, b"".join(parts))

    def _authorize(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Sets the headers that authenticate, and keeps requests from adding credentials of a .netrc."""
        request.headers.update(self._headers)
        return request
