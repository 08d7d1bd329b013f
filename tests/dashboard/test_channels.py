"""What the figures of the page Channels mean: totals are sums of cells, dashes are not zeros, intervals are those of persons."""

from __future__ import annotations

import json
from math import sqrt
from pathlib import Path
from typing import Any

import pytest
from asgi_client import AsgiClient
from dashboard_cases import dashboard, days, publish, settings_in, small

NONE = "compare=none"


def rows_of(client: AsgiClient, chart: str, given: str = "") -> list[dict[str, Any]]:
    return list(json.loads(client.get(f"/chart/{chart}.json?{given}").text))


@pytest.mark.parametrize("model", ["last_touch", "linear"])
def test_every_view_of_a_model_adds_up_to_all_conversions(client: AsgiClient, model: str) -> None:
    given = f"model={model}&from=60d&{NONE}"
    conversions = sum(row["conversions"] for row in rows_of(client, "conversions_by_day", f"from=60d&{NONE}"))
    assert conversions == 60
    assert sum(row["conversions"] for row in rows_of(client, "channel_money", given)) == pytest.approx(conversions)
    assert sum(row["conversions"] for row in rows_of(client, "channel_credit", given)) == pytest.approx(conversions)
    assert sum(row["conversions"] for row in rows_of(client, "channel_by_day", given)) == pytest.approx(conversions)
    days = [row["day"] for row in rows_of(client, "conversions_by_day", f"from=60d&{NONE}")]
    email = rows_of(client, "channel_by_day", f"{given}&channel=Email")
    assert [row["day"] for row in email] == days  # a day without any counts 0: the axis is of days
    by_model = [row["conversions"] for row in rows_of(client, "channel_models", given) if row["model"] == model]
    assert sum(by_model) == pytest.approx(conversions)


def test_each_step_down_adds_up_to_the_one_above(client: AsgiClient) -> None:
    given = f"model=linear&from=60d&{NONE}&channel=Paid+Search"
    above = next(row for row in rows_of(client, "channel_money", given) if row["channel"] == "Paid Search")
    for further, name in (("", "google"), ("&source=google", "cpc"), ("&source=google&medium=cpc", "brand")):
        (row,) = rows_of(client, "source_money", given + further)
        assert row["name"] == name
        for figure in ("conversions", "value", "spend", "cpa", "roas"):
            assert row[figure] == pytest.approx(above[figure])


def test_unknown_spend_is_a_dash_and_unattributed_stands_last(client: AsgiClient) -> None:
    rows = rows_of(client, "channel_money", "from=60d")
    assert rows[-1]["channel"] == "(unattributed)"
    assert [(row["spend"], row["cpa"], row["roas"]) for row in rows if row["channel"] == "Email"] == [
        (None, None, None)
    ]
    search = next(row for row in rows if row["channel"] == "Paid Search")
    assert (search["cpa"], search["roas"]) == (5.0, 6.0)
    page = client.get("/attribution?from=60d").text
    assert "time decay, 7 days is not computed:" in page and "12 of 30 full days" in page
    assert "(unattributed)" in page


def test_a_type_without_value_has_no_value_and_no_return(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    cells = small(3)
    cells["marts.channel_attribution"] = [
        {"day": day, "conversion_type": "signup_completed", "model": "linear", "window_hours": 168.0, "channel": "Email",
         "conversions": 0.0, "spend": 4.0, "spend_currency": "EUR"}
        for day in days(3)
    ]  # fmt: skip
    publish(settings.serving_path, cells)
    with dashboard(settings) as client:
        (row,) = rows_of(client, "channel_money", "type=signup_completed&model=linear")
    assert (row["value"], row["cpa"], row["roas"], row["spend"]) == (None, None, None, 12.0)


def test_intervals_are_those_of_persons_and_differences_of_the_same_persons(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    cells = small(3)
    credit = {  # person: credit of Email by linear and by last touch
        1: (0.5, 1.0), 2: (1.0, 1.0), 3: (0.25, 0.0),
    }  # fmt: skip
    day = days(1)[0]
    cells["core.conversions"] = [
        {"conversion_id": f"w:{person}", "day": day, "conversion_type": "payment_completed", "currency": "EUR", "person_no": person}
        for person in credit
    ]  # fmt: skip
    cells["marts.attribution_credits"] = [
        {"conversion_id": f"w:{person}", "model": model, "window_hours": hours, "channel": "Email", "credit": amount, "person_no": person}
        for person, amounts in credit.items()
        for (model, hours), amount in zip((("linear", 168.0), ("last_touch", 24.0)), amounts, strict=True)
    ]  # fmt: skip
    publish(settings.serving_path, cells)
    with dashboard(settings) as client:
        (row,) = rows_of(client, "channel_credit", "model=linear")
    total = sum(n for n, _ in credit.values())
    half = 1.96 * sqrt(sum(n * n for n, _ in credit.values()))
    apart = 1.96 * sqrt(sum((n - last) ** 2 for n, last in credit.values()))
    assert (row["persons"], row["conversions"], row["last_touch"]) == (3, total, 2.0)
    assert (row["low"], row["high"]) == pytest.approx((max(total - half, 0), total + half))
    assert (row["difference_low"], row["difference_high"]) == pytest.approx((total - 2 - apart, total - 2 + apart))


def test_a_period_that_the_tables_do_not_hold_is_not_compared_with(client: AsgiClient) -> None:
    assert "No comparison with the period before" in client.get("/attribution?from=40d").text
    assert "No comparison with the period before" not in client.get("/attribution?from=20d").text
    overview = client.get("/?from=40d").text
    assert "no comparison with the period before" in overview and "×" not in overview
