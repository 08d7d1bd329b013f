"""bot_reason: whether a user agent is that of a program, and which. Light on import: the collector calls it.

The list is `bots.tsv` (others publish it). An agent is looked up once: nearly all patterns are plain texts, found by their
first four characters, so that a new agent costs some twenty microseconds and not one search for each of 1,500 patterns.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import NamedTuple

from gtm_dagster.channels.public_lists import BOTS, rows_of

PERSON = ""
"""What `bot_reason` says of an agent that is no program's."""
_LIBRARY = "http-library"
_LONGEST = 512
"""Characters of an agent that are looked at; browsers send some 150, crawlers name themselves within 300."""
_KEY = 4
_IN_APP = re.compile(
    r"FBAN/|FBAV/|FB_IAB/|Instagram |Barcelona |Snapchat/|\[Pinterest/|musical_ly|BytedanceWebview|TikTok |LinkedInApp|Twitter for |"
    r"Line/|KAKAOTALK|NAVER\(inapp|MicroMessenger/|WhatsApp/|Flipboard/|DuckDuckGo/|Ddg/|GSA/|YaApp|Viber/|Discord/|Slack/|"
    r"SogouM|DaumApps/|coc_coc_browser|Hatena|Notion/"
)
"""Browsers inside apps, in which people read: an agent that begins as a browser's and has one of these names is a person's."""
_OPENLY = re.compile(r"bot\b|crawl|spider|externalhit|preview|compatible;|https?://", re.IGNORECASE)
"""What says in an agent with such a name that it is a program all the same."""
_SIGNS = re.compile(r"[\\^$.|?*+()\[\]{}]")
_ESCAPED = re.compile(r"\\([^A-Za-z0-9])")


class _Bot(NamedTuple):
    place: int
    name: str
    is_library: bool


class _Bots(NamedTuple):
    """Plain texts by their beginning, each with its bot; the other patterns."""

    texts: dict[str, list[tuple[str, _Bot]]]
    short: list[tuple[str, _Bot]]
    shapes: list[tuple[re.Pattern[str], _Bot]]


@cache
def _bots() -> _Bots:
    bots = _Bots({}, [], [])
    for place, (name, pattern, kind) in enumerate(rows_of(BOTS)):
        bot = _Bot(place, name, kind == _LIBRARY)
        text = _plain(pattern)
        if text is None:
            bots.shapes.append((re.compile(pattern), bot))
        elif len(text) < _KEY:
            bots.short.append((text, bot))
        else:
            bots.texts.setdefault(text[:_KEY], []).append((text, bot))
    return bots


def _plain(pattern: str) -> str | None:
    """The text that a pattern without any sign finds."""
    if _SIGNS.search(_ESCAPED.sub("", pattern)):
        return None
    return _ESCAPED.sub(r"\1", pattern)


def bot_reason(agent: object, *, of_request: bool = False) -> str | None:
    """The name of the program whose user agent this is; `PERSON` for any other agent, None where there is none.

    `of_request`: the agent is that of the HTTP request and not of the event, so that a library (okhttp, axios) is no bot:
    apps of people send by them.
    """
    if not isinstance(agent, str) or not (agent := agent[:_LONGEST].strip()):
        return None
    return _reason(agent, of_request)


@lru_cache(maxsize=16_384)
def _reason(agent: str, of_request: bool) -> str:
    if agent.startswith("Mozilla/") and _IN_APP.search(agent) and not _OPENLY.search(agent):
        return PERSON
    found = _found(agent)
    if of_request:
        found = [bot for bot in found if not bot.is_library]
    return min(found).name if found else PERSON


def _found(agent: str) -> list[_Bot]:
    """Every bot whose pattern is found; the first of the list names an agent that several find."""
    bots = _bots()
    found = [bot for text, bot in bots.short if text in agent]
    found += [bot for shape, bot in bots.shapes if shape.search(agent)]
    texts = bots.texts
    for place in range(len(agent) - _KEY + 1):
        for text, bot in texts.get(agent[place : place + _KEY], ()):
            if agent.startswith(text, place):
                found.append(bot)
    return found
