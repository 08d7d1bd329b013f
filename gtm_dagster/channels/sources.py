"""The canonical name and category of a source name, a referring host or a referring page, from the lists beside this file.

`sources.yaml`: what brings visits. `returns.yaml`: sign-in and payment pages, which only send people back.
`workspaces.yaml`: pages of large brands on which people work, which are no search, shop or network.
`ga4_sources.csv`: what Google Analytics 4 knows besides; our own lists win where both name a source.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from importlib import resources
from typing import NamedTuple

from gtm_dagster.channels.hosts import host_of, split_url
from gtm_dagster.channels.public_lists import GA4_SOURCES, rows_of
from gtm_dagster.channels.sites import site_of, under_any_suffix

__all__ = ["KnownSource", "host_of", "known_host", "known_page", "known_source", "referrer_key"]

RETURNS = ("identity", "payment")
"""Categories of pages that send people back to where they came from."""
LISTS = ("sources.yaml", "returns.yaml", "workspaces.yaml")


class KnownSource(NamedTuple):
    """A listed source. `category`: search, social, video, shopping, email, assistant, display, paid_search, identity,
    payment or workspace."""

    name: str
    category: str


class _Page(NamedTuple):
    """Pages of a host by the beginning of their path. `path` stands for them all: `/*/oauth`."""

    path: str
    shape: re.Pattern[str]
    known: KnownSource


class _Index(NamedTuple):
    """`hosts`: a host with everything below it; `below`: only what lies below it; `pages`: some of its paths."""

    names: dict[str, KnownSource]
    hosts: dict[str, KnownSource]
    below: dict[str, KnownSource]
    pages: dict[str, list[_Page]]


@cache
def _index() -> _Index:
    """Our own lists, and of Google's what they do not decide."""
    index = own_index()
    public = {source: category for source, category in rows_of(GA4_SOURCES)}  # noqa: C416
    hosts = [
        (host, category) for host, category in public.items() if "." in host and not _is_decided(index, host, category)
    ]
    for host, category in hosts:
        star = under_any_suffix(host)
        word = star.removesuffix(".*") if star else ""
        index.hosts[host] = KnownSource(word if public.get(word) == category else host, category)
    for word, category in public.items():
        if "." not in word:
            index.names.setdefault(word, KnownSource(word, category))
    return index


def _is_decided(own: _Index, host: str, category: str) -> bool:
    """Whether our own lists name this very host, or put it in the same category by a host above it."""
    if any(spelling in own.hosts for spelling in _spellings(host)):
        return True
    known = listed(own, host, "", True)
    return known is not None and known.category == category


