"""One request to the collector and what its answer means. HTTP only: queues and threads are the sender's."""

from __future__ import annotations

import re
import time
from enum import Enum
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

if TYPE_CHECKING:
    import requests

_KEY = re.compile(r"[!-~](?:[ -~]*[!-~])?")
MAX_ANSWER_BYTES = 8_000_000
MAX_RETRY_AFTER = 300
"""Seconds; a collector that asks for more is asked again after this long."""


class Verdict(Enum):
    """What to do with the batch."""

    DONE = "done"
    LATER = "later"
    SPLIT = "split"
    REFUSED = "refused"


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The collector's answer; `retry_after` in seconds, None when it named no time.

    `quarantined_for` and `suppressed_for` are the first reason for each, empty when the answer names none.
    """

    verdict: Verdict
    reason: str = ""
    retry_after: int | None = None
    accepted: int = 0
    duplicates: int = 0
    quarantined: int = 0
    suppressed: int = 0
    quarantined_for: str = ""
    suppressed_for: str = ""


class _Body(msgspec.Struct):
    accepted: int
    duplicates: int
    quarantined: int
    suppressed: int = 0
    results: Any = None


class Transport:
    """Posts to one collector. For one thread; a forked child opens its own.

    `timeout` is the seconds a request may take, waiting for the connection and reading the answer included.
    """

    def __init__(self, endpoint: str, write_key: str, timeout: float = 10.0) -> None:
        import requests  # here, not at the top: half of the import time of the package
        from urllib3.exceptions import HTTPError

        self._base = base_url(endpoint)
        self._key = checked_key(write_key)
        self._timeout = timeout
        self._requests = requests
        self._http_error = HTTPError
        self._session: requests.Session = requests.Session()
        self._session.auth = self._authorize

    def send(self, events: list[bytes]) -> Answer:
        """Posts encoded events as one batch. Never raises on what the network or the collector does."""
        try:
            status, headers, body = self._post("/ingest", b"[" + b",".join(events) + b"]", self._timeout)
        except self._requests.RequestException as error:
            return Answer(verdict=Verdict.LATER, reason=f"{self._base}/ingest: {type(error).__name__}")
        return read_answer(status, headers.get("Retry-After"), body)

    def beat(self, producer: str, instance: str, ts: str, sent_at: str, closing: bool) -> bool:
        """Posts a heartbeat: everything up to `ts` is delivered; True when the collector took it."""
        beat: dict[str, Any] = {"producer": producer, "instance": instance, "ts": ts, "sent_at": sent_at}
        body = msgspec.json.encode(beat | {"closing": True} if closing else beat)
        try:
            status, _, _ = self._post("/heartbeat", body, min(3.0, self._timeout))
        except self._requests.RequestException:
            return False
        return 200 <= status < 300

    def close(self) -> None:
        """Closes the connections."""
        self._session.close()

    def _authorize(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Sets the key, and keeps requests from adding credentials of a .netrc."""
        request.headers["X-Write-Key"] = self._key
        return request

    def _post(self, path: str, body: bytes, timeout: float) -> tuple[int, Any, bytes]:
        deadline = time.monotonic() + timeout
        with self._session.post(
            self._base + path,
            data=body,
            headers={"Content-Type": "application/json"},
            timeout=(min(3.05, timeout), timeout),
            allow_redirects=False,  # a redirected POST arrives as a GET
            stream=True,
        ) as response:
            parts, size = [], 0
            while part := self._part(response):
                parts.append(part)
                size += len(part)
                if size > MAX_ANSWER_BYTES or time.monotonic() > deadline:
                    raise self._requests.Timeout(f"no whole answer within {timeout} s")
            return response.status_code, response.headers, b"".join(parts)

    def _part(self, response: requests.Response) -> bytes:
        """What has arrived of a body: waiting for more at once would let a server that trickles wait for ever."""
        try:
            part: bytes = response.raw.read1(65_536, decode_content=True)
        except (OSError, self._http_error) as error:
            raise self._requests.ConnectionError(type(error).__name__) from error
        return part


def checked_key(write_key: str) -> str:
    """The write key as it goes into a header; ValueError, which does not show it, for one that cannot."""
    if not isinstance(write_key, str) or _KEY.fullmatch(write_key) is None:
        what = (
            "is missing" if not write_key else "holds a blank, a line end or another character that no header may have"
        )
        raise ValueError(f"write_key {what}; give the key as `gtm keys add` printed it")
    return write_key


def base_url(endpoint: str) -> str:
    """The collector's URL without a trailing `/ingest`; ValueError when it is not a URL."""
    wrong = f"{endpoint!r} is not a collector URL; give one like http://127.0.0.1:8377"
    try:
        parts = urlsplit(endpoint)
        _ = parts.port
    except ValueError:
        raise ValueError(wrong) from None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(wrong)
    return endpoint.rstrip("/").removesuffix("/ingest").rstrip("/")


def read_answer(status: int, retry_after: str | None, body: bytes) -> Answer:
    """What an HTTP answer of the collector means for the batch.

    Only 400, 401, 403 and 422 give a batch up, and 413 splits it: whatever else is not a readable 200 may be a proxy
    or a deployment in between, and the batch is tried again.
    """
    if status == 200:
        try:
            counts = msgspec.json.decode(body, type=_Body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return Answer(verdict=Verdict.LATER, reason="200 without the counts of a collector")
        return Answer(
            verdict=Verdict.DONE,
            accepted=counts.accepted,
            duplicates=counts.duplicates,
            quarantined=counts.quarantined,
            suppressed=counts.suppressed,
            quarantined_for=_first_reason(counts.results, "quarantined") if counts.quarantined else "",
            suppressed_for=_first_reason(counts.results, "suppressed") if counts.suppressed else "",
        )
    reason = f"{status} {_message(body)}".strip()
    if status == 413:
        return Answer(verdict=Verdict.SPLIT, reason=reason)
    if status in (400, 401, 403, 422):
        return Answer(verdict=Verdict.REFUSED, reason=reason)
    wait = None
    if retry_after is not None and retry_after.strip().isascii() and retry_after.strip().isdigit():
        wait = min(int(retry_after.strip()[:9]), MAX_RETRY_AFTER)
    return Answer(verdict=Verdict.LATER, reason=reason, retry_after=wait)


def _first_reason(results: Any, status: str) -> str:
    """`path: message (code)` of the first result of that status, which a collector writes free of personal values."""
    for result in results if isinstance(results, list) else ():
        if isinstance(result, dict) and result.get("status") == status:
            errors = result.get("errors")
            error = errors[0] if isinstance(errors, list) and errors else None
            if isinstance(error, dict):
                place, message, code = (str(error.get(key) or "")[:300] for key in ("path", "message", "code"))
                return f"{place or 'event'}: {message} ({code})"
    return ""


def _message(body: bytes) -> str:
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
    if not isinstance(document, dict):
        return ""
    return ": ".join(str(document[key])[:200] for key in ("code", "message") if key in document)
