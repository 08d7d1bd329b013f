"""What holds for every screen and chart there is: nothing runs, nothing is a zero that is not known, numbers agree."""

from __future__ import annotations

import csv
import io
import json
import re
from html.parser import HTMLParser
from typing import Any

import duckdb
import pytest
from asgi_client import AsgiClient
from dashboard_cases import dashboard, settings_in

from gtm_dagster.dashboard.chart_query import Chart
from gtm_dagster.dashboard.screen import charts, screens
from gtm_dagster.reports.plain_values import json_text
from gtm_dagster.settings import Settings
from gtm_dagster.warehouse.serving import query

PLAIN = [screen for screen in screens() if not screen.has_path_values]
RUNS = ("=", "+", "-", "@", "\t", "\r")


class Page(HTMLParser):
    """The elements and attributes of a page, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.mark.parametrize("screen", PLAIN, ids=lambda screen: screen.name)
def test_a_page_runs_nothing_and_asks_no_other_host(any_deployment: AsgiClient, screen: Any) -> None:
    answer = any_deployment.get(screen.path)
    assert answer.status_code == 200, answer.text[-2000:]
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    page = Page(answer.text)
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "style", "iframe", "object", "embed", "base"}
    allowed = ("/", "#", "?", "http://127.0.0.1:3000")
    for tag, attributes in page.tags:
        assert "style" not in attributes, tag
        assert not [name for name in attributes if name.startswith("on")], tag
        for name in ("href", "src", "action", "xlink:href"):
            assert (attributes.get(name) or "/").startswith(allowed), (tag, attributes)
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("name", charts())
def test_a_chart_is_its_statement_as_csv_and_json(any_deployment: AsgiClient, name: str) -> None:
    text = any_deployment.get(f"/chart/{name}.csv").text
    lines = list(csv.reader(io.StringIO(text, newline="")))
    records = json.loads(any_deployment.get(f"/chart/{name}.json").text)
    assert len(lines) == len(records) + 1
    assert "\n" not in text.replace("\r\n", "") or '"' in text
    for line in lines[1:]:
        for cell in line:
            assert not cell.startswith(RUNS) or re.fullmatch(r"-?[0-9.e+-]+", cell), cell
    svg = any_deployment.get(f"/chart/{name}.svg")
    if svg.status_code == 200:
        assert "<script" not in svg.text and "'unsafe-inline'" not in svg.headers["content-security-policy"]
        assert svg.text.startswith("<svg")


@pytest.mark.parametrize("name", charts())
def test_the_statement_of_a_chart_pasted_into_gtm_query_gives_its_cells(
    client: AsgiClient, small_settings: Settings, name: str
) -> None:
    statement = client.get(f"/chart/{name}/sql").text
    shown = json.loads(client.get(f"/chart/{name}.json").text)
    columns, rows = query(small_settings, statement)
    assert json.loads(json_text([dict(zip(columns, row, strict=True)) for row in rows])) == shown


@pytest.mark.parametrize("name", charts())
def test_a_statement_says_how_it_is_counted_and_reads_marts(name: str) -> None:
    chart: Chart = charts()[name][1]
    assert chart.how.endswith("."), name
    with duckdb.connect() as con:
        assert len(con.extract_statements(re.sub(r"\$[a-z_]+", "NULL", chart.text))) == 1
    assert "core.sessions" not in chart.text


@pytest.mark.parametrize("screen", PLAIN, ids=lambda screen: screen.name)
def test_without_a_serving_copy_a_page_says_what_is_missing_and_the_command(tmp_path, screen: Any) -> None:  # type: ignore[no-untyped-def]
    with dashboard(settings_in(tmp_path)) as client:
        text = client.get(screen.path).text
    assert "There is no serving copy" in text or not screen.needs_tables
    assert "gtm refresh" in text or not screen.needs_tables
    assert '<div class="value">0' not in text


@pytest.mark.parametrize("screen", PLAIN, ids=lambda screen: screen.name)
def test_with_half_of_its_tables_absent_a_page_says_so(half_a_copy: AsgiClient, screen: Any) -> None:
    answer = half_a_copy.get(f"{screen.path}?type=payment_completed" if "type" in screen.controls else screen.path)
    assert answer.status_code == 200
    if screen.charts:
        assert "The serving copy lacks what this needs" in answer.text
    assert '<div class="value">0' not in answer.text
