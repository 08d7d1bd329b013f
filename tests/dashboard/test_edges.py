"""What pages say at the edges: none, nobody, not known, not yet; names from right to left; the demo's own commands."""

from __future__ import annotations

import json
import re
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from asgi_client import AsgiClient
from dashboard_cases import LAST, dashboard, publish, settings_in, small

from gtm_dagster.dashboard.screens.overview import against
from gtm_dagster.reports.number_text import amount
from gtm_dagster.settings import Conversion

STAGES = ("acquired", "signed_up", "onboarded", "retained")
RATES = [{"cohort_day": None, "channel": "(all)", "stage": stage, "stage_no": n} for n, stage in enumerate(STAGES, 1)]


def _with(folder: Path, cells: dict[str, list[dict[str, Any]]], **settings: Any) -> Any:
    found = settings_in(folder, **settings)
    publish(found.serving_path, small() | cells)
    return dashboard(found)


def _chart(client: AsgiClient, name: str, query: str = "") -> list[dict[str, Any]]:
    return json.loads(client.get(f"/chart/{name}.json{query}").text)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("now", "before", "words"),
    [
        pytest.param(12.0, 10.0, ("+20 %", "from 10"), id="a change"),
        pytest.param(10.0, 10.0, ("0 %", "from 10"), id="no change"),
        pytest.param(999.0, 1000.0, ("0 %", "from 1,000"), id="next to none has no sign"),
        pytest.param(12.0, 0.0, ("", "none in the period before"), id="from nothing"),
        pytest.param(None, 7.0, ("", "7 in the period before"), id="a week without data after one with"),
        pytest.param(7.0, None, ("", "nothing is known of the period before"), id="after a week without data"),
        pytest.param(None, None, ("", "nothing is known of the period before"), id="two weeks without data"),
    ],
)
def test_a_tile_says_what_its_figure_is_against(
    now: float | None, before: float | None, words: tuple[str, str]
) -> None:
    assert against(now, before, amount) == words


def test_a_gap_in_the_data_is_no_period_without_anybody_before_it(tmp_path: Path) -> None:
    cells = {"marts.daily": [row for row in small()["marts.daily"] if row["day"] < date(2026, 11, 14)]}
    cells["marts.daily"].append({"day": LAST, "visitors": 1, "sessions": 1, "sign_ups": 0})
    with _with(tmp_path, cells) as client:
        text = client.get("/?from=2026-11-14&to=2026-11-19").text
    assert "10 in the period before" in text and "none in the period before" not in text


def test_the_last_stage_is_the_last_one_of_the_funnel_though_nobody_reached_it(tmp_path: Path) -> None:
    credited = [
        {"cohort_day": LAST, "model": "linear", "stage": stage, "stage_no": n, "channel": "Email", "persons": 4.0}
        for n, stage in enumerate(STAGES[:3], 1)
    ]
    with _with(tmp_path, {"marts.funnel_rates": RATES, "marts.funnel_by_model": credited}) as client:
        assert _chart(client, "funnel_credit") == []
        assert "Nobody of this period has reached the last stage yet." in client.get("/funnel").text
    credited.append(credited[0] | {"stage": "retained", "stage_no": 4, "persons": 1.0})
    with _with(tmp_path, {"marts.funnel_rates": RATES, "marts.funnel_by_model": credited}) as client:
        assert [row["persons"] for row in _chart(client, "funnel_credit")] == [1.0]
        assert "Source and medium do not apply here." in client.get("/funnel?source=newsletter").text


def test_nobody_is_lost_where_all_go_on(tmp_path: Path) -> None:
    funnel = [
        {
            "source": "s",
            "medium": "m",
            "channel": "Email",
            "cohort_day": LAST,
            "stage": stage,
            "stage_no": n,
            "persons": 12,
        }
        for n, stage in enumerate(STAGES, 1)
    ]
    with _with(tmp_path, {"marts.funnel_rates": RATES, "marts.funnel": funnel}) as client:
        text = client.get("/funnel").text
    assert "Nobody is lost on the way." in text and "Most are lost" not in text


def test_accounts_by_channel_are_accounts(tmp_path: Path) -> None:
    accounts = [
        {
            "source": "s",
            "medium": "m",
            "channel": "Email",
            "cohort_day": LAST,
            "stage": stage,
            "stage_no": n,
            "accounts": 4 - n,
        }
        for n, stage in enumerate(STAGES[:3], 1)
    ]
    with _with(tmp_path, {"marts.funnel_rates": RATES, "marts.funnel_accounts": accounts}) as client:
        rows = _chart(client, "funnel_channels", "?count=accounts")
        persons = _chart(client, "funnel_channels")
    assert [(row["channel"], row["reached"]) for row in rows] == [("Email", n) for n in (3, 2, 1, 0)]
    assert sum(row["reached"] for row in persons if row["stage"] == "acquired") == 300


def test_a_channel_that_never_converted_can_be_chosen(tmp_path: Path) -> None:
    row = {
        "source": "bing",
        "medium": "display",
        "campaign": "été",
        "channel": "Display",
        "cohort_day": LAST,
        "stage": "acquired",
        "stage_no": 1,
        "persons": 5,
    }
    with _with(tmp_path, {"marts.funnel_rates": RATES, "marts.funnel": [row]}) as client:
        assert _chart(client, "funnel_stages", "?channel=Display&campaign=été")[0]["reached"] == 5
        assert client.get("/retention?channel=Display").status_code == 200


