"""The plan's events in a schema registry: one subject an event, and a new version only where its schema changed.

The contract is that of Confluent's Schema Registry (docs.confluent.io, "Schema Registry API Reference"), which Redpanda,
Karapace and Apicurio (below /apis/ccompat/v7) serve too: subjects, versions, compatibility. Light on import.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec

from gtm_dagster.taxonomy.json_schema import event_schemas
from gtm_dagster.taxonomy.plan import Plan

LEVELS = ("BACKWARD", "BACKWARD_TRANSITIVE", "FORWARD", "FORWARD_TRANSITIVE", "FULL", "FULL_TRANSITIVE", "NONE")
SUBJECT_PREFIX = "gtm."
_CONNECT_SECONDS, _ANSWER_SECONDS = 3.05, 20.0
_MEDIA_TYPE = "application/vnd.schemaregistry.v1+json"
_NO_SUBJECT, _NO_VERSION, _NO_SCHEMA = 40401, 40402, 40403
_SHOWN_REASONS = 3


class RegistryError(Exception):
    """The registry cannot be asked or refuses; the message says what and the way out."""


class Incompatible(msgspec.Struct, frozen=True):
    """A subject whose newest version does not allow the plan's schema, with the registry's own reasons."""

    subject: str
    reasons: tuple[str, ...]


class Published(msgspec.Struct, frozen=True):
    """What became of the subjects of a plan: registered now (name to version), and there already; when some are
    `incompatible`, nothing was registered. `left`: subjects of the prefix whose event the plan does not have.
    """

    registered: dict[str, int]
    unchanged: dict[str, int]
    incompatible: tuple[Incompatible, ...]
    left: tuple[str, ...]


class Registry:
    """The registry at `url`. `credentials`: `user:password` for Basic, anything without a colon as a bearer token."""

    def __init__(self, url: str, credentials: str | None = None) -> None:
        import requests

        try:
            parts = urlsplit(url)
            is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:  # a port that is no number, a bracket that is not closed
            is_address = False
        if not is_address or parts.query or parts.fragment:
            raise RegistryError(
                f"{_shown(url)!r} is not the address of a schema registry; give one like http://registry:8081"
            )
        if parts.username is not None or parts.password is not None:
            raise RegistryError(f"{_shown(url)!r}: an address is seen by others; put user:password into a variable")
        self._url = url.rstrip("/")
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.headers.update({"Accept": f"{_MEDIA_TYPE}, application/json", "Content-Type": _MEDIA_TYPE})
        if credentials:
            kind, secret = ("Basic", base64.b64encode(credentials.encode()).decode()) if ":" in credentials else ("Bearer", credentials)  # fmt: skip
            self._session.headers["Authorization"] = f"{kind} {secret}"

    def publish(
        self, plan: Plan, prefix: str = SUBJECT_PREFIX, level: str | None = None, *, dry_run: bool = False
    ) -> Published:
        """Register the schemas of `plan` that the registry does not have, all of them or, where one is incompatible, none.

        `level`: the compatibility that the plan's subjects get first; None leaves the registry's. `dry_run`: only ask, by the
        compatibility there is; a subject that would be registered then has version 0. Raises RegistryError.
        """
        schemas = {prefix + name: _text(schema) for name, schema in event_schemas(plan).items()}
        if level is not None and not dry_run:
            for subject in schemas:
                self._asked("PUT", f"/config/{quote(subject, safe='')}", {"compatibility": level})
        unchanged: dict[str, int] = {}
        due: dict[str, str] = {}
        for subject, text in schemas.items():
            version = self._version_of(subject, text)
            if version is None:
                due[subject] = text
            else:
                unchanged[subject] = version
        left = tuple(sorted(name for name in self._subjects() if name.startswith(prefix) and name not in schemas))
        refused: tuple[Incompatible, ...] = ()
        if level != "NONE":
            found = (Incompatible(subject, self._reasons_against(subject, text)) for subject, text in due.items())
            refused = tuple(one for one in found if one.reasons)
        if refused or dry_run:
            return Published({} if refused else dict.fromkeys(due, 0), unchanged, refused, left)
        registered = {}
        for subject, text in due.items():
            self._asked("POST", f"/subjects/{quote(subject, safe='')}/versions", _body(text))
            registered[subject] = self._version_of(subject, text) or 0
        return Published(registered, unchanged, (), left)

    def _subjects(self) -> list[str]:
        found = self._asked("GET", "/subjects")
        return [name for name in found if isinstance(name, str)] if isinstance(found, list) else []

    def _version_of(self, subject: str, text: str) -> int | None:
        """The version of a subject that has this schema, None where none has."""
        found = self._asked(
            "POST", f"/subjects/{quote(subject, safe='')}", _body(text), absent=(_NO_SUBJECT, _NO_SCHEMA)
        )
        if found is None:
            return None
        version = found.get("version") if isinstance(found, dict) else None
        if not isinstance(version, int):
            raise RegistryError(
                f"{_shown(self._url)}: the answer for {subject} names no version; is this a schema registry?"
            )
        return version

    def _reasons_against(self, subject: str, text: str) -> tuple[str, ...]:
        """Why the newest version of a subject does not allow a schema; none where it does, or the subject is new."""
        path = f"/compatibility/subjects/{quote(subject, safe='')}/versions/latest?verbose=true"
        found = self._asked("POST", path, _body(text), absent=(_NO_SUBJECT, _NO_VERSION))
        if found is None or (isinstance(found, dict) and found.get("is_compatible") is True):
            return ()
        messages = found.get("messages") if isinstance(found, dict) else None
        reasons = [str(each) for each in messages or ()]
        return tuple(reasons[:_SHOWN_REASONS]) or ("the registry gives no reason",)

    def _asked(self, method: str, path: str, body: Mapping[str, Any] | None = None, absent: Sequence[int] = ()) -> Any:
        """The answer; None for an error 404 of the codes `absent`."""
        import requests

        where = f"{_shown(self._url)}{path.partition('?')[0]}"
        try:
            response = self._session.request(
                method,
                self._url + path,
                data=None if body is None else msgspec.json.encode(body),
                timeout=(_CONNECT_SECONDS, _ANSWER_SECONDS),
                allow_redirects=False,
            )
        except requests.RequestException as error:
            raise RegistryError(
                f"{where}: no answer ({type(error).__name__}); is the registry running there?"
            ) from None
        try:
            document = msgspec.json.decode(response.content)
        except (msgspec.DecodeError, UnicodeDecodeError):
            document = None
        code, message = _error_in(document)
        if response.status_code == 404 and code in absent:
            return None
        if response.status_code == 200 and document is not None:
            return document
        raise RegistryError(f"{where}: status {response.status_code}{message}{_way_out(response.status_code)}")


def _error_in(document: Any) -> tuple[int | None, str]:
    """Code and message of an error of the registry."""
    if not isinstance(document, dict):
        return None, ""
    message = document.get("message")
    return document.get("error_code"), f" ({' '.join(message.split())[:300]})" if isinstance(message, str) else ""


def _way_out(status: int) -> str:
    if status in (401, 403):
        return "; name the variable with its credentials by --credentials-env"
    if status == 409:
        return "; somebody registered another schema meanwhile: publish again"
    return "; is this a schema registry?" if status in (200, 301, 302, 404, 405) else ""


def _body(text: str) -> dict[str, str]:
    return {"schemaType": "JSON", "schema": text}


def _text(schema: Mapping[str, Any]) -> str:
    """The same text for the same schema: a registry compares texts."""
    return msgspec.json.encode(schema, order="sorted").decode()


def _shown(url: str) -> str:
    """The address without what may be a secret in it."""
    head, at, tail = url.rpartition("@")
    return f"{head.partition('//')[0]}//...@{tail}" if at else url
