"""`gtm report attribution`: models of the same events side by side, nothing unlike added, findings that are true."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from report_traffic import FIRST, LAST, WINDOWS, deployment

from gtm_dagster.cli import run
from gtm_dagster.reports.credit_json import result_rows
from gtm_dagster.reports.credit_report import CreditReport, ReportError, credit_report
from gtm_dagster.reports.credit_text import COLUMNS, as_text
from gtm_dagster.reports.findings import findings
from gtm_dagster.settings import Settings
from gtm_dagster.warehouse.figures.period import Period, PeriodError, period_of
from gtm_dagster.warehouse.serving import query, reader

ALL = Period(date.fromisoformat(FIRST), date.fromisoformat(LAST))


@pytest.fixture(scope="module")
def euros(shop: Settings) -> CreditReport:
    with reader(shop) as con:
        return credit_report(con, ALL, shop, before=True)


@pytest.fixture
def gtm(shop: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator:  # type: ignore[type-arg]
    monkeypatch.setenv("GTM_STATE_DIR", str(shop.state_dir))
    monkeypatch.setenv("GTM_ATTRIBUTION__WINDOWS", WINDOWS)
    monkeypatch.setenv("GTM_CONFIG", "")
    monkeypatch.delenv("GTM_CONFIG")
    monkeypatch.chdir(shop.state_dir)

    def call(line: str) -> tuple[int, str, str]:
        code = run(shlex.split(line))
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call  # type: ignore[return-value]


def test_the_most_frequent_kind_is_reported_and_the_others_are_named(euros: CreditReport) -> None:
    assert str(euros.kind) == "payment_completed, EUR"
    assert [(str(each), each.conversions) for each in euros.other_kinds] == [("payment_completed, USD", 16)]


def test_every_result_adds_up_to_the_conversions_and_the_value_of_the_kind(shop: Settings, euros: CreditReport) -> None:
    ((n, value),) = query(shop, "SELECT count(*), sum(value) FROM core.conversions WHERE currency = 'EUR'")[1]
    for result in range(len(euros.results)):
        assert sum(row.conversions[result].estimate for row in euros.rows) == pytest.approx(n, abs=1e-9)
        assert sum(row.value[result].estimate for row in euros.rows) == pytest.approx(value, abs=1e-6)


def test_rows_are_those_of_the_channel_table(shop: Settings, euros: CreditReport) -> None:
    table = query(
        shop,
        "SELECT channel, model, sum(conversions) FROM marts.channel_attribution WHERE currency = 'EUR' GROUP BY ALL",
    )[1]
    found = {
        (row.label, result.model): row.conversions[i].estimate
        for row in euros.rows
        for i, result in enumerate(euros.results)
        if row.conversions[i].estimate
    }
    assert found == pytest.approx({(channel, model): credit for channel, model, credit in table if credit})


def test_intervals_hold_their_estimate_and_what_nobody_earned_is_a_row(euros: CreditReport) -> None:
    for row in euros.rows:
        for each in (*row.conversions, *row.value):
            assert each.low <= each.estimate + 1e-9 and each.estimate <= each.high + 1e-9
    assert {row.label: row.conversions[0].estimate for row in euros.rows}["(unattributed)"] == 2


def test_gross_and_net_stand_side_by_side_and_the_refund_is_taken_off_its_own_conversion(euros: CreditReport) -> None:
    assert euros.refunds and euros.kind.refunded == 21
    for result in range(3):
        gross, net = (sum(getattr(row, name)[result].estimate for row in euros.rows) for name in ("value", "net_value"))
        assert gross - net == pytest.approx(21)
    text = as_text(euros)
    assert "of which 21.00 were given back" in text and "net of what was given back" in text


def test_spend_gives_cpa_and_roas_where_they_are_defined(euros: CreditReport) -> None:
    rows = {row.label: row for row in euros.rows}
    search, display, direct = rows["Paid Search"], rows["Display"], rows["Direct"]
    assert (search.spend, display.spend, direct.spend) == (100, 50, None)
    assert search.cpa[0] == pytest.approx(100 / 144) and search.cpa[1] is None, "last_touch gives it no conversion"
    assert search.roas[0] == pytest.approx(search.value[0].estimate / 100)
    assert display.cpa == (None, None, None) and display.roas == (0, 0, 0)
    assert direct.cpa == (None, None, None) and direct.roas == (None, None, None)
    assert "Display costs 50.00 EUR and has no conversion by any model." in findings(euros)
    assert "Spend in EUR, and what a conversion costs (CPA)" in as_text(euros)


def test_spend_of_a_whole_channel_is_no_campaigns(shop: Settings) -> None:
    with reader(shop) as con:
        report = credit_report(con, ALL, shop, by="campaign")
    spent = {row.label: row.spend for row in report.rows if row.spend is not None}
    assert spent == {"c0": 100, "(spend not by campaign)": 50}


@pytest.mark.parametrize(
    "sentence",
    [
        "Paid Search gets 0 conversions by last_touch and 144 by first_touch: it opens more than it closes; the difference "
        "is beyond chance.",
        "Direct gets 112 conversions by last_touch and 0 by first_touch: it closes more than it opens; the difference is "
        "beyond chance.",
        "Affiliates: too few conversions (3) to rank.",
        "Nobody earned 1 % of the conversions: no touch in the window before them.",
        "The first place depends on the model: Paid Search by first_touch and linear; Direct by last_touch.",
        "The period before (2025-11-22 to 2025-12-31) is not compared: conversions begin on 2026-01-10.",
    ],
)
def test_findings_say_what_the_traffic_was_made_to_be(euros: CreditReport, sentence: str) -> None:
    assert sentence in findings(euros)


def test_a_period_that_went_before_is_compared_in_the_same_words(shop: Settings) -> None:
    with reader(shop) as con:
        report = credit_report(con, Period(date(2026, 1, 25), date(2026, 2, 8)), shop, before=True)
    sentences = [each for each in findings(report) if "period before" in each]
    assert sentences == ["No channel differs from the period before (2026-01-10 to 2026-01-24) beyond chance."]


def test_data_driven_models_are_shown_by_whole_months_with_intervals(shop: Settings, euros: CreditReport) -> None:
    assert [each.result.model for each in euros.solved] == ["markov", "shapley"]
    for solved in euros.solved:
        assert (solved.first_month, solved.last_month) == (date(2026, 1, 1), date(2026, 2, 1))
        table = dict(
            query(
                shop,
                f"SELECT channel, sum(conversions) FROM marts.data_driven_attribution WHERE currency = 'EUR' "
                f"AND model = '{solved.result.model}' GROUP BY 1",
            )[1]
        )
        assert dict(zip(solved.labels, solved.conversions[:, 0], strict=True)) == pytest.approx(table)
        assert solved.conversions[:, 0].sum() == pytest.approx(149) and solved.value is not None
        search = solved.conversions[solved.labels.index("Paid Search")]
        assert 40 < search[1] < search[0] < search[2] < 110
    assert "markov, 480 h credits conversions by whole months: 2026-01 to 2026-02" in as_text(euros)


@pytest.mark.parametrize("by", ["channel", "source", "campaign"])
def test_text_keeps_to_80_columns_and_pages_hold_every_model(shop: Settings, by: str) -> None:
    with reader(shop) as con:
        text = as_text(credit_report(con, ALL, shop, by=by))  # type: ignore[arg-type]
    assert max(map(len, text.splitlines())) <= COLUMNS
    assert all(model in text for model in ("first_touch", "last_touch", "linear", "(unattributed)"))


def test_campaigns_have_rows_of_their_own(shop: Settings) -> None:
    with reader(shop) as con:
        report = credit_report(con, ALL, shop, by="campaign")
    assert {row.label for row in report.rows if row.persons} == {"c0", "c1", "c2", "(none)", "(unattributed)"}


def test_json_is_one_document_with_every_result(gtm) -> None:  # type: ignore[no-untyped-def]
    code, out, _ = gtm(f"report attribution --since {FIRST} --until {LAST} --currency usd --json")
    document = json.loads(out)
    assert code == 0 and (document["conversion_type"], document["currency"]) == ("payment_completed", "USD")
    assert sum(row["results"][0]["conversions"] for row in document["rows"]) == pytest.approx(16)
    assert {"spend", "too_few", "channel"} <= document["rows"][0].keys()
    assert document["rows"][0]["spend"] is None and document["rows"][0]["results"][0]["cpa"] is None, "spend is in EUR"


def test_csv_has_a_line_a_row_and_result_that_adds_up(euros: CreditReport) -> None:
    rows = result_rows(euros)
    assert len(rows) == len(euros.rows) * len(euros.results)
    linear = [row["conversions"] for row in rows if row["model"] == "linear"]
    assert sum(linear) == pytest.approx(euros.kind.conversions)
    assert {(row["conversion_type"], row["currency"]) for row in rows} == {("payment_completed", "EUR")}
    assert len({tuple(row) for row in rows}) == 1, "one set of columns"


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ("--since yesterday", 2, "--since: 'yesterday' is no day; write 2026-11-01, 30d or 4w"),
        (f"--since {LAST} --until {FIRST}", 2, "lies after 2026-01-01, the last day"),
        (f"--since {FIRST} --until {LAST} --type lead_created", 1, "lead_created: none from"),
        ("--since 2020-01-01 --until 2020-01-02", 1, "no conversion from 2020-01-01 to 2020-01-02"),
    ],
)
def test_what_cannot_be_reported_says_why(gtm, line: str, code: int, words: str) -> None:  # type: ignore[no-untyped-def]
    found, out, err = gtm(f"report attribution {line}")
    assert (found, out) == (code, "") and words in err


def test_a_held_back_model_is_named_with_its_reason(tmp_path: Path) -> None:
    settings = deployment(tmp_path, GTM_ATTRIBUTION__MIN_HISTORY_DAYS="300")
    with reader(settings) as con:
        report = credit_report(con, ALL, settings)
    assert [each.model for each in report.not_computed] == ["linear", "markov", "shapley"]
    assert any(
        each.startswith("Not computed: linear 480 h, markov 480 h and shapley 480 h: ") for each in findings(report)
    )


@pytest.mark.parametrize(
    ("since", "until", "expected"),
    [
        ("30d", None, "2026-10-31 to 2026-11-29"),
        ("1d", None, "2026-11-29 to 2026-11-29"),
        ("4w", "2026-11-01", "2026-10-05 to 2026-11-01"),
        ("2026-11-01", None, "2026-11-01 to 2026-11-29"),
    ],
)
def test_periods(since: str, until: str | None, expected: str) -> None:
    period = period_of(since, until, date(2026, 11, 29))
    assert str(period) == expected and period.before.days == period.days


@pytest.mark.parametrize("since", ["0d", "d", "30", "2026-13-01", "99999w", "1812-06-24", ""])
def test_what_is_no_period_is_refused(since: str) -> None:
    with pytest.raises(PeriodError):
        period_of(since, None, date(2026, 11, 29))


def test_no_computed_model_is_an_error_that_says_where_to_look(shop: Settings, tmp_path: Path) -> None:
    with reader(shop) as con, pytest.raises(ReportError, match="there are: payment_completed, EUR"):
        credit_report(con, ALL, shop, currency="CHF")