@pytest.mark.parametrize(
    ("address", "idle"),
    [
        ("/?channel=Email&campaign=november", ["Channel", "Campaign"]),
        ("/journeys?source=newsletter", ["Source"]),
        ("/retention?channel=Email&medium=email", ["Medium"]),
        ("/funnel?channel=Email&source=newsletter&medium=email&campaign=november", []),
        ("/attribution?channel=Email&source=newsletter", []),
        ("/", []),
    ],
)
def test_a_filter_that_a_page_does_not_ask_for_is_named(client: AsgiClient, address: str, idle: list[str]) -> None:
    page = client.get(address).text
    line = next((line for line in page.splitlines() if "not asked for on this page" in line), "")
    assert re.findall(r"(Channel|Source|Medium|Campaign) <b>", line) == idle


def test_a_filter_that_fits_no_other_is_shown_as_what_it_is(client: AsgiClient) -> None:
    page = client.get("/funnel?channel=Email&campaign=brand").text
    assert '<option selected value="brand">brand</option>' in page


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param([None, None], None, id="a type that never says a value has none"),
        pytest.param([5.0, None], 5.0, id="a day whose conversions say none is not known"),
        pytest.param([5.0], 5.0, id="a day without a conversion is 0"),
    ],
)
def test_a_value_that_nobody_said_is_not_0(tmp_path: Path, values: list[float | None], expected: float | None) -> None:
    day = {"visitors": 10, "sessions": 12, "sign_ups": 2}
    lead = {"conversion_type": "lead_created", "conversions": 1, "unattributed": 0}
    daily = [{"day": LAST - timedelta(days=n), **day} for n in range(2)]
    daily += [{"day": LAST - timedelta(days=n), **lead, "value": value} for n, value in enumerate(values)]
    with _with(tmp_path, {"marts.daily": daily}, conversions=(Conversion("lead_created", "value"),)) as client:
        before, newest = (row["value"] for row in _chart(client, "value_by_day", "?compare=none"))
        text = client.get("/?compare=none").text
    assert newest == expected
    assert before == (0.0 if len(values) == 1 else None)
    assert ("Value by day" in text) is (expected is not None), "an amount without a currency is one all the same"


@pytest.mark.parametrize(
    ("currencies", "words"),
    [
        pytest.param((), "no spend is known for this period and currency", id="none was imported"),
        pytest.param(("EUR",), "no spend is known for this period and currency", id="of another period"),
        pytest.param(
            ("EUR", "USD"), "spend is in EUR, USD, and amounts of several currencies are never added", id="two"
        ),
    ],
)
def test_a_type_without_a_currency_says_why_it_has_no_spend(
    tmp_path: Path, currencies: tuple[str, ...], words: str
) -> None:
    cells = small(3)
    cells["marts.channel_attribution"] = [
        {
            "day": LAST,
            "conversion_type": "signup_completed",
            "model": "linear",
            "window_hours": 168.0,
            "channel": "Email",
            "conversions": 2.0,
        }
    ]
    cells["core.spend"] = [{"day": LAST, "source": "google", "currency": each, "cost": 1.0} for each in currencies]
    with _with(tmp_path, cells) as client:
        assert words in client.get("/attribution?type=signup_completed&model=linear").text


def test_history_that_came_in_today_stands_on_tracking(tmp_path: Path) -> None:
    book = {"log_rows": 3, "duplicates": 0, "suppressed": 0, "withdrawn": 0, "bots": 0}
    late = LAST + timedelta(days=300)
    books = [
        book | {"ingest_date": LAST, "raw": 1, "clean": 1, "quarantined": 0},
        book | {"ingest_date": late, "raw": 2, "clean": 1, "quarantined": 1},
    ]
    with _with(tmp_path, {"staging.books": books}) as client:
        rows = _chart(client, "books_by_day")
        page, overview = client.get("/tracking").text, client.get("/").text
        until = client.get(f"/tracking?to={LAST}").text
    assert [(row["day"], row["quarantined"]) for row in rows] == [(str(late), 1)]
    assert "The books balance on the only day:" in page and "Table (1 row)" in page
    assert f'name="to" value="{LAST}"' in overview and f'name="to" value="{LAST}"' in until


@pytest.mark.parametrize(
    ("given", "now", "before"),
    [
        pytest.param(f"from={LAST}&to={LAST}", 0.0, 1.0, id="it earned something the day before"),
        pytest.param(
            f"from={LAST - timedelta(days=1)}&to={LAST - timedelta(days=1)}", 1.0, 0.0, id="and nothing before that"
        ),
        pytest.param(f"from={LAST}&to={LAST}&compare=none", None, None, id="not compared with anything"),
        pytest.param(
            f"from={LAST - timedelta(days=1)}&to={LAST + timedelta(days=1)}", 1.0, None, id="before the data begin"
        ),
        pytest.param(f"from={LAST + timedelta(days=1)}&to={LAST + timedelta(days=2)}", None, 1.0, id="after they end"),
    ],
)
@pytest.mark.parametrize("chart", ["channel_money", "source_money"])
def test_a_channel_that_earned_nothing_has_0_and_a_period_without_data_none(
    tmp_path: Path, chart: str, given: str, now: float | None, before: float | None
) -> None:
    cells = small(3)
    for name in ("marts.channel_attribution", "marts.campaign_performance"):
        cells[name] = [row for row in cells[name] if row["day"] == LAST - timedelta(days=1)]
    with _with(tmp_path, cells) as client:
        rows = _chart(client, chart, f"?model=linear&{given}")
    assert [(row["conversions"], row["conversions_before"]) for row in rows] == (
        [] if now is None and before is None else [(now, before)]
    )
