"""README's own events: what it says to send arrives in the marts, by its own commands."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from contextlib import nullcontext
from pathlib import Path

import pytest

from gtm_dagster.cli import run
from gtm_dagster.demo.live import collector
from gtm_dagster.settings import load_settings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
OWN = README.partition("## Your own events\n")[2].partition("\n## ")[0]


def block(language: str) -> str:
    return OWN.partition(f"```{language}\n")[2].partition("```")[0]


def test_the_first_queries_of_the_tour_name_why_a_model_may_be_absent() -> None:
    tour = README.partition("## Five minutes\n")[2].partition("\n## ")[0]
    queries = [line for line in tour.splitlines() if "gtm query" in line]
    assert "marts.attribution_status" in queries[0]
    assert all("gtm query --demo" in line for line in queries), "the demo lies apart"


PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
QUERIES = [
    (page.name, query)
    for page in PAGES
    for query in re.findall(r'gtm query (?:--\w+ )*"([^"]+)"', page.read_text())
    if re.search(r"\b(sum|avg|count)\s*\(", query, re.IGNORECASE)
]
UNLIKE = {
    "channel_attribution": {"conversion_type", "currency", "model", "window_hours"},
    "campaign_performance": {"conversion_type", "currency", "model", "window_hours"},
    "attribution_credits": {"model", "window_hours"},
    "core.conversions": {"conversion_type", "currency"},
    "funnel_by_model": {"model"},
}
"""Columns of which unlike values are never added; a query that adds rows names each, as a condition or in GROUP BY."""
WITHOUT_CURRENCY = "conversion_type = 'signup_completed'"


def adds_unlike(query: str) -> set[str]:
    """The columns over which a query adds what must not be added."""
    grouped = query.partition("GROUP BY")[2].partition("ORDER BY")[0]
    numbers = [int(number) for number in re.findall(r"\b\d+\b", grouped)]
    selected = [
        part.strip() for part in re.split(r",(?![^(]*\))", query.partition("SELECT ")[2].partition(" FROM ")[0])
    ]
    by = grouped + " ".join(selected[number - 1] for number in numbers)
    unlike = set().union(*(columns for table, columns in UNLIKE.items() if table in query))
    if WITHOUT_CURRENCY in query and "value" not in query:
        unlike -= {"currency"}
    return {column for column in unlike if not re.search(rf"\b{column}\s*(=|IS|IN)", query) and column not in by}


@pytest.mark.parametrize(("page", "query"), QUERIES, ids=[f"{page}: {query[:60]}" for page, query in QUERIES])
def test_no_query_of_the_pages_adds_unlike_types_currencies_models_or_windows(page: str, query: str) -> None:
    assert adds_unlike(query) == set()


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (
            "SELECT channel, sum(credit) FROM marts.attribution_credits WHERE model = 'linear' GROUP BY 1",
            {"window_hours"},
        ),
        (
            "SELECT channel, sum(value) FROM marts.channel_attribution GROUP BY ALL",
            {"conversion_type", "currency", "model", "window_hours"},
        ),
        ("SELECT conversion_type, currency, sum(value) FROM core.conversions GROUP BY 1, 2", set()),
    ],
    ids=["the first query that was there once", "all together", "each by itself"],
)
def test_the_test_finds_what_must_not_be_added(query: str, expected: set[str]) -> None:
    assert adds_unlike(query) == expected


def test_the_tour_asks_for_credit_once() -> None:
    assert any("channel_attribution" in query for page, query in QUERIES if page == "README.md")


@pytest.mark.slow
def test_ones_own_first_events_arrive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GTM_STATE_DIR", str(tmp_path / ".gtm"))
    monkeypatch.delenv("GTM_PRIVACY__CONSENT", raising=False)
    (tmp_path / ".gtm" / "demo").mkdir(parents=True)  # the collector's output
    with collector(load_settings(), nullcontext()) as url:
        script = block("sh").replace("http://127.0.0.1:8377", url)
        answer = json.loads(subprocess.run(["sh"], input=script, capture_output=True, text=True, check=True).stdout)
        assert answer["accepted"] == 1, answer
        exec(block("python").replace("http://127.0.0.1:8377", url), {"__name__": "shop"})
    assert run(["refresh"]) == 0
    capsys.readouterr()
    (line,) = [line for line in OWN.splitlines() if "gtm query" in line]
    assert run(shlex.split(line)[1:]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == ["Paid Search,signup_completed,1.0"]
