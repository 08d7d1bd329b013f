"""Odd events with the verdict that every door gives them: what senders and files really contain.

A case changes one page view. Dotted names reach into properties and context; `ABSENT` takes a field away. `lands` names
columns of the record; an id lands as its pseudonym, so `lands` says which text it is the pseudonym of.
"""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, field
from typing import Any

ABSENT = object()
BASE: dict[str, Any] = {
    "event_id": "",
    "event_name": "page_viewed",
    "timestamp": "2026-03-02T10:00:00Z",
    "anonymous_id": "device-1",
    "properties": {},
    "context": {},
}
TEN = 1_772_445_600_000_000
"""2026-03-02T10:00:00Z in microseconds."""


@dataclass(frozen=True)
class OddEvent:
    """One case. `reasons`: every code in the verdict, none of an accepted event."""

    case: str
    changes: dict[str, Any]
    reasons: tuple[str, ...] = ()
    lands: dict[str, Any] = field(default_factory=dict)

    @property
    def event(self) -> dict[str, Any]:
        """The event as a client sends it; its id is the name of the case."""
        event = copy.deepcopy(BASE) | {"event_id": self.case}
        for name, value in self.changes.items():
            *parents, last = name.split(".", 1)
            part = event[parents[0]] if parents else event
            if value is ABSENT:
                part.pop(last, None)
            else:
                part[last] = value
        return event


_NOTHING = (
    "", " ", "\t", "undefined", "UNDEFINED", "null", "NULL", " null ", "None", "none", "nil", "NaN", "nan", "\\N", "n/a", "N/A", "-",
    "(null)", "<null>", "<nil>", "<NA>", "#N/A", "[object Object]", "[object object]", "[object Undefined]", "'null'", '"undefined"',
    "00000000-0000-0000-0000-000000000000", "00000000000000000000000000000000", "{00000000-0000-0000-0000-000000000000}",
)  # fmt: skip
"""What programs write for no value."""
_SOMEBODY = (
    "0", "1", "42", "nullable", "undefined-7", "none of the above", "null@", "nan-2", "anonymous", "true", "ünïcode", "用户", "a:b", "x" * 256,
    "00000000-0000-0000-0000-000000000001", "user null", "N", "na", "--x",
)  # fmt: skip
_NO_PLACE = ("undefined", "null", "None", "(not set)", "-", " ", "NaN", "[object Object]")


def _ids() -> list[OddEvent]:
    cases = [
        OddEvent(f"user-{n}", {"user_id": word}, lands={"user_id": None, "anonymous_id": "device-1"})
        for n, word in enumerate(_NOTHING)
    ]
    cases += [
        OddEvent(f"nobody-{n}", {"anonymous_id": word}, ("placeholder_id" if word.strip() else "missing_identity",))
        for n, word in enumerate(_NOTHING)
    ]
    cases += [
        OddEvent(f"session-{n}", {"session_id": word}, lands={"session_id": None})
        for n, word in enumerate(_NOTHING[:8])
    ]
    cases += [OddEvent(f"somebody-{n}", {"user_id": word}, lands={"user_id": word}) for n, word in enumerate(_SOMEBODY)]
    cases += [
        OddEvent("no-id", {"anonymous_id": ABSENT}, ("missing_identity",)),
        OddEvent("two-placeholders", {"anonymous_id": "null", "user_id": "undefined"}, ("placeholder_id",)),
        OddEvent("long-user", {"user_id": "x" * 257}, ("too_long",)),
        OddEvent("long-anonymous", {"anonymous_id": "x" * 257}, ("too_long",)),
        OddEvent("long-session", {"session_id": "x" * 257}, ("too_long",)),
        OddEvent("x" * 129, {}, ("too_long",)),
        OddEvent("a@example.org", {}, ("personal_data",)),
    ]
    return cases


