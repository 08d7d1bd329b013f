"""`gtm attribute explain` and `gtm attribute restated`: what they say of a conversion and of days that were over."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from warehouse_cases import DAY, MINUTE, START, event, land, refresh, settings_for

from gtm_dagster.cli import run
from gtm_dagster.reports.explain_text import explanation
from gtm_dagster.reports.explained_conversion import explained
from gtm_dagster.reports.touch_verdicts import AFTER, HOUR_US, Touch, verdicts
from gtm_dagster.settings import Window
from gtm_dagster.warehouse.serving import reader

PERSON = "9f3c1a" * 10 + "<u>&1"
MONTH = 720.0
WINDOWS = [
    {"model": "linear", "lookback_hours": 72},
    {"model": "last_touch", "lookback_hours": 24},
    {"model": "participation", "lookback_hours": 168},
    {"model": "linear", "lookback_hours": 168, "name": "no_direct", "without": ["Direct"]},
    {"model": "markov", "lookback_hours": 168},
]


def touch(age_hours: float, channel: str, *, kept: bool = True) -> Touch:
    at = datetime(2026, 1, 8, tzinfo=UTC) - timedelta(hours=age_hours)
    return Touch(f"{age_hours}", at, round(age_hours * HOUR_US), "s", "m", None, channel, None, None, kept)


@pytest.mark.parametrize(
    ("window", "touches", "expected"),
    [
        pytest.param(Window("linear", 72), [touch(72, "a"), touch(0, "b")], [None, None], id="both edges of a lookback count"),
        pytest.param(Window("linear", 72), [touch(72.001, "a"), touch(-0.001, "b", kept=False)], ["older than 3 days", AFTER], id="beside the edges none does"),
        pytest.param(Window("linear", 72, channel_hours={"a": 100}), [touch(100, "a"), touch(100, "b")], [None, "older than 3 days"], id="a channel with hours of its own"),
        pytest.param(Window("linear", 72, only=("a",)), [touch(3, "a"), touch(2, "b")], [None, "its channel does not count"], id="only"),
        pytest.param(Window("linear", 72, without=("a",)), [touch(3, "a"), touch(2, "b")], ["its channel does not count", None], id="without"),
        pytest.param(Window("linear", 72), [touch(3, "a", kept=False), touch(2, "b")], ["not among the 9 newest", None], id="truncated"),
        pytest.param(Window("linear", 72, transforms=("exposure",)), [touch(3, "a"), touch(2, "a"), touch(1, "b")], [None, "left out by exposure", None], id="a transform"),
        pytest.param(Window("linear", 72, without=("b",), transforms=("exposure", "newest:1")), [touch(4, "a"), touch(3, "b"), touch(2, "a")], [None, "its channel does not count", "left out by exposure"], id="transforms work on what counts, in order"),
        pytest.param(Window("linear", 72), [], [], id="no touch"),
    ],
)  # fmt: skip
def test_why_a_touch_counts_or_does_not(window: Window, touches: list[Touch], expected: list[str | None]) -> None:
    assert verdicts(window, touches, 9) == expected


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A payment with touches of every kind, another person's without any, and a late visit in a second refresh."""
    folder = tmp_path_factory.mktemp("explained") / "state"
    settings = settings_for(folder, GTM_ATTRIBUTION__WINDOWS=json.dumps(WINDOWS))

    def visit(event_id: str, day: int, hour: float, source: str | None, medium: str | None = None) -> dict:
        moment = START + day * DAY + round(hour * 60) * MINUTE
        return event(
            event_id, moment, user_id=PERSON, source=source, medium=medium, campaign="<b>spring</b>" if source else None
        )

    paid = event(
        "pay-1", START + 7 * DAY + 600 * MINUTE, user_id=PERSON, event_name="payment_completed", device_type="api",
        properties=json.dumps({"amount": 10.0, "currency": "EUR"}),
    )  # fmt: skip
    lone = event("lone", START + DAY, user_id="nobody", event_name="signup_completed", device_type="api")
    land(settings, [
        visit("old", 1, 9, "bing", "cpc"), visit("mail", 5, 9, "newsletter", "email"), visit("plain", 7, 3, None),
        visit("unnamed", 7, 9.9, None), visit("later", 7, 10.2, "partner", "affiliate"), visit("after", 8, 10, "google", "cpc"),
        paid, lone, event("end", START + 9 * DAY, user_id="x"),
    ], "import-1")  # fmt: skip
    refresh(settings)
    land(settings, [visit("late", 6, 9, "google", "cpc")], "import-2")
    refresh(settings)
    return folder


