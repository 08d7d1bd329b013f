"""The lists that others publish and `scripts/renew-channel-lists` renews: their rows, and whose they are under which licence."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from typing import NamedTuple

GA4_SOURCES = "ga4_sources.csv"
"""Sources with their category as Google Analytics 4 has them: `source,category`."""
BOTS = "bots.tsv"
"""Programs by their user agent: name, pattern and kind, with tabs between."""
PUBLIC_LISTS = (GA4_SOURCES, BOTS)

_HEAD = re.compile(
    r"# From (?P<repository>\S+), (?P<path>\S+)\n# Commit (?P<commit>\w+) of (?P<day>\S+)\n# Licence (?P<licence>.+)\n"
    r"# Renewed (?P<renewed>\S+) by .+\n"
)


class PublicList(NamedTuple):
    """Where a list comes from. `day`: of the commit; `licence`: its name and holder; `renewed`: the day it was taken."""

    file: str
    repository: str
    path: str
    commit: str
    day: str
    licence: str
    renewed: str


@cache
def origin_of(file: str) -> PublicList:
    """The head of one of `PUBLIC_LISTS`. Raises ValueError for a file without one."""
    head = _HEAD.match(_text(file))
    if head is None:
        raise ValueError(f"{file} does not begin with its origin, commit, licence and day")
    return PublicList(file, **head.groupdict())


def rows_of(file: str) -> list[list[str]]:
    """The rows of one of `PUBLIC_LISTS` in their order, without its head and column names."""
    lines = _text(file)[len(_HEAD.match(_text(file)).group()) :].splitlines()  # type: ignore[union-attr]
    return [line.split("\t" if file.endswith(".tsv") else ",") for line in lines[1:]]


def _text(file: str) -> str:
    return (resources.files("gtm_dagster.channels") / file).read_text("utf-8")