def _names() -> list[OddEvent]:
    return [
        OddEvent("alias", {"event_name": "page_view"}, lands={"event_name": "page_viewed"}),
        OddEvent("alias-with-blank", {"event_name": "Signed Up"}, lands={"event_name": "signup_completed"}),
        OddEvent("empty-name", {"event_name": ""}, ("missing_field",)),
        OddEvent(
            "empty-locale",
            {"context.locale": "", "context.country": "", "context.timezone": ""},
            lands={"locale": None, "country": None, "timezone": None},
        ),
        OddEvent("unknown-name", {"event_name": "Order Completed"}, ("unknown_event",)),
        OddEvent("other-case", {"event_name": "Page_Viewed"}, ("unknown_event",)),
        OddEvent("name-of-blanks", {"event_name": "  "}, ("unknown_event",)),
        OddEvent("name-with-newline", {"event_name": "page_viewed\n"}, ("unknown_event",)),
    ]


def _times() -> list[OddEvent]:
    same = (
        "2026-03-02T10:00:00Z", "2026-03-02t10:00:00z", "2026-03-02 10:00:00Z", "2026-03-02T10:00:00.000Z", "2026-03-02T10:00:00.0000000Z",
        "2026-03-02T10:00:00+00:00", "2026-03-02T10:00:00+0000", "2026-03-02T10:00:00+00", "2026-03-02 10:00:00+00", "2026-03-02T11:00:00+01:00",
        "2026-03-02T05:00:00-05:00", "2026-03-02 15:30:00+05:30", "2026-03-02 15:30:00+0530", "2026-03-02 10:00:00 UTC", "2026-03-02 10:00:00.000 UTC",
        "2026-03-02T10:00Z", "2026-03-02 10:00+00", "2026-03-02T10:00:00-00:00",
    )  # fmt: skip
    cut = (
        ("2026-03-02T10:00:00.9999999Z", 999_999), ("2026-03-02T10:00:00.123456789Z", 123_456), ("2026-03-02 10:00:00.5+00", 500_000),
        ("2026-03-02T10:00:00.000001Z", 1), ("2026-03-02 10:00:00.745 UTC", 745_000), ("2026-03-02T10:00:00.0000009+00:00", 0),
    )  # fmt: skip
    bad = (
        "not a time", "now", "today", "2026", "2026-03", "2026-13-01T10:00:00Z", "2026-02-30T10:00:00Z", "2026-03-02T24:00:00Z",
        "2026-03-02T10:61:00Z", "2026-03-02T10:00:00+25:00", "1772445600", "1772445600000", "02.03.2026 10:00", "2026-W10-1T10:00:00Z", "Mon, 02 Mar 2026 10:00:00 GMT",
    )  # fmt: skip
    without = ("2026-03-02T10:00:00", "2026-03-02 10:00:00", "2026-03-02 10:00:00.745", "2026-03-02T10:00:00.1234567")
    cases = [OddEvent(f"time-{n}", {"timestamp": text}, lands={"event_us": TEN}) for n, text in enumerate(same)]
    cases += [
        OddEvent(f"fraction-{n}", {"timestamp": text}, lands={"event_us": TEN + us}) for n, (text, us) in enumerate(cut)
    ]
    cases += [OddEvent(f"no-time-{n}", {"timestamp": text}, ("bad_timestamp",)) for n, text in enumerate(bad)]
    cases += [
        OddEvent(f"no-offset-{n}", {"timestamp": text}, ("timestamp_without_offset",)) for n, text in enumerate(without)
    ]
    cases += [
        OddEvent("empty-time", {"timestamp": ""}, ("missing_field",)),
        OddEvent("blank-time", {"timestamp": " "}, ("bad_timestamp",)),
        OddEvent("year-1989", {"timestamp": "1989-12-31T23:59:59Z"}, ("timestamp_out_of_range",)),
        OddEvent("year-2101", {"timestamp": "2101-01-01T00:00:00Z"}, ("timestamp_out_of_range",)),
        OddEvent("year-2062", {"timestamp": "2062-11-27T09:30:00Z"}, ("future_timestamp",)),
    ]
    return cases


