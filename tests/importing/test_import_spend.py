"""Daily ad spend: which rows land, why others do not, and which import counts."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gtm_dagster.importing import ImportFailed, ImportResult
from gtm_dagster.importing.mapping import MappingError
from gtm_dagster.importing.spend import import_spend
from gtm_dagster.importing.spend_mapping import load_spend_mapping
from gtm_dagster.warehouse.landing.landed_spend import SpendLanding

HEADER = "day,source,medium,campaign,currency,cost,impressions,clicks\n"
GOOD = "2026-03-02,google,CPC,spring,EUR,12.50,1000,30\n"


def run(folder: Path, text: str | bytes, mapping: str | None = None, **options: object) -> ImportResult:
    file, rules = folder / "spend.csv", folder / "mapping.toml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    rules.write_text(mapping or "")
    loaded = load_spend_mapping(rules) if mapping else None
    return import_spend(file, landing=SpendLanding(folder), mapping=loaded, **{"write_key": "ads", **options})  # type: ignore[arg-type]


def spend(folder: Path) -> list[tuple]:
    landing = SpendLanding(folder)
    rows = [
        row for name in sorted(landing.names(), key=landing.imported_us) for row in landing.rows_in(name).to_pylist()
    ]
    return [(row["day"].isoformat(), row["source"], row["cost"], row["clicks"]) for row in rows]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        pytest.param("02.03.2026,google,cpc,,EUR,1,,\n", ("bad_day", "day"), id="a day in another form"),
        pytest.param("2026-02-30,google,cpc,,EUR,1,,\n", ("bad_day", "day"), id="no such day"),
        pytest.param("1026-02-20,google,cpc,,EUR,1,,\n", ("bad_day", "day"), id="a day long ago"),
        pytest.param("2026-03-02,,cpc,,EUR,1,,\n", ("missing", "source"), id="no source"),
        pytest.param("2026-03-02,google,cpc,,euro,1,,\n", ("bad_currency", "currency"), id="no ISO code"),
        pytest.param("2026-03-02,google,cpc,,EUR,-1,,\n", ("negative", "cost"), id="a cost below 0"),
        pytest.param("2026-03-02,google,cpc,,EUR,nan,,\n", ("not_a_number", "cost"), id="a cost that is no number"),
        pytest.param("2026-03-02,google,cpc,,EUR,1e999,,\n", ("not_a_number", "cost"), id="a cost without end"),
        pytest.param('2026-03-02,google,cpc,,EUR,"1,5",,\n', ("not_a_number", "cost"), id="a decimal comma without a mapping"),
        pytest.param("2026-03-02,google,cpc,,EUR,1,2.5,\n", ("not_a_number", "impressions"), id="half an impression"),
        pytest.param("2026-03-02,google,cpc,,EUR,1,1,1,1\n", ("ragged", ""), id="a field too many"),
        pytest.param("2026-03-02,google,cpc,me@example.com,EUR,1,,\n", ("personal_data", "campaign"), id="an address"),
    ],
)  # fmt: skip
def test_a_row_that_is_no_spend_is_refused_with_its_field(tmp_path: Path, row: str, reason: tuple[str, str]) -> None:
    result = run(tmp_path, HEADER + GOOD + row)
    assert (result.read, result.accepted, result.quarantined) == (2, 1, 1)
    assert [(found.code, found.path, found.rows) for found in result.reasons] == [(*reason, (2,))]
    assert spend(tmp_path) == [("2026-03-02", "google", 12.5, 30)]


def test_every_import_stays_as_it_came_and_the_same_file_lands_once(tmp_path: Path) -> None:
    run(tmp_path, HEADER + GOOD + "2026-03-03,google,cpc,spring,EUR,5,,\n")
    again = HEADER + GOOD.replace("12.50", "10") + GOOD.replace("12.50", "4")
    second = run(tmp_path, again)
    assert run(tmp_path, again).known_before
    first = [("2026-03-02", "google", 12.5, 30), ("2026-03-03", "google", 5.0, None)]
    assert spend(tmp_path) == [*first, ("2026-03-02", "google", 10.0, 30), ("2026-03-02", "google", 4.0, 30)]
    SpendLanding(tmp_path).withdraw(second.name, by="me", reason="half a day")
    assert spend(tmp_path) == first


@pytest.mark.parametrize(
    ("row", "reasons"),
    [
        pytest.param("2026-03-02,,,,Display,EUR,1,\n", [], id="a channel stands for a source"),
        pytest.param("2026-03-02,google,,,,EUR,1,America/New_York\n", [], id="a day of the account's time zone"),
        pytest.param("2026-03-02,,cpc,,Display,EUR,1,\n", [("missing", "source")], id="a medium of no source"),
        pytest.param("2026-03-02,,,spring,Display,EUR,1,\n", [("missing", "source")], id="a campaign of no source"),
        pytest.param("2026-03-02,,,,,EUR,1,\n", [("missing", "source")], id="neither source nor channel"),
        pytest.param("2026-03-02,google,,,,EUR,1,Mars/Base\n", [("bad_timezone", "timezone")], id="no time zone"),
        pytest.param("2026-03-02,google,,,,EUR,1,../x\n", [("bad_timezone", "timezone")], id="a path is no time zone"),
    ],
)
def test_source_channel_and_time_zone(tmp_path: Path, row: str, reasons: list[tuple[str, str]]) -> None:
    result = run(tmp_path, "day,source,medium,campaign,channel,currency,cost,timezone\n" + row)
    assert [(found.code, found.path) for found in result.reasons] == reasons
    assert len(spend(tmp_path)) == (0 if reasons else 1)


def test_a_mapping_names_columns_constants_and_notation(tmp_path: Path) -> None:
    mapping = """