@pytest.fixture
def gtm(state: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Any:
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "STATE_DIR": str(state),
        "ATTRIBUTION__WINDOWS": json.dumps(WINDOWS),
        "ATTRIBUTION__MIN_HISTORY_DAYS": "0",
    }.items():
        monkeypatch.setenv(f"GTM_{name}", value)

    def call(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        return run(list(arguments)), *capsys.readouterr()

    return call


def test_the_text_says_each_touch_in_80_columns_and_cuts_no_id(gtm: Any) -> None:
    code, out, _ = gtm("attribute", "explain", "w:pay-1")
    assert code == 0
    assert PERSON in out and "Conversion w:pay-1" in out
    assert max(len(line) for line in out.splitlines()) <= 80
    for words in (
        "out: older than 3 days", "out: after the conversion", "out: its channel does not count",
        "in, gets nothing", "each channel gets all of it", "markov 168 h: is estimated from all paths",
        "partner was named after the conversion", "(rule utm medium",
    ):  # fmt: skip
        assert words in " ".join(out.split()), words
    assert out.count("adds up to 1") == 3


def test_the_document_has_credit_that_adds_up(gtm: Any) -> None:
    code, out, _ = gtm("attribute", "explain", "w:pay-1", "--json")
    found = json.loads(out)
    assert code == 0
    assert [each["channel"] for each in found["touches"]] == [
        "Paid Search", "Email", "Paid Search", "Direct", "Direct", "Paid Search",
    ]  # fmt: skip
    by_name = {result["model"]: result for result in found["results"]}
    assert set(by_name) == {"linear", "last_touch", "participation", "no_direct"}
    linear = by_name["linear"]["touches"]
    assert [each["counts"] for each in linear] == [False, True, True, True, True, False]
    assert [each["share"] for each in linear] == [0, *[pytest.approx(0.25)] * 4, 0]
    for name in ("linear", "last_touch", "no_direct"):
        assert by_name[name]["sum"]["share"] == pytest.approx(1, abs=1e-9)
        assert by_name[name]["sum"]["value"] == pytest.approx(10, abs=1e-9)
    assert by_name["participation"]["sum"]["share"] == pytest.approx(3)
    assert not by_name["participation"]["conserves"]
    assert [each["model"] for each in found["absent"]] == ["markov"]


def test_a_conversion_nobody_earned(gtm: Any) -> None:
    code, out, _ = gtm("attribute", "explain", "w:lone")
    assert code == 0
    assert "none: the person has no session" in out
    assert out.count("(unattributed): no touch counts") == 4


def test_an_id_that_is_not_there_names_the_nearest_and_how_to_find_one(gtm: Any) -> None:
    code, out, err = gtm("attribute", "explain", "w:pay-2")
    assert (code, out) == (1, "")
    assert "'w:pay-2' is not in core.conversions" in err
    assert "the nearest ids are: w:pay-1" in err and "gtm query" in err
    assert max(len(line) for line in err.splitlines()) <= 80


class _Page(HTMLParser):
    """Tags, and every attribute that could load something."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in ("meta", "br"):
            self.open.append(tag)
        self.loads += [
            f"{tag} {name}" for name, _ in attrs if name in ("src", "href", "srcset") or name.startswith("on")
        ]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_one_file_without_scripts_and_escapes_what_was_sent(gtm: Any, tmp_path: Path) -> None:
    code, out, err = gtm("attribute", "explain", "w:pay-1", "--html", "page.html")
    assert (code, out, err) == (0, "", "written to page.html\n")
    text = (tmp_path / "page.html").read_text()
    page = _Page()
    page.feed(text)
    assert page.open == [] and page.loads == []
    assert not {"script", "link", "img", "iframe", "b", "u"} & set(page.tags)
    assert "http" not in text and "url(" not in text and "@import" not in text
    assert "&lt;b&gt;spring&lt;/b&gt;" in text and "&lt;u&gt;&amp;1" in text
    assert "prefers-color-scheme: dark" in text and "@media print" in text
    assert "out: older than 3 days" in text and "25.00 %" in text


def test_restated_days_for_people_and_for_scripts(gtm: Any) -> None:
    code, out, _ = gtm("attribute", "restated", "--json")
    rows = json.loads(out)
    assert code == 0
    assert {row["reason"] for row in rows} == {"late_event"} and {row["day"] for row in rows} == {"2026-01-08"}
    assert sum(
        row["conversions_after"] - row["conversions_before"] for row in rows if row["model"] == "linear"
    ) == pytest.approx(0)
    assert len(json.loads(gtm("attribute", "restated", "--json", "--limit", "1")[1])) == 1
    assert json.loads(gtm("attribute", "restated", "--json", "--since", "2026-01-09")[1]) == []
    code, out, _ = gtm("attribute", "restated", "--until", "2026-01-08")
    assert out.splitlines()[0].split(",")[:3] == ["refreshed_at", "day", "conversion_type"]
    assert "late_event" in out
    assert gtm("attribute", "restated", "--since", "soon")[0] == 2


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        pytest.param(("explain",), 2, "Missing argument", id="the word is the command"),
        pytest.param(("./explain", "--model", "linear"), 0, "c", id="a file of that name is reached by its folder"),
        pytest.param(("--model", "linear", "./explain"), 0, "c", id="options first"),
        pytest.param(("paths", "./explain", "--model", "linear"), 0, "c", id="the command in full"),
        pytest.param(("--help",), 0, "explain", id="help lists the commands"),
        pytest.param((), 2, "Usage", id="nothing"),
    ],
)  # fmt: skip
def test_a_first_word_that_is_no_command_is_a_file_of_paths(
    gtm: Any, tmp_path: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    (tmp_path / "explain").write_text("path,total_conversions\na > c,2\n")
    found, out, err = gtm("attribute", *arguments)
    assert found == code, err
    assert words in out + err


def test_infinity_is_printed_as_null_and_said(gtm: Any) -> None:
    code, out, err = gtm("query", "SELECT 'infinity'::DOUBLE AS x, 'nan'::DOUBLE AS y", "--json")
    assert (code, json.loads(out)) == (0, [{"x": None, "y": None}])
    assert err == "1 infinite value printed as null: JSON has no infinity\n"


def test_events_as_touches_stand_with_the_newest_of_their_session(tmp_path: Path) -> None:
    settings = settings_for(
        tmp_path,
        GTM_ATTRIBUTION__GRAIN="event",
        GTM_ATTRIBUTION__WINDOWS='[{"model": "linear", "lookback_hours": 72}]',
    )
    rows = [event(f"v{n}", START + n * MINUTE, user_id="u", source="google", medium="cpc") for n in range(3)]
    paid = {"user_id": "u", "event_name": "signup_completed", "device_type": "api"}
    land(settings, [*rows, event("s", START + 5 * MINUTE, **paid)], "import-1")
    refresh(settings)
    with reader(settings) as con:
        found = explained(con, settings, "w:s")
    assert found is not None
    (result,) = found.results
    assert [credit and credit.share for credit in result.credits] == [None, None, pytest.approx(1)]
    assert explanation(found).count("in, counted with a later touch of its session") == 2