def _places() -> list[OddEvent]:
    cases = [
        OddEvent(f"{field}-{n}", {f"context.{field}": word}, lands={field: None, "device_type": "web"})
        for field in ("source", "medium", "campaign")
        for n, word in enumerate(_NO_PLACE)
    ]
    cases += [
        OddEvent("encoded", {"context.source": "spring%20sale", "context.medium": "e%2Dmail", "context.campaign": "a+b"},
                 lands={"source": "spring sale", "medium": "e-mail", "campaign": "a b"}),
        OddEvent("plus-alone", {"context.campaign": "c++"}, lands={"campaign": "c++"}),
        OddEvent("percent-alone", {"context.campaign": "50% off"}, lands={"campaign": "50% off"}),
        OddEvent("mail-in-source", {"context.source": "ann@example.org"}, lands={"source": "[mail]"}),
        OddEvent("long-source", {"context.source": "x" * 513}, ("too_long",)),
        OddEvent("long-page", {"context.page_url": "https://a.example/" + "x" * 8192}, ("too_long",)),
        OddEvent("server-event", {"event_name": "payment_completed", "properties.amount": 5, "properties.currency": "EUR"},
                 lands={"device_type": "api"}),
        OddEvent("payment-with-a-source", {"event_name": "payment_completed", "properties.amount": 5, "properties.currency": "EUR", "context.source": "x"},
                 lands={"device_type": "web"}),
        OddEvent("payment-with-a-placeholder", {"event_name": "payment_completed", "properties.amount": 5, "properties.currency": "EUR", "context.source": "undefined"},
                 lands={"device_type": "api"}),
        OddEvent("onboarding-with-a-page", {"event_name": "onboarding_started", "context.page_url": "https://a.example/"}, lands={"device_type": "web"}),
        OddEvent("onboarding", {"event_name": "onboarding_started"}, lands={"device_type": "api"}),
        OddEvent("mobile", {"context.device_type": "mobile"}, lands={"device_type": "mobile"}),
        OddEvent("empty-device", {"context.device_type": ""}, lands={"device_type": "web"}),
        OddEvent("blank-device", {"context.device_type": " "}, ("not_allowed",)),
        OddEvent("desktop", {"context.device_type": "desktop"}, ("not_allowed",)),
        OddEvent("time-zone", {"context.timezone": "Europe/Berlin"}, lands={"timezone": "Europe/Berlin"}),
        OddEvent("country", {"context.country": "US", "context.region": "CA"}, lands={"country": "US", "region": "CA"}),
    ]  # fmt: skip
    return cases


