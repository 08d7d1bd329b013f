"""The protocol of every provider, the flag's state it answers, and the errors it raises."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from gtm_dagster.settings import FlagProvider


@dataclass(frozen=True)
class FlagState:
    """A flag in one environment as its provider reports it.

    `enabled`: somebody may be served the new flow. `share`: the planned treated share of units (1.0: everybody), None
    where the flag is off or the provider reports no single number. `fingerprint` changes with anything that decides who
    is served what. `detail`: the deciding part, compact, for the audit record.
    """

    enabled: bool
    share: float | None
    fingerprint: str
    detail: str


class ProviderError(Exception):
    """A call failed. `retry`: the same call may work later (429, 5xx, timeout, no connection).

    `status` is the HTTP status, `retry_after` the seconds the provider asked to wait; None where there is none. A flag
    that is not there has the status 404 in a file too.
    """

    def __init__(
        self, message: str, *, retry: bool = False, status: int | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.retry = retry
        self.status = status
        self.retry_after = retry_after

    @property
    def absent(self) -> bool:
        """Whether the provider answers and has no such flag."""
        return self.status == 404


class Conflict(ProviderError):
    """Somebody changed the flag meanwhile; nothing was written."""


class FlagWriter(Protocol):
    """One provider. Units are targeting keys. Every method raises ProviderError."""

    @property
    def kind(self) -> str:
        """The provider's kind as in `[[providers]]`."""
        ...

    def preflight(self, flag: str, environment: str) -> list[str]:
        """What would keep a rollback from working, each with the way out; [] when nothing does. Writes nothing."""
        ...

    def read_back(self, flag: str, environment: str) -> FlagState:
        """The flag now, never from a cache."""
        ...

    def turn_off(self, flag: str, environment: str, *, comment: str, expected: FlagState | None) -> None:
        """Serve everybody the old flow; nothing happens when the flag is off already.

        With `expected`, raises Conflict instead of overwriting a flag that has changed since.
        """
        ...

    def evaluate(self, flag: str, environment: str, units: Sequence[str]) -> list[bool]:
        """Whether a client that asks now is served the new flow, for each unit."""
        ...


class Provider(Protocol):
    """What the file of a kind declares as `PROVIDER`: the class whose writers are of that kind."""

    kind: str

    def of(self, provider: FlagProvider, environ: Mapping[str, str]) -> FlagWriter:
        """The writer of a declared provider; calls nothing yet. ProviderError when its settings do not suffice."""
        ...


def fingerprint(deciding: Any) -> str:
    """16 hex digits of whatever decides who is served what."""
    text = json.dumps(deciding, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def compact(deciding: Any) -> str:
    """JSON of the deciding part, at most 2,000 characters."""
    text = json.dumps(deciding, sort_keys=True, separators=(",", ":"), default=str)
    return text if len(text) <= 2_000 else text[:1_999] + "…"


def nothing_to_do(state: FlagState, expected: FlagState | None, what: str) -> bool:
    """True when the flag is off already; raises Conflict when it is on and not as expected."""
    if not state.enabled:
        return True
    if expected is not None and state.fingerprint != expected.fingerprint:
        raise Conflict(
            f"{what}: somebody changed the flag ({expected.fingerprint} became {state.fingerprint}); left as it is. "
            "Look at its history in the provider, then turn it off there or re-arm the guard."
        )
    return False


def header_token(name: str, variable: str, environ: Mapping[str, str]) -> str:
    """The secret in `variable`, "" when it is not set; ProviderError when no HTTP header can carry it."""
    token = environ.get(variable, "").strip()
    if not token.isascii() or not token.isprintable():
        what = "a line break" if len(token.splitlines()) > 1 else "a character that is no printable ASCII"
        raise ProviderError(
            f"provider {name}: the variable {variable} has {what} in it, which no token has; set it to the token alone"
        )
    return token


def token_of(provider: FlagProvider, environ: Mapping[str, str]) -> str:
    """The secret that `token_env` names; raises ProviderError when there is none."""
    if provider.token_env is None:
        raise ProviderError(
            f'provider {provider.name}: kind {provider.kind} needs a token; set token_env = "NAME" under [[providers]] '
            "and the secret in that variable"
        )
    token = header_token(provider.name, provider.token_env, environ)
    if not token:
        raise ProviderError(
            f"provider {provider.name}: the variable {provider.token_env} is not set; it holds the provider's token "
            "(docs/providers.md says which)"
        )
    return token
