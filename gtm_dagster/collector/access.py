"""Who may do what: keys and their roles, and what is open to this machine alone.

The key `dev` and the pages that need no key are for programs on the collector's own machine. A request that came through
a proxy, or from a page of another site, is not from there, although its connection is.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from gtm_dagster.collector.headers import Scope, header, query_value
from gtm_dagster.collector.keys import ALERTING, DEV_KEY, KeyStore, WriteKey
from gtm_dagster.collector.response import Refused

KEY_NAME = "gtm.write_key"
"""Where a scope has the name of the good key that its request came with."""
LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^:\[\]\s/@]+)(?::\d{0,5})?\Z")
_FORWARDED = frozenset({
    b"forwarded", b"forwarded-for", b"via", b"x-forwarded", b"x-real-ip", b"x-client-ip", b"client-ip", b"true-client-ip",
    b"x-cluster-client-ip", b"x-remote-ip", b"x-remote-addr", b"x-original-host", b"x-original-forwarded-for", b"x-proxyuser-ip",
    b"x-envoy-external-address", b"x-envoy-original-path", b"x-appengine-user-ip", b"x-azure-clientip", b"x-azure-socketip",
    b"x-arr-ssl", b"x-amzn-trace-id", b"x-amz-cf-id", b"x-vercel-forwarded-for", b"x-nf-client-connection-ip",
    b"cf-connecting-ip", b"cf-connecting-ipv6", b"cf-ray", b"cf-visitor", b"cdn-loop", b"fastly-client-ip", b"fly-client-ip",
    b"do-connecting-ip", b"x-cloud-trace-context",
})  # fmt: skip
_FORWARDED_PREFIX = b"x-forwarded-"


class Access:
    """The keys of one collector. `hosts`: names, besides those of loopback, by which requests for it may call it.

    `client_ids`: what clients send instead of a key, each with the name of the client key that it stands for.
    """

    def __init__(self, keys: KeyStore, hosts: Sequence[str] = (), client_ids: Mapping[str, str] | None = None) -> None:
        self._keys = keys
        self._client_ids = client_ids or {}
        self._hosts = LOCAL_HOSTS | {host.lower() for host in hosts}

    def sender(self, scope: Scope, in_body: str | None = None) -> WriteKey:
        """The sender's write key. Raises Refused 401 without a key that is good here, 403 for a page of another site and
        for a key that sends nothing.

        `in_body`: the key that the body names, for a request that names none elsewhere.
        """
        key = self._key(scope, in_body)
        if key.role == ALERTING:
            raise Refused(
                403,
                "alerting_key",
                f"{key.name!r} is an alerting key, which asks for rollbacks and sends nothing; send a write key",
            )
        return key

    def names_key(self, scope: Scope) -> bool:
        """Whether the headers or the address of a request name a key, a good one or not."""
        return bool(_secret(scope) or _secret_in_address(scope))

    def alerting(self, scope: Scope) -> WriteKey:
        """The key of a system that may ask for rollbacks. Raises Refused 401 without a key that is good here, 403 for a
        write key: whoever may send events, may not turn flags off.
        """
        key = self._key(scope)
        if key.role != ALERTING:
            raise Refused(
                403,
                "not_alerting",
                f"{key.name!r} is a {key.role} key; this takes one of `gtm keys add NAME --role alerting`",
            )
        return key

    def server(self, scope: Scope) -> WriteKey:
        """The sender's server key. Raises Refused as `sender`, and 403 for a client key."""
        key = self.sender(scope)
        if key.role != "server":
            raise Refused(403, "client_key", f"{key.name!r} is a client key, which is public; this takes a server key")
        return key

    def reader(self, scope: Scope, *, by_server: bool) -> None:
        """Raises Refused unless the request may see a page: from this machine, or with a key.

        `by_server`: a client key is not enough.
        """
        if self._keys.allow_dev and not _secret(scope):
            self._own_machine(scope, "this page needs a write key")
        elif by_server:
            self.server(scope)
        else:
            self.sender(scope)

    def _key(self, scope: Scope, in_body: str | None = None) -> WriteKey:
        given = _secret(scope)
        in_address = None if given else _secret_in_address(scope)
        if in_body and scope["method"] == "GET":
            in_address = in_address or in_body  # its body is its query
        secret = given or in_address or in_body
        if not secret:
            raise Refused(401, "no_key", "send a key as X-Write-Key, as a Bearer token or as the Basic user")
        key = self._keys.find(secret) or self._client(secret)
        if key is None:
            raise Refused(401, "bad_key", "this key is not valid here; `gtm keys list` shows those that are")
        scope[KEY_NAME] = key.name
        if in_address and key.role != "client" and key.name != DEV_KEY:
            raise Refused(
                403,
                "key_in_address",
                f"{key.name!r} is a {key.role} key; in an address logs keep it: send it as X-Write-Key",
            )
        if key.name == DEV_KEY:
            self._own_machine(scope, "the key `dev` opens nothing")
        return key

    def _client(self, client_id: str) -> WriteKey | None:
        """The key that an id stands for. Raises Refused 403 where that is no client key: whoever reads a page has the id."""
        name = self._client_ids.get(client_id)
        if name is None:
            return None
        key = self._keys.find(DEV_KEY) if name == DEV_KEY else self._keys.named(name)
        if key is not None and key.role != "client" and key.name != DEV_KEY:
            raise Refused(
                403,
                "not_a_client_key",
                f"collector.client_ids names {name!r}, a {key.role} key; what clients show to everybody needs a client key",
            )
        return key

    def _own_machine(self, scope: Scope, refusal: str) -> None:
        """Raises Refused when the headers show that the request is not from a program on this machine."""
        forwarded = forwarding_header(scope)
        if forwarded is not None:
            message = f"{refusal} for a forwarded request ({forwarded.decode()}); make a key with `gtm keys add`"
            raise Refused(401, "forwarded", message)
        for name, value in scope["headers"]:
            if name == b"host" and not self._is_own(value.decode("latin-1")):
                raise Refused(
                    403, "foreign_host", f"{refusal} for this Host; use 127.0.0.1, or name it in collector.hosts"
                )
            if name == b"origin" and not self._is_own_origin(value.decode("latin-1")):
                raise Refused(
                    403, "foreign_origin", f"{refusal} for a page of another site; make a key with `gtm keys add`"
                )
            if name == b"sec-fetch-site" and value.strip().lower() == b"cross-site":
                raise Refused(
                    403, "foreign_origin", f"{refusal} for a page of another site; make a key with `gtm keys add`"
                )

    def _is_own(self, host: str) -> bool:
        match = _HOST.match(host.strip().lower())
        return match is not None and match[1] in self._hosts

    def _is_own_origin(self, origin: str) -> bool:
        try:
            parts = urlsplit(origin.strip())
        except ValueError:
            return False
        return parts.scheme in ("http", "https") and self._is_own(parts.netloc)


def forwarding_header(scope: Scope) -> bytes | None:
    """The header by which a proxy says that it passed the request on; None for a request that came by itself."""
    return next(
        (name for name, _ in scope["headers"] if name in _FORWARDED or name.startswith(_FORWARDED_PREFIX)), None
    )


def _secret_in_address(scope: Scope) -> str | None:
    """A key as `writeKey` in the query: a beacon sends no headers of its own."""
    return query_value(scope, "writeKey")


def _secret(scope: Scope) -> str | None:
    write_key = header(scope, b"x-write-key")
    if write_key is not None:
        return write_key.decode("latin-1").strip()
    scheme, _, credentials = (header(scope, b"authorization") or b"").strip().partition(b" ")
    if scheme.lower() == b"bearer":
        return credentials.decode("latin-1").strip()
    if scheme.lower() == b"basic":
        try:
            return base64.b64decode(credentials.strip(), validate=True).partition(b":")[0].decode()
        except (binascii.Error, UnicodeDecodeError):
            return None
    return None