def _pages() -> list[OddEvent]:
    def page(case: str, url: str, *, more: dict[str, Any] | None = None, **lands: Any) -> OddEvent:
        wanted = dict.fromkeys(("source", "medium", "campaign", "term", "content", "click_id")) | lands
        return OddEvent(case, {"context.page_url": url, **(more or {})}, lands=wanted)

    home = "https://acme.example/"
    return [
        page("utm", home + "?utm_source=google&utm_medium=cpc&utm_campaign=spring", source="google", medium="cpc", campaign="spring", page_url=home),
        page("utm-all", home + "?utm_source=a&utm_medium=b&utm_campaign=c&utm_term=d&utm_content=e", source="a", medium="b", campaign="c", term="d", content="e"),
        page("utm-upper", home + "?UTM_SOURCE=a&Utm_Medium=b", source="a", medium="b"),
        page("utm-first", home + "?utm_source=a&utm_source=b", source="a"),
        page("utm-first-filled", home + "?utm_source=&utm_source=b", source="b"),
        page("utm-plus", home + "?utm_campaign=spring+sale&utm_source=a", source="a", campaign="spring sale"),
        page("utm-encoded", home + "?utm_source=a%20b&utm_campaign=%C3%BC", source="a b", campaign="ü"),
        page("utm-decoded-once", home + "?utm_source=a%2520b", source="a%20b"),
        page("utm-id", home + "?utm_source=a&utm_id=7", source="a", campaign="7"),
        page("utm-id-and-campaign", home + "?utm_id=7&utm_source=a&utm_campaign=c", source="a", campaign="c"),
        page("utm-placeholder", home + "?utm_source=undefined&utm_medium=null"),
        page("utm-empty", home + "?utm_source=&utm_medium="),
        page("gclid", home + "?gclid=Cj0abc", click_id="gclid=Cj0abc"),
        page("gclid-upper", home + "?GCLID=Cj0abc", click_id="gclid=Cj0abc"),
        page("gclid-and-utm", home + "?utm_source=google&gclid=Cj0abc", source="google", click_id="gclid=Cj0abc"),
        page("msclkid", home + "?x=1&msclkid=abc&y=2", click_id="msclkid=abc"),
        page("other-parameters", home + "?q=ann@example.org&ref=a", page_url=home),
        page("utm-in-fragment-alone", home + "#utm_source=a"),
        page("user-info", "https://ann:secret@acme.example/p?x=1#y", page_url="https://acme.example/p"),
        page("context-wins", home + "?utm_source=a&utm_medium=b&utm_campaign=c", more={"context.source": "x"}, source="x"),
        page("context-medium-wins", home + "?utm_source=a&gclid=Cj0abc", more={"context.medium": "m"}, medium="m"),
        page("context-click-wins", home + "?utm_source=a", more={"context.click_id": "gclid=Z"}, click_id="gclid=Z"),
        page("context-placeholder-does-not-win", home + "?utm_source=a", more={"context.source": "undefined"}, source="a"),
        page("context-campaign-stays", home + "?utm_source=a&utm_campaign=c", more={"context.campaign": "x"}, source="a", campaign="x"),
        page("referrer-parameters", home, more={"context.referrer": "https://other.example/?utm_source=a&gclid=x"}, referrer="https://other.example/"),
        page("relative-page", "/pricing?utm_source=a", source="a"),
        page("page-placeholder", "undefined", page_url=None),
        page("utm-semicolon", home + "?utm_source=a;b", source="a;b"),
        page("utm-mail", home + "?utm_source=ann@example.org", source="[mail]"),
        OddEvent("utm-in-context", {"context.utm_source": "google", "context.utm_medium": "cpc"}, lands={"source": "google", "medium": "cpc"}),
        OddEvent("utm-beside-source", {"context.utm_source": "google", "context.source": "x"}, lands={"source": "x"}),
        page("utm-bad-encoding", home + "?utm_source=%ff%zz", source="ÿ%zz"),
    ]  # fmt: skip


def _referrers() -> list[OddEvent]:
    nothing = (
        "about:blank", "about:srcdoc", "null", "-", "(direct)", "$direct", "file:///C:/x.html", "google", "undefined", "data:text/html,x",
        "javascript:void(0)", " ", "N/A", "http://", "https:///path", "direct",
    )  # fmt: skip
    kept = (
        ("https://www.google.com/", "https://www.google.com/"),
        ("https://www.google.com/search?q=secret", "https://www.google.com/search"),
        ("http://ann:pw@a.example/x#y", "http://a.example/x"),
        ("android-app://com.slack/", "android-app://com.slack/"),
        ("HTTPS://A.EXAMPLE/Path", None),
        ("https://a.example:8443/", "https://a.example:8443/"),
    )
    cases = [
        OddEvent(f"no-referrer-{n}", {"context.referrer": text}, lands={"referrer": None})
        for n, text in enumerate(nothing)
    ]
    cases += [
        OddEvent(f"referrer-{n}", {"context.referrer": text}, lands={} if wanted is None else {"referrer": wanted})
        for n, (text, wanted) in enumerate(kept)
    ]
    return cases


