"""Which list knows the source of a touch, and under which licence it stands; for people who ask why."""

from __future__ import annotations

from typing import NamedTuple

from gtm_dagster.channels.classify import Touch
from gtm_dagster.channels.hosts import host_of
from gtm_dagster.channels.public_lists import GA4_SOURCES, origin_of
from gtm_dagster.channels.sources import RETURNS, KnownSource, known_page, known_source, listed, own_index, referrer_key

OWN_LICENCE = "Apache-2.0, this project"
_SETTINGS = "the page's own site, or own_hosts in gtm.toml"
_LABELS = "a label in front of the host (channels/sources.py)"


class DecidingList(NamedTuple):
    """`name`: a file of `gtm_dagster/channels`, or what else decided; `category`: that of the source, None when not listed."""

    name: str | None
    licence: str | None
    category: str | None


NO_LIST = DecidingList(None, None, None)
"""A source that no list knows: its channel follows from medium and campaign alone."""


def deciding_list(touch: Touch, referrer: str | None) -> DecidingList:
    """The list behind `touch`, which `classify` gave for an event with this referrer."""
    first = touch.rule.split(" + ")[-1] if touch.rule.startswith("utm campaign + ") else touch.rule
    if first == "own host":
        return DecidingList(_SETTINGS, None, None)
    if first.startswith("click id ") or " + click id " in first:
        known = known_source(touch.source)
        return DecidingList("click_ids.py", OWN_LICENCE, known.category if known else None)
    if first.startswith("utm "):
        return _of_name(touch.source)
    key = referrer_key(referrer)
    if key is None or touch.rule in ("no source", "utm campaign"):
        return NO_LIST
    host, slash, path = key.partition("/")
    return _of_page(host, slash + path)


def _of_name(name: str) -> DecidingList:
    known = known_source(name)
    if known is None:
        return NO_LIST
    host = host_of(name) if "." in name else None
    own = own_index()
    mine = own.names.get(name.strip().lower()) or (listed(own, host, "", False) if host else None)
    return _named(known, mine, host)


def _of_page(host: str, path: str) -> DecidingList:
    known = known_page(host, path)
    return NO_LIST if known is None else _named(known, listed(own_index(), host, path, True), host)


def _named(known: KnownSource, mine: KnownSource | None, host: str | None) -> DecidingList:
    if known != mine:
        return DecidingList(GA4_SOURCES, origin_of(GA4_SOURCES).licence, known.category)
    if known.name == host and known.category in (*RETURNS, "email"):
        return DecidingList(_LABELS, OWN_LICENCE, known.category)
    file = {"workspace": "workspaces.yaml"} | dict.fromkeys(RETURNS, "returns.yaml")
    return DecidingList(file.get(known.category, "sources.yaml"), OWN_LICENCE, known.category)
