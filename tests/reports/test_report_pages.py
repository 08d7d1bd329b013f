"""The report as a page, and the same events under other definitions of a session."""

from __future__ import annotations

import re
import shlex
from html.parser import HTMLParser
from pathlib import Path

import pytest
from report_traffic import FIRST, LAST, WINDOWS, deployment
from rich.cells import cell_len
from warehouse_cases import PLAN

from gtm_dagster.cli import run
from gtm_dagster.reports.definitions_compared import DEFINITIONS, NotComparable, definition_results
from gtm_dagster.reports.names_in_text import isolated_in_page
from gtm_dagster.settings import Settings, load_settings
from gtm_dagster.warehouse.figures.credit_sample import computed_results, kinds
from gtm_dagster.warehouse.figures.period import period_of, today_in
from gtm_dagster.warehouse.serving import reader

PERIOD = period_of(FIRST, LAST, today_in("UTC"))


@pytest.fixture
def page(shop: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("GTM_STATE_DIR", str(shop.state_dir))
    monkeypatch.setenv("GTM_ATTRIBUTION__WINDOWS", WINDOWS)
    monkeypatch.setenv("GTM_ATTRIBUTION__MIN_HISTORY_DAYS", "0")
    monkeypatch.chdir(tmp_path)
    assert run(shlex.split(f"report attribution --since {FIRST} --until {LAST} --compare --html report.html")) == 0
    return (tmp_path / "report.html").read_text()


class _Elements(HTMLParser):
    """Every element with its attributes, and that each is closed where it should be."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attributes)))
        if tag not in {"meta", "wbr"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_needs_no_script_no_other_file_and_no_host(page: str) -> None:
    elements = _Elements()
    elements.feed(page)
    assert elements.open == []
    assert not {tag for tag, _ in elements.found} & {"script", "link", "img", "iframe", "object"}
    for _, attributes in elements.found:
        assert not {"src", "href", "onclick", "onload", "style"} & attributes.keys()
    assert not re.search(r"https?://|url\(|@import", page)
    assert "prefers-color-scheme:dark" in page and "@media print" in page


def test_the_page_holds_pictures_tables_and_every_definition(page: str) -> None:
    assert page.count("<svg") == 1 and page.count("<table") >= 3
    assert all(f">{definition}</th>" in page for definition in DEFINITIONS)
    for words in ("payment_completed, EUR", "Credited value in EUR", "(unattributed)", "first_<wbr>touch"):
        assert words in page


def test_names_from_outside_are_escaped(shop: Settings) -> None:
    from dataclasses import replace

    from gtm_dagster.reports.credit_html import as_html
    from gtm_dagster.reports.credit_report import credit_report

    with reader(shop) as con:
        report = credit_report(con, PERIOD, shop, by="campaign")
    nasty = '<script>alert("x")</script>'
    rows = tuple(replace(row, label=nasty) for row in report.rows)
    assert "<script" not in as_html(replace(report, rows=rows, findings=(nasty,)))


LONG = "Größte Aktion – sehr lang " * 8


@pytest.mark.parametrize(
    ("label", "shown"),
    [
        pytest.param("brand", "brand*", id="a short name"),
        pytest.param(LONG, "Größte Aktion – sehr…*", id="of a long one the mark stays"),
        pytest.param("夏の大セール限定キャンペーン", "夏の大セール限定キャ…*", id="wide letters take two columns each"),
    ],
)
def test_few_conversions_are_marked_and_columns_stay_in_line(shop: Settings, label: str, shown: str) -> None:
    from dataclasses import replace

    from gtm_dagster.reports.credit_report import credit_report
    from gtm_dagster.reports.credit_text import as_text

    with reader(shop) as con:
        report = credit_report(con, PERIOD, shop, by="campaign")
    rows = tuple(replace(row, label=label, too_few=True) for row in report.rows)
    lines = [line for line in as_text(replace(report, rows=rows, findings=())).splitlines() if line.startswith(shown)]
    assert lines and all(cell_len(line) <= 80 for line in lines)
    assert all(line[len(shown)] == " " and cell_len(shown) <= 22 for line in lines)
    assert len({cell_len(line) for line in lines[: len(rows)]}) == 1


@pytest.mark.parametrize(
    ("name", "shown"),
    [("מבצע", "<bdi>מבצע</bdi> (11)"), ("brand", "brand (11)"), ("<עב>", "<bdi>&lt;עב&gt;</bdi> (11)")],
    ids=["Hebrew", "Latin", "escaped too"],
)
def test_a_name_turns_no_figure_of_its_sentence(name: str, shown: str) -> None:
    assert isolated_in_page(f"Too few to rank: {name} (11), x (9)", [name, "x"]) == f"Too few to rank: {shown}, x (9)"


@pytest.mark.slow
def test_other_definitions_are_what_a_rebuild_under_them_gives(shop: Settings, tmp_path: Path) -> None:
    with reader(shop) as con:
        (kind, *_), results = kinds(con, PERIOD), computed_results(con, shop)
    built = definition_results(shop, PLAN, PERIOD, kind, results, "channel", lambda step: None)
    assert [each.definition for each in built] == list(DEFINITIONS)
    for each in built:
        apart = deployment(tmp_path / each.definition, GTM_SESSIONS__DEFINITION=each.definition)
        again = definition_results(apart, PLAN, PERIOD, kind, results, "channel", lambda step: None)[0]
        assert again.sessions == each.sessions
        assert again.conversions.keys() == each.conversions.keys()
        for label, credit in again.conversions.items():
            assert credit == pytest.approx(each.conversions[label], abs=1e-9)
    assert list(shop.state_dir.glob("gtm-compare-*")) == [], "the copy is gone"


def test_a_warehouse_of_other_settings_is_not_compared(shop: Settings) -> None:
    with reader(shop) as con:
        (kind, *_), results = kinds(con, PERIOD), computed_results(con, shop)
    changed = load_settings(None, {"GTM_STATE_DIR": str(shop.state_dir), "GTM_PRIVACY__CONSENT": "off"})
    with pytest.raises(NotComparable, match="run `gtm refresh` first"):
        definition_results(changed, PLAN, PERIOD, kind, results, "channel", lambda step: None)
