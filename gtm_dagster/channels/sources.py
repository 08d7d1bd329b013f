"""The canonical name and category of a source name or a referring host, from `sources.yaml`."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from typing import NamedTuple
from urllib.parse import urlsplit

import yaml


class KnownSource(NamedTuple):
    """A listed source. `category`: search, social, video, shopping, email, assistant, display, paid_search or payment."""

    name: str
    category: str


class _Index(NamedTuple):
    names: dict[str, KnownSource]
    hosts: dict[str, KnownSource]
    any_suffix: dict[str, KnownSource]


@cache
def _index() -> _Index:
    text = (resources.files("gtm_dagster.channels") / "sources.yaml").read_text("utf-8")
    index = _Index({}, {}, {})
    for category, sources in yaml.safe_load(text).items():
        for name, hosts in sources.items():
            known = KnownSource(str(name), category)
            index.names.setdefault(str(name), known)
            for host in hosts:
                if host.endswith(".*"):
                    index.any_suffix[host[:-2]] = known
                elif "." in host:
                    index.hosts[host] = known
                else:
                    index.names.setdefault(host, known)
    return index


def known_source(name: str) -> KnownSource | None:
    """The source of a canonical name (`google`), another spelling of it or a host (`www.google.fr`); case is ignored."""
    name = name.strip().lower()
    return _index().names.get(name) or (known_host(name) if "." in name else None)


def known_host(host: str) -> KnownSource | None:
    """The source of a host: its longest listed suffix, else `google.*` under any ending, else webmail by a label."""
    index = _index()
    labels = host.split(".")
    for start in range(len(labels) - 1):
        known = index.hosts.get(".".join(labels[start:]))
        if known:
            return known
    for start in range(len(labels) - 1):
        for tail in (1, 2):
            end = len(labels) - tail
            if end > start and (tail == 1 or len(labels[end]) <= 3):  # co.uk, com.br, but not google.example.com
                known = index.any_suffix.get(".".join(labels[start:end]))
                if known:
                    return known
    if any(_WEBMAIL.match(label) for label in labels[:-2]):
        return KnownSource(host, "email")
    return None


_WEBMAIL = re.compile(r"(?:e-?|web-?|light|my)?mail(?:er|box|business)?\d*(?:-[a-z0-9]+)?\Z")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)


def host_of(url: str | None) -> str | None:
    """The host of a URL (scheme optional), in lower case and without a leading `www.`; None when it has none."""
    if not url or not (url := url.strip()):
        return None
    try:
        host = urlsplit(url if _SCHEME.match(url) else f"//{url}").hostname
    except ValueError:
        return None
    if not host or not (_SCHEME.match(url) or "." in host):  # about:blank
        return None
    host = host.rstrip(".").removeprefix("www.")
    return host if re.fullmatch(r"[^\s/\\]+", host) else None


def same_site(one: str, other: str) -> bool:
    """Whether two hosts are one site: equal, or one below the other."""
    return one == other or one.endswith(f".{other}") or other.endswith(f".{one}")