def _properties() -> list[OddEvent]:
    def pay(case: str, reasons: tuple[str, ...] = (), **properties: Any) -> OddEvent:
        given = {"amount": 5, "currency": "EUR"} | properties
        changes = {f"properties.{name}": value for name, value in given.items() if value is not ABSENT}
        return OddEvent(case, {"event_name": "payment_completed", **changes}, reasons)

    return [
        pay("amount-text", ("type",), amount="twelve"),
        pay("amount-comma", ("type",), amount="12,50"),
        pay("amount-nan", ("type",), amount="NaN"),
        pay("amount-true", ("type",), amount=True),
        pay("amount-negative", ("minimum",), amount=-5),
        pay("amount-zero", amount=0),
        pay("amount-tiny", amount=0.1),
        pay("amount-missing", ("missing_property",), amount=ABSENT),
        pay("currency-lower", ("pattern",), currency="eur"),
        pay("currency-missing", ("missing_property",), currency=ABSENT),
        pay("both-missing", ("missing_property",), amount=ABSENT, currency=ABSENT),
        pay("two-reasons", ("minimum", "pattern"), amount=-5, currency="euro"),
        pay("undeclared", ("unknown_property",), color="red"),
        pay("period", ("not_allowed",), billing_period="week"),
        pay("flag-as-text", ("type",), recurring="perhaps"),
        OddEvent("extra-text", {"properties.color": "red"}, lands={"properties": '{"color":"red"}'}),
        OddEvent("extra-mail", {"properties.note_to": "ann@example.org"}, lands={"properties": "{}"}),
        OddEvent("extra-email-name", {"properties.email": "x"}, lands={"properties": "{}"}),
        OddEvent("extra-ip", {"properties.client": "203.0.113.7"}, lands={"properties": "{}"}),
        OddEvent("extra-version", {"properties.app_version": "4.12.0.7"}, lands={"properties": '{"app_version":"4.12.0.7"}'}),
        OddEvent("extra-url", {"properties.link": "https://a.example/x?token=1"}, lands={"properties": '{"link":"https://a.example/x"}'}),
        OddEvent("extra-long", {"properties.text": "x" * 1025}, ("too_long",)),
        OddEvent("title-long", {"properties.title": "x" * 513}, ("too_long",)),
        OddEvent("title-quote", {"properties.title": 'say "hi", \\ ok'}, lands={"properties": '{"title":"say \\"hi\\", \\\\ ok"}'}),
        OddEvent("title-lines", {"properties.title": "two\nlines"}, lands={"properties": '{"title":"two\\nlines"}'}),
        OddEvent("signup-mail", {"event_name": "signup_completed", "properties.email": "ann@example.org"}),
        OddEvent("alias-placeholder", {"event_name": "user_identified", "user_id": "u", "properties.alias_of": "undefined"}, lands={"properties": "{}"}),
        OddEvent("all-wrong", {"event_name": "nope", "timestamp": "now", "anonymous_id": "null", "context.device_type": "tv"},
                 ("bad_timestamp", "not_allowed", "placeholder_id", "unknown_event")),
    ]  # fmt: skip


