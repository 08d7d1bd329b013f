"""The short way of Segment's messages gives the event of the long way byte for byte, or leaves the message to it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gtm_dagster.collector.protocols import plain_message
from gtm_dagster.collector.protocols.analytics_message import Sent, event_of
from gtm_dagster.collector.protocols.batch_body import read_message
from gtm_dagster.collector.protocols.plain_message import plain_event
from gtm_dagster.taxonomy import load_plan

PLAN = load_plan()
NOW_US = 1_790_000_000_000_000
NOW = datetime.fromtimestamp(NOW_US / 1e6, UTC)
SENT = Sent(NOW_US, (NOW - timedelta(seconds=2)).isoformat(), "header-id")
LATE = Sent(NOW_US, (NOW - timedelta(hours=3)).isoformat())


def by_the_long_way(raw: bytes, kind: str | None, sent: Sent) -> bytes | None:
    """None for what is no message."""
    message = read_message(raw, 65_536)
    return None if message is None else msgspec.json.encode(event_of(message, kind, sent, PLAN))


TRACK = {
    "type": "track", "event": "Trial Started", "messageId": "m-1", "userId": 7, "timestamp": NOW.isoformat(),
    "properties": {"plan": "pro", "tags": ["a"]}, "integrations": {}, "_metadata": {"bundled": ["x"]},
}  # fmt: skip
CONTEXT = {
    "library": {"name": "analytics.js", "version": "2.1"}, "userAgent": "Mozilla/5.0", "locale": "de-DE", "timezone": "Europe/Berlin",
    "campaign": {"name": "spring", "source": "google"}, "page": {"url": "https://x.test/", "referrer": "$direct", "title": "Ü"},
    "location": {"country": "DE"}, "consent": {"categoryPreferences": {"C0002": True, "C0004": False}}, "sessionId": 12, "ip": "1.2.3.4",
}  # fmt: skip
PLAIN = [
    pytest.param(TRACK, id="a server's"),
    pytest.param(TRACK | {"context": CONTEXT}, id="a page's"),
    pytest.param(TRACK | {"context": {**CONTEXT, "traits": {"email": "ann@example.com"}}}, id="with traits in its context"),
    pytest.param(TRACK | {"context": CONTEXT, "channel": "mobile", "anonymousId": "a1"}, id="with a channel"),
    pytest.param(TRACK | {"context": CONTEXT, "sentAt": "2020-01-01T00:00:00Z"}, id="by a clock that is years behind"),
    pytest.param({**TRACK, "type": None, "context": {}}, id="whose path says the call"),
    pytest.param({"type": "page", "name": "Pricing", "properties": {"path": "/p", "url": "https://x.test/p", "referrer": "https://n.test/"}}, id="a view"),
    pytest.param({"type": "page", "context": CONTEXT, "properties": {"url": "https://other.test/"}}, id="a view that names its page twice"),
    pytest.param({"type": "track"}, id="of which nothing is known"),
    pytest.param(TRACK | {"event": 5, "messageId": 6, "timestamp": 7, "anonymousId": [], "context": 8, "properties": 9}, id="of odd types"),
]  # fmt: skip


@pytest.mark.parametrize("message", PLAIN)
@pytest.mark.parametrize("sent", [SENT, LATE, Sent(NOW_US)], ids=["clocks agree", "three hours behind", "nothing said"])
@pytest.mark.parametrize("is_ascii", [True, False], ids=["escapes", "UTF-8"])
def test_a_plain_message_goes_the_short_way_to_the_same_event(message: Any, sent: Sent, is_ascii: bool) -> None:
    raw = json.dumps(message, ensure_ascii=is_ascii).encode()
    assert plain_event(raw, "track", sent, PLAN) == by_the_long_way(raw, "track", sent)


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b'{"type":"identify","userId":"u"}', id="another call"),
        pytest.param(b'{"type":"track","unheardOf":1}', id="an unknown field"),
        pytest.param(b'{"type":"track","context":{"x":"\xff"},"context":{}}', id="a context twice, the first no text"),
        pytest.param(b'{"type":"track","\\u0063ontext":{"x":1e999},"context":{}}', id="twice, with an escape"),
        pytest.param(b'{"type":"track","context":{"x":"\xff"}}', id="a context that is no text"),
        pytest.param(b'{"type":"track","context":{"x":1e999}}', id="a context with a number beyond all"),
        pytest.param(b'{"type":"track","channel":["web"]}', id="a channel that is no text"),
        pytest.param(b'{"type":"page","properties":{"url":[1]}}', id="an address that is no text"),
        pytest.param(b'["track"]', id="no object"),
        pytest.param(b'{"type":"track"', id="no JSON"),
    ],
)
def test_what_is_not_plain_is_left_to_the_long_way(raw: bytes) -> None:
    assert plain_event(raw, None, SENT, PLAN) is None


_TEXT = st.text(max_size=9) | st.sampled_from(
    ["web", "server", "2026-09-21T10:00:00Z", "https://x.test/?a=1", "UTC", ""]
)
_VALUE = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _TEXT
_ANY = st.recursive(_VALUE, lambda each: st.lists(each, max_size=3) | st.dictionaries(_TEXT, each, max_size=3), max_leaves=6)  # fmt: skip
_NAMES = (
    "page",
    "campaign",
    "locale",
    "timezone",
    "userAgent",
    "location",
    "channel",
    "sessionId",
    "consent",
    "gpp",
    "traits",
)
_PART = st.dictionaries(st.sampled_from(["url", "referrer", "name", "source", "country", "categoryPreferences"]), _ANY, max_size=3)  # fmt: skip
_CONTEXT = st.dictionaries(st.sampled_from(_NAMES), _PART | _ANY, max_size=6) | _ANY
_MESSAGE = st.fixed_dictionaries(
    {"type": st.sampled_from(["track", "page", "screen", None])},
    optional={
        **dict.fromkeys(("event", "messageId", "timestamp", "originalTimestamp", "sentAt", "userId", "anonymousId"), _ANY),
        "channel": _ANY, "name": _ANY, "properties": _PART | _ANY, "context": _CONTEXT, "integrations": _ANY, "traits": _ANY,
    },
)  # fmt: skip


@given(_MESSAGE, st.booleans(), st.sampled_from(["track", "page", None]), st.sampled_from([SENT, LATE]), st.data())
def test_whatever_a_message_holds_both_ways_agree(
    message: dict[str, Any], is_ascii: bool, kind: str | None, sent: Sent, data: st.DataObject
) -> None:
    raw = json.dumps(message, ensure_ascii=is_ascii).encode(errors="surrogatepass")
    if data.draw(st.booleans()):
        at = data.draw(st.integers(0, len(raw)))
        raw = raw[:at] + data.draw(st.binary(max_size=2)) + raw[at:]
    for _ in range(2):  # the second time by memory
        short = plain_event(raw, kind, sent, PLAN)
        assert short is None or short == by_the_long_way(raw, kind, sent)


def test_contexts_are_remembered_by_their_bytes_unless_they_describe_a_person_or_are_long() -> None:
    def remembered(context: dict[str, Any]) -> int:
        plain_message._known_context.cache_clear()
        raw = json.dumps(TRACK | {"context": context}).encode()
        assert plain_event(raw, None, SENT, PLAN) == by_the_long_way(raw, None, SENT)
        return plain_message._known_context.cache_info().currsize

    assert remembered(CONTEXT) == 1
    assert remembered({**CONTEXT, "traits": {"email": "ann@example.com"}}) == 0
    assert remembered({**CONTEXT, "userAgent": "x" * 3000}) == 0


def test_screens_keep_the_order_of_their_context() -> None:
    context = {"consent": {"categoryPreferences": {"analytics": True}}, "locale": "de"}
    found = event_of({"type": "screen", "context": context}, None, SENT, PLAN)["context"]
    assert list(found.items()) == [("locale", "de"), ("device_type", "mobile"), ("consent", {"analytics": True})]