delimiter = ";"
decimal = ","
thousands = "."
day_format = "%d.%m.%Y"
[columns]
day = "Tag"
cost = "Kosten"
campaign = "Kampagne"
[constants]
source = "bing"
currency = "EUR"
"""
    result = run(tmp_path, "Tag;Kampagne;Kosten;Konto\n02.03.2026;a;1.234,50;x\n", mapping)
    assert (result.accepted, result.ignored) == (1, ("Konto",))
    assert spend(tmp_path) == [("2026-03-02", "bing", 1234.5, None)]


TITLES = "Kampagnenbericht\n1. Oktober 2026 - 31. Oktober 2026\n"
AS_META = """
[columns]
day = "Reporting starts"
last_day = "Reporting ends"
cost = "Amount spent (EUR)"
[constants]
source = "facebook"
currency = "EUR"
"""
META = "Reporting starts,Reporting ends,Campaign name,Amount spent (EUR)\n2026-03-02,2026-03-02,été,10\n"


@pytest.mark.parametrize(
    ("text", "mapping", "landed", "codes"),
    [
        pytest.param(TITLES + HEADER + GOOD, None, 1, [], id="titles before the header"),
        pytest.param("\n" + TITLES + "\n" + HEADER + GOOD, None, 1, [], id="titles with empty lines between"),
        pytest.param("sep=;\n" + (HEADER + GOOD).replace(",", ";"), None, 1, [], id="a first line of Excel"),
        pytest.param('"sep=\t"\r\n' + (HEADER + GOOD).replace(",", "\t"), None, 1, [], id="quoted, with tabs"),
        pytest.param(HEADER + GOOD + "Total,google,,,EUR,99,,\n", None, 1, ["bad_day"], id="a last row of totals"),
        pytest.param(META, AS_META, 1, [], id="first and last day are one"),
        pytest.param(META + "2026-03-02,2026-03-31,,310\n", AS_META, 1, ["several_days"], id="a total of a month"),
        pytest.param(META + "2026-03-03,March,,310\n", AS_META, 1, ["bad_day"], id="a last day that is none"),
        pytest.param(META + "2026-03-03,,x,5\n", AS_META, 2, [], id="no last day"),
    ],
)
def test_exports_of_ad_platforms(tmp_path: Path, text: str, mapping: str | None, landed: int, codes: list[str]) -> None:
    result = run(tmp_path, text, mapping)
    assert ([reason.code for reason in result.reasons], len(spend(tmp_path))) == (codes, landed)


@pytest.mark.parametrize(
    ("text", "mapping", "words"),
    [
        pytest.param(HEADER.replace(",", ";"), None, 'delimiter = ";" in the mapping', id="semicolons"),
        pytest.param(HEADER.replace(",", "\t"), None, 'delimiter = "\\t" in the mapping', id="tabs"),
        pytest.param("a,b\n", None, "Map them with --mapping", id="other names"),
        pytest.param("a,b\n", AS_META, "has no column Reporting starts, Reporting ends, Amount spent (EUR); it has a, b. [columns] of the mapping", id="names the mapping does not have"),
        pytest.param("\n\n", None, "is empty; export it again", id="empty lines"),
    ],
)  # fmt: skip
def test_a_missing_column_says_what_may_help(tmp_path: Path, text: str, mapping: str | None, words: str) -> None:
    with pytest.raises(ImportFailed) as failed:
        run(tmp_path, text, mapping)
    assert words in str(failed.value)


def test_parquet_lands_like_csv_and_a_dry_run_does_not(tmp_path: Path) -> None:
    table = pa.table(
        {"day": [date(2026, 3, 2)], "source": ["google"], "currency": ["EUR"], "cost": [12.5], "clicks": [30]}
    )
    pq.write_table(table, tmp_path / "file.parquet")
    data = (tmp_path / "file.parquet").read_bytes()
    assert run(tmp_path, data, dry_run=True).events[0]["cost"] == 12.5 and spend(tmp_path) == []
    assert run(tmp_path, data).accepted == 1 and spend(tmp_path) == [("2026-03-02", "google", 12.5, 30)]


def test_what_cannot_be_used_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ImportFailed, match="has no column currency, cost; it has day, source"):
        run(tmp_path, "day,source\n")
    with pytest.raises(ImportFailed, match="write key"):
        run(tmp_path, HEADER, write_key="a:b")
    with pytest.raises(MappingError, match=r"columns\.costs: not a field of spend"):
        run(tmp_path, HEADER, '[columns]\ncosts = "x"\n')