def own_index() -> _Index:
    """Our own lists alone, read anew."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the one in C takes a sixth of the time
    index = _Index({}, {}, {}, {})
    for file in LISTS:
        text = (resources.files("gtm_dagster.channels") / file).read_text("utf-8")
        for category, sources in yaml.load(text, loader).items():  # noqa: S506 - a safe one
            named = sources.items() if isinstance(sources, dict) else [(None, sources)]
            for name, places in named:
                if name is not None and category not in RETURNS:
                    index.names.setdefault(str(name), KnownSource(str(name), category))
                for place in places:
                    _add(index, str(name) if name is not None else None, category, place)
    return index


def _add(index: _Index, name: str | None, category: str, place: str) -> None:
    """One entry: a spelling, `host`, `host.*`, `*.host`, or `host/path`. Without a name each page is called by its own host."""
    host, slash, path = place.partition("/")
    known = KnownSource(name or "", category)
    if slash:
        shape = "/".join("[^/]+" if part == "*" else re.escape(part) for part in path.split("/"))
        index.pages.setdefault(host, []).append(_Page(f"/{path}", re.compile(rf"/{shape}(?![\w-])", re.I), known))
    elif host.startswith("*."):
        index.below[host[2:]] = known
    elif "." in host:
        index.hosts[host] = known
    else:
        index.names.setdefault(host, known)


@lru_cache(maxsize=65_536)
def known_source(name: str) -> KnownSource | None:
    """The source of a canonical name (`google`), another spelling of it or a host (`www.google.fr`); case is ignored.

    Who names a sign-in or payment page as the source means the company, so that those pages do not count here.
    """
    name = name.strip().lower()
    known = _index().names.get(name)
    if known or "." not in name:
        return known
    host = host_of(name)
    return listed(_index(), host, "", False) if host else None


def known_host(host: str) -> KnownSource | None:
    """The source of a host: by its longest listed suffix, by a label such as `login` or `webmail` in front of it."""
    return known_page(host, "")


@lru_cache(maxsize=65_536)
def known_page(host: str, path: str) -> KnownSource | None:
    """The source of a page: a listed path decides before its host, then as `known_host`."""
    return listed(_index(), host, path, True)


def listed(index: _Index, host: str, path: str, returns: bool) -> KnownSource | None:
    """The source of a page by the lists of `index`; `returns`: whether pages count that only send people back."""
    labels = host.split(".")
    own = len(labels) - len(site_of(host).split("."))  # labels in front of the registrable domain
    for start in range(len(labels)):
        front = labels[: min(start, own)]
        for suffix in _spellings(".".join(labels[start:])):
            page = next((page for page in index.pages.get(suffix, ()) if page.shape.match(path)), None)
            if page:
                return page.known if page.known.name else KnownSource(f"{host}{page.path}", page.known.category)
            below = index.below.get(suffix) if start else None
            listed = index.hosts.get(suffix)
            for known in (below, listed):
                if known and (returns or known.category not in RETURNS):
                    label = _by_label(host, front, webmail=known is below) if returns else None
                    return label or (known if known.name else KnownSource(host, known.category))
    return _by_label(host, labels[:own], webmail=True) if returns else _webmail(host, labels[:own])


@lru_cache(maxsize=65_536)
def _spellings(suffix: str) -> tuple[str, ...]:
    any_suffix = under_any_suffix(suffix)
    return (suffix, any_suffix) if any_suffix else (suffix,)


_SIGN_IN = re.compile(
    r"(?:log-?[io]n|sign-?in|sign-?on|sso|idp|o?auth2?|accounts?|passport|adfs|saml2?|openid)\d*(?:-[a-z0-9-]+)?\Z"
)
_PAYMENT = re.compile(
    r"(?:pay|e?payments?|epay|checkout|securepay(?:ments?)?|hpp|3ds\d?|3d-?secure|(?:e|e-|online-?|net|internet|mobile)?banking)"
    r"\d*(?:-[a-z0-9-]+)?\Z"
)
_WEBMAIL = re.compile(r"(?:e-?|web-?|light|my)?mail(?:er|box|business)?\d*(?:-[a-z0-9]+)?\Z")


def _by_label(host: str, front: list[str], webmail: bool) -> KnownSource | None:
    """What the labels in front of a domain say of a host that is not listed itself."""
    if any(_SIGN_IN.match(label) for label in front):
        return KnownSource(host, "identity")
    if any(_PAYMENT.match(label) for label in front):
        return KnownSource(host, "payment")
    return _webmail(host, front) if webmail else None


def _webmail(host: str, front: list[str]) -> KnownSource | None:
    return KnownSource(host, "email") if any(_WEBMAIL.match(label) for label in front) else None


def referrer_key(referrer: str | None) -> str | None:
    """The little of a referrer that decides: its host, and behind it the listed path where one decides. None: no URL."""
    parts = split_url(referrer)
    if parts is None:
        return None
    host, path = parts
    return f"{host}{_listed_path(host, path)}"


def path_matters(host: str) -> bool:
    """Whether some paths of the host are listed, so that its referrers cannot be reduced to the host alone."""
    return bool(_pages_of(host))


def _listed_path(host: str, path: str) -> str:
    return next((page.path for page in _pages_of(host) if page.shape.match(path)), "")


@lru_cache(maxsize=65_536)
def _pages_of(host: str) -> tuple[_Page, ...]:
    """The listed pages of the host and of what it lies below, in the order in which `known_page` tries them."""
    pages = _index().pages
    labels = host.split(".")
    suffixes = (suffix for start in range(len(labels)) for suffix in _spellings(".".join(labels[start:])))
    return tuple(page for suffix in suffixes for page in pages.get(suffix, ()))