def _personal() -> list[OddEvent]:
    """What is personal in fields that are not identifiers, and identifiers that are no codes."""

    def context(case: str, field: str, sent: str, landed: str) -> OddEvent:
        return OddEvent(case, {f"context.{field}": sent}, lands={field: landed})

    def extra(case: str, name: str, value: Any, kept: bool = False) -> OddEvent:
        text = json.dumps({name: value} if kept else {}, separators=(",", ":"), ensure_ascii=False)
        return OddEvent(case, {f"properties.{name}": value}, lands={"properties": text})

    return [
        *(context(f"ip-in-{field}", field, "198.51.100.62", "[ip]")
          for field in ("source", "medium", "campaign", "term", "content", "click_id", "country", "region", "locale", "timezone")),
        context("ip-v6", "content", "from 2001:db8::7", "from [ip]"),
        context("phone", "term", "call +49 170 5500226", "call [phone]"),
        context("phone-encoded", "source", "%2B49%20170%205500226", "[phone]"),
        context("card", "campaign", "4111 1111 1111 1111", "[card]"),
        context("mail-encoded-twice", "campaign", "ann%2540example.org", "[mail]"),
        context("date-is-no-phone", "campaign", "sale_20261128", "sale_20261128"),
        context("page-on-an-address", "page_url", "https://198.51.100.62/a?x=1", "https://ip.test/a"),
        context("page-on-this-machine", "page_url", "http://127.0.0.1:8000/a", "http://127.0.0.1:8000/a"),
        context("page-with-mail", "page_url", "https://a.example/u/ann%252540example.org", "https://a.example/u/[mail]"),
        context("page-with-phone", "page_url", "https://a.example/tel/0170-5500226/x", "https://a.example/tel/[phone]/x"),
        context("referrer-on-an-address", "referrer", "http://[2001:db8::7]:81/", "http://ip.test:81/"),
        OddEvent("title-phone", {"properties.title": "Call (555) 123-4567 now"}, lands={"properties": '{"title":"Call [phone] now"}'}),
        *(extra(f"name-{n}", name, "x") for n, name in enumerate(
            ("userPhone", "homeAddress", "phone_number", "tel", "dob", "card", "e-mail", "customerEmailAddress", "first.name"))),
        *(extra(f"harmless-{n}", name, value, kept=True) for n, (name, value) in enumerate(
            (("address_changed", True), ("notes_count", 3), ("message_id", "a-7"), ("ip_version", "v4"), ("shipping", "dhl"), ("phones", None)))),
        extra("phone-as-a-number", "phone", 491705500226),
        extra("card-as-a-number", "n", 4111111111111111),
        extra("free-text", "remark2", "Please call Zbigniew at home"),
        extra("free-text-encoded", "a", "Please%20call%20Zbigniew"),
        extra("json-in-a-text", "a", '{"name":"Zbigniew"}'),
        extra("long-word", "a", "x" * 65),
        extra("word", "a", "x" * 64, kept=True),
        extra("path", "a", "/pricing/v2.1", kept=True),
        extra("name-with-blanks", "call Zbigniew", 1),
        extra("name-of-digits", "0170-5500226", 1),
        OddEvent("session-word", {"session_id": "ann-schmidt"}, lands={"session_id": "ann-schmidt"}),
        OddEvent("session-uuid", {"session_id": "0190a8a2-7a3e-7b7e-8d4c-2f6a1b9c0d3e"}, lands={"session_id": "0190a8a2-7a3e-7b7e-8d4c-2f6a1b9c0d3e"}),
        *(OddEvent(f"id-{n}", {"event_id": word}, lands={"event_id": word}) for n, word in enumerate(STORED_AS_PSEUDONYM)),
        OddEvent("id-code", {"event_id": "ORD-2026-000123"}, lands={"event_id": "ORD-2026-000123"}),
        OddEvent("id-uuid", {"event_id": "0190a8a2-7a3e-7b7e-8d4c-2f6a1b9c0d3e"}, lands={"event_id": "0190a8a2-7a3e-7b7e-8d4c-2f6a1b9c0d3e"}),
    ]  # fmt: skip


STORED_AS_PSEUDONYM = ("ann-schmidt", "198.51.100.62", "0170-5500226", "4111111111111111", "a b", "ünïcode")
"""Ids of events that are no plain codes."""
ODD_EVENTS = [
    *_ids(), *_names(), *_times(), *_places(), *_pages(), *_referrers(), *_properties(), *_personal(),
]  # fmt: skip
