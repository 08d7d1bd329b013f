"""What may stand in the address of a page, and what it selects."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import pytest

from gtm_dagster.dashboard.chart_query import Chart
from gtm_dagster.dashboard.choices_there import Choices, Result
from gtm_dagster.dashboard.parameters import BadParameterError, Selection, selected
from gtm_dagster.warehouse.figures.period import today_in

CHOICES = Choices(
    date(2026, 9, 1), date(2026, 11, 20),
    (("payment_completed", "EUR"), ("payment_completed", "USD"), ("signup_completed", None)),
    (
        Result("last_touch", 24.0, True, "", "last_touch"), Result("linear", 168.0, True, "", "linear"),
        Result("linear", 720.5, True, "", "linear"), Result("markov", 168.0, False, "too little history", "markov"),
    ),
    (("Email", "news", "email", "it's"), ("Direct", "direct", "(none)", None)),
)  # fmt: skip


def select(*given: tuple[str, str], **more: object) -> Selection:
    return selected(given, CHOICES, "UTC", more.get("more"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((), (date(2026, 10, 22), date(2026, 11, 20))),
        ((("from", "7d"),), (date(2026, 11, 14), date(2026, 11, 20))),
        ((("from", "2026-11-01"), ("to", "2026-11-03")), (date(2026, 11, 1), date(2026, 11, 3))),
        ((("to", "2026-11-03"),), (date(2026, 10, 5), date(2026, 11, 3))),
        ((("from", ""), ("to", "")), (date(2026, 10, 22), date(2026, 11, 20))),
    ],
    ids=["30 days to the newest", "days back", "a range", "to alone", "empty fields of the form"],
)
def test_a_period_ends_on_the_newest_day_unless_told_otherwise(given, expected) -> None:  # type: ignore[no-untyped-def]
    found = select(*given)
    assert (found.period.since, found.period.until) == expected
    assert (
        found.before is not None and found.before.until < found.period.since and found.before.days == found.period.days
    )


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ((), ("payment_completed", "EUR")),
        ((("currency", "USD"),), ("payment_completed", "USD")),
        ((("type", "signup_completed"),), ("signup_completed", None)),
        ((("type", "signup_completed"), ("currency", "USD")), ("signup_completed", None)),
        ((("type", "payment_completed"), ("currency", "USD")), ("payment_completed", "USD")),
    ],
    ids=["the first", "by currency", "without value", "currency of another type gives way", "both"],
)
def test_one_type_and_one_currency_at_a_time(given, kind) -> None:  # type: ignore[no-untyped-def]
    found = select(*given)
    assert (found.conversion_type, found.currency) == kind


@pytest.mark.parametrize(
    ("given", "result"),
    [
        ((), ("last_touch", 24.0)),
        ((("model", "linear"),), ("linear", 168.0)),
        ((("model", "linear"), ("window", "720.5")), ("linear", 720.5)),
        ((("model", "linear"), ("window", "24")), ("linear", 168.0)),
        ((("window", "720.5"),), ("linear", 720.5)),
    ],
    ids=["the first", "by model", "every digit of a window", "window of another model gives way", "window alone"],
)
def test_one_result_at_a_time(given, result) -> None:  # type: ignore[no-untyped-def]
    found = select(*given)
    assert (found.model, found.window_hours) == result


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((("typ", "x"),), "from, to, compare, type, currency, model, window, channel, source, medium, campaign"),
        ((("type", "x"),), "payment_completed, signup_completed"),
        ((("currency", "GBP"),), "EUR, USD"),
        ((("model", "markov"),), "last_touch, linear"),
        ((("window", "1"),), "24, 168, 720.5"),
        ((("channel", "Fax"),), "Direct, Email"),
        ((("campaign", "x"),), "(not set), it's"),
        ((("compare", "x"),), "before, none"),
        ((("from", "yesterday"),), "write 2026-11-01, 30d or 4w"),
        ((("from", "2026-11-10"), ("to", "2026-11-01")), "lies after 2026-11-01"),
        ((("from", "2020-01-01"),), "at most 400"),
        ((("from", "99999w"),), "before 1970"),
        ((("from", "7d"), ("from", "8d")), "twice"),
        ((("campaign", "a\0b"),), "NUL"),
        ((("unit", "fortnight"),), "week, day"),
    ],
    ids=lambda value: value[0][0] if isinstance(value, tuple) else None,
)
def test_what_is_not_allowed_is_refused_with_what_is(given, said: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(BadParameterError) as refused:
        select(*given, more={"unit": ("week", "day")})
    assert said in str(refused.value)


def test_own_parameters_have_a_default_and_links_keep_the_rest() -> None:
    found = select(("campaign", "it's"), ("from", "7d"), more={"unit": ("week", "day"), "q": ()})
    assert dict(found.more) == {"unit": "week", "q": ""}
    assert found.url("/x", **{"from": None, "unit": "day"}) == "/x?campaign=it%27s&unit=day"


def test_values_stand_in_a_statement_as_literals_whatever_they_hold() -> None:
    values = select(("campaign", "it's")).values()
    assert values["campaign"] == "'it''s'"
    assert values["channel"] == "CAST(NULL AS VARCHAR)"
    assert values["window"] == "CAST(24 AS DOUBLE)"
    statement = Chart("source_money", "").statement(select(("campaign", "it's"), ("compare", "none")))
    assert "= 'it''s'" in statement and "$" not in statement and "CAST(NULL AS DATE)" in statement


@pytest.mark.parametrize(
    ("newest", "given", "words"),
    [
        (0, (), "{} has not ended"),
        (-1, (), "the data ends on {}"),
        (-60, (), "the data ends on {}"),
        (0, (("from", "2020-01-01"), ("to", "2020-01-03")), ""),
        (-60, (("from", "today"), ("to", "today")), ""),
    ],
    ids=["today", "yesterday", "an export of long ago", "a period before it", "a period behind it"],
)
def test_a_day_has_not_ended_only_as_long_as_it_lasts(newest, given, words: str) -> None:  # type: ignore[no-untyped-def]
    today = today_in("Pacific/Kiritimati")
    day = today + timedelta(days=newest)
    given = [(name, value.replace("today", str(today))) for name, value in given]
    found = selected(given, replace(CHOICES, first_day=date(2019, 1, 1), last_day=day), "Pacific/Kiritimati")
    assert found.open_words == words.format(day)
    assert found.is_open is bool(words)


def test_an_empty_deployment_selects_nothing_and_refuses_nothing_it_cannot_know() -> None:
    found = selected((), Choices(), "Europe/Berlin")
    assert (found.conversion_type, found.model, found.is_open, found.is_comparable) == (None, None, False, False)
    saved = selected([("type", "sale"), ("model", "linear"), ("window", "x"), ("campaign", "'")], Choices(), "UTC")
    assert (saved.conversion_type, saved.model, saved.window_hours) == ("sale", None, None)
    assert saved.url("/") == "/?type=sale&model=linear&window=x&campaign=%27"
    with pytest.raises(BadParameterError):
        selected([("typ", "sale")], Choices(), "UTC")
