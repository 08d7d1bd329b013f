"""Calls to a provider's API: a total timeout, bounded retries of what may be repeated, and errors that say the way out.

Every call sets an absolute state or only reads, so it may be sent again when the answer was lost.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import msgspec
import requests

from gtm_dagster.rollout.providers.base.exchange import Exchanges, Response
from gtm_dagster.rollout.providers.base.writer import Conflict, ProviderError
from gtm_dagster.settings.secret_text import shown_url, user_info, without_addresses, without_secrets

ATTEMPT_SECONDS = 2.0
BUDGET_SECONDS = 5.0
"""One attempt, and one call with all its retries and pauses."""
PAUSES = (0.2, 0.6)
"""Seconds before the second and the third attempt; there is no fourth."""
EVALUATED_AT_ONCE = 8

T = TypeVar("T")


def segment(text: str) -> str:
    """One segment of a path, escaped."""
    return quote(text, safe="")


class Api:
    """A provider's API under `base`. `headers` authenticate; `secrets` never appear in a message.

    `name` heads every message, `wanted` says which token the provider wants. Usable from any thread.
    """

    def __init__(
        self, name: str, base: str, *, headers: Mapping[str, str], secrets: tuple[str, ...], wanted: str
    ) -> None:
        self._base = shown_url(base.rstrip("/"))
        if not _is_address(base):
            raise ProviderError(
                f"{name}: {self._base!r} is not an address; give url one like https://flags.example.com"
            )
        self.name = name
        self._secrets = (*(secret for secret in secrets if secret), *user_info(base))
        self._wanted = wanted
        self._exchanges = Exchanges(base.rstrip("/"), headers, name)

    def ask(
        self,
        method: str,
        path: str,
        into: type[T],
        *,
        what: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> T:
        """The answer as `into`. `what` names flag and environment in messages."""
        answer = self._call(method, path, what, body, headers or {}, retry_conflict=False)
        return self._decoded(answer, into, f"{self.name}, {what}")

    def send(
        self,
        method: str,
        path: str,
        *,
        what: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        retry_conflict: bool = False,
    ) -> None:
        """Sets a state; the answer must be 2xx, empty or JSON (a login page answers 200 too).

        409 raises Conflict, or is tried again with `retry_conflict`, where it only means that another change was being
        written.
        """
        answer = self._call(method, path, what, body, headers or {}, retry_conflict=retry_conflict)
        if answer.strip():
            self._decoded(answer, object, f"{self.name}, {what}")

    def _call(
        self, method: str, path: str, what: str, body: Any, headers: Mapping[str, str], *, retry_conflict: bool
    ) -> bytes:
        deadline = time.monotonic() + BUDGET_SECONDS
        for pause in (*PAUSES, None):
            try:
                return self._attempt(method, path, what, body, headers, deadline, retry_conflict)
            except ProviderError as error:
                wait = pause if error.retry_after is None or pause is None else max(pause, error.retry_after)
                if not error.retry or wait is None or time.monotonic() + wait >= deadline:
                    raise
                time.sleep(wait)
        raise AssertionError("the last attempt returns or raises")

    def _attempt(
        self,
        method: str,
        path: str,
        what: str,
        body: Any,
        headers: Mapping[str, str],
        deadline: float,
        retry_conflict: bool,
    ) -> bytes:
        timeout = min(ATTEMPT_SECONDS, deadline - time.monotonic())
        where = f"{self.name}, {what}"
        try:
            response = self._exchanges.run(method, path, body, headers, timeout)
        except requests.Timeout as error:
            raise ProviderError(
                f"{where}: no answer within {timeout:.1f} s from {self._base}; is it overloaded or blocked?", retry=True
            ) from error
        except requests.ConnectionError as error:
            raise ProviderError(
                f"{where}: cannot reach {self._base}; is it running, and is url right?", retry=True
            ) from error
        except Exception as error:  # noqa: BLE001 - whatever an exchange meets: what caused it may quote headers and address
            kind = "" if isinstance(error, requests.RequestException) else f"{type(error).__name__}: "
            raise ProviderError(
                f"{where}: the request to {self._base} cannot be sent or its answer not taken: "
                f"{kind}{self._hide(without_addresses(str(error)))}; look at url and token_env"
            ) from None
        if not 200 <= response.status < 300:
            raise self._refusal(where, response, retry_conflict)
        return response.content

    def _decoded(self, answer: bytes, into: type[T], where: str) -> T:
        try:
            return msgspec.json.decode(answer, type=into)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ProviderError(
                f"{where}: an answer that cannot be read ({error}): {self._excerpt(answer)}; is {self._base} the "
                "provider's API, of a version that docs/providers.md names, or a proxy or login page before it?"
            ) from error

    def _refusal(self, where: str, response: Response, retry_conflict: bool) -> ProviderError:
        status = response.status
        excerpt = f" ({self._excerpt(response.content)})" if response.content.strip() else ""
        where = f"{where}: status {status}{excerpt}"
        if status == 401:
            return ProviderError(f"{where}: the token is not accepted; it must be {self._wanted}", status=status)
        if status == 403:
            return ProviderError(f"{where}: the token may not do this; it must be {self._wanted}", status=status)
        if status == 404:
            return ProviderError(
                f"{where}: not found; check flag, environment and project, and that the token may see them",
                status=status,
            )
        if status == 409 and not retry_conflict:
            return Conflict(f"{where}: somebody changed the flag meanwhile; nothing was written", status=status)
        if status in (408, 409, 425, 429) or status >= 500:
            return ProviderError(
                f"{where}: the provider could not answer now",
                retry=True,
                status=status,
                retry_after=retry_after(response.headers.get("Retry-After")),
            )
        if 300 <= status < 400:
            return ProviderError(
                f"{where}: redirected to {self._hide(shown_url(response.headers.get('Location', '?')))}; put that address into url",
                status=status,
            )
        return ProviderError(f"{where}: the provider refuses this", status=status)

    def _hide(self, text: str) -> str:
        return without_secrets(text, self._secrets)

    def _excerpt(self, answer: bytes) -> str:
        text = " ".join(self._hide(answer[:2_000].decode(errors="replace")).split())
        return text if len(text) <= 200 else text[:199] + "…"


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
            return False
        return text.isprintable() and not parts.query and not parts.fragment
    except ValueError:  # a port that is no number, a bracket that is not closed
        return False


def each(units: Sequence[str], evaluate: Callable[[str], bool]) -> list[bool]:
    """`evaluate` of every unit, eight at a time: providers that evaluate one context a call take too long in a row."""
    with ThreadPoolExecutor(EVALUATED_AT_ONCE, thread_name_prefix="evaluate") as pool:
        return list(pool.map(evaluate, units))


def retry_after(value: str | None) -> float | None:
    """Seconds of a Retry-After header (a number or an HTTP date), at least 0; None when there is none to read."""
    if value is None:
        return None
    try:
        seconds = float(value)
        return max(0.0, seconds) if math.isfinite(seconds) else None
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(value)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)  # as the old form without a zone is
        return max(0.0, moment.timestamp() - time.time())
    except (TypeError, ValueError):
        return None
