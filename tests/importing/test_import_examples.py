"""The mappings in examples/ on small files in the layouts they document."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from gtm_dagster.importing import ImportFailed, import_file, load_mapping
from gtm_dagster.privacy.consent import OFF
from gtm_dagster.privacy.pseudonyms import Pseudonymizer
from gtm_dagster.privacy.sealing import Sealer
from gtm_dagster.settings import load_settings
from gtm_dagster.taxonomy import load_plan
from gtm_dagster.warehouse.landing import Landing

EXAMPLES = Path(__file__).parents[2] / "examples"
KEY = b"k" * 32


def rows_of(tmp_path: Path, example: str, mapping: str, text: str) -> list[dict]:
    folder = EXAMPLES / example
    settings = load_settings(folder / "gtm.toml", {"GTM_STATE_DIR": str(tmp_path / "state")})
    path = tmp_path / "data.csv"
    path.write_text(text)
    result = import_file(
        path, landing=Landing(settings.landing_dir), plan=load_plan(settings.plan_file), pseudonymize=Pseudonymizer(KEY), sealer=Sealer(KEY),
        write_key="import", mapping=load_mapping(folder / mapping), consent=OFF,
    )  # fmt: skip
    files = Landing(settings.landing_dir).files()
    rows = [row for file in files for row in pq.ParquetFile(file.path).read().to_pylist()]
    assert result.read == len(rows)
    return sorted(rows, key=lambda row: row["row_no"])


def test_a_shop_row_keeps_its_channel_and_device(tmp_path: Path) -> None:
    header = "user_id,session_id,event,timestamp,platform,acquisition_channel,user_cohort,user_lifecycle\n"
    text = header + "u1,s1,home,2024-03-13 10:21:14,desktop,paid_search,2024-01,returning\n"
    text += "u2,s2,purchase,2024-03-13 10:21:14,mobile,direct,2024-01,new\n"
    first, second = rows_of(tmp_path, "ecom", "mapping.toml", text)
    assert (first["verdict"], first["source"], first["medium"]) == ("accepted", "paid_search", "cpc")
    assert (first["device_type"], first["event_us"]) == ("web", 1_710_325_274_000_000)
    assert (second["source"], second["medium"], second["device_type"]) == ("direct", None, "mobile")
    assert first["user_id"] == Pseudonymizer(KEY)("u1")


def test_short_session_rows_are_padded_and_hours_need_no_zero(tmp_path: Path) -> None:
    header = "session_id,customer_id,started_at,ended_at,utm_source,utm_medium,utm_campaign\n"
    text = header + "1,7,2020-02-01 12:55:16,2020-02-01 12:55:47,bing,search,spring\n"
    text += "2,8,2020-02-04 0:40:51,2020-02-04 0:41:00,google,search\n"
    first, second = rows_of(tmp_path, "sessions", "mapping.toml", text)
    session_id = Pseudonymizer(KEY)("1")
    assert (first["verdict"], first["campaign"], first["session_id"]) == ("accepted", "spring", session_id)
    assert (second["verdict"], second["campaign"], second["event_us"]) == ("accepted", None, 1_580_776_851_000_000)


def test_a_conversion_becomes_a_payment(tmp_path: Path) -> None:
    text = "customer_id,converted_at,revenue\n1170,2020-02-03 14:20:08,15\n"
    (row,) = rows_of(tmp_path, "sessions", "conversions.toml", text)
    assert (row["verdict"], row["event_name"], row["device_type"]) == ("accepted", "payment_completed", "api")
    assert json.loads(row["properties"]) == {"amount": 15, "currency": "USD"}


def test_equal_transactions_stay(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, "cdnow", "mapping.toml", "customer_id,date,n_cds,amount\n" + "1,2001-01-01,1,11.77\n" * 2)
    assert [row["verdict"] for row in rows] == ["accepted", "accepted"]
    assert len({row["event_id"] for row in rows}) == 2
    assert json.loads(rows[0]["properties"]) == {"amount": 11.77, "currency": "USD", "quantity": 1}


def test_a_mapping_for_another_file_names_the_columns_it_misses(tmp_path: Path) -> None:
    with pytest.raises(ImportFailed, match="reads column n_cds; the file has customer_id, date, amount"):
        rows_of(tmp_path, "cdnow", "mapping.toml", "customer_id,date,amount\n1,2001-01-01,2\n")


@pytest.mark.slow  # a dozen commands, each a program of its own
def test_the_life_of_an_import_runs_as_written(tmp_path: Path) -> None:
    """docs/import.md: the files of the section as they stand there, its commands in a shell."""
    page = (EXAMPLES.parent / "docs" / "import.md").read_text()
    section = page[page.index("## The life of an import") :]
    for name, content in re.findall(r"^```\w+ (\S+\.\w+)\n(.*?)^```", section, re.M | re.S):
        (tmp_path / name).write_text(content)
    commands = "".join(re.findall(r"^```sh\n(.*?)^```", section, re.M | re.S))
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "gtm").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m gtm_dagster.cli "$@"\n')
    (programs / "gtm").chmod(0o755)
    environ = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "GTM_STATE_DIR": str(tmp_path / "state")}
    done = subprocess.run(
        ["sh", "-e", "-c", commands],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "lands as" in done.stdout and "nothing was rejected" in done.stderr
    assert "4 ids are known with other content" in done.stdout
    assert ",165.0\n" in done.stdout


def test_the_german_export_lands_as_written(tmp_path: Path) -> None:
    """docs/import.md, "Numbers and quotes": the file and the mapping as they stand there."""
    page = (EXAMPLES.parent / "docs" / "import.md").read_text()
    section = page[page.index("## Numbers and quotes") : page.index("## Large files")]
    for name, content in re.findall(r"^```\w+ (\S+\.\w+)\n(.*?)^```", section, re.M | re.S):
        (tmp_path / name).write_text(content)
    landing = Landing(tmp_path / "landing")
    result = import_file(
        tmp_path / "bestellungen.csv", landing=landing, plan=load_plan(), pseudonymize=Pseudonymizer(KEY), sealer=Sealer(KEY),
        write_key="import", mapping=load_mapping(tmp_path / "bestellungen.toml"),
    )  # fmt: skip
    assert (result.accepted, result.quarantined, result.hints) == (3, 0, ())
    rows = sorted(
        (row for path in result.files for row in pq.read_table(path).to_pylist()), key=lambda row: row["row_no"]
    )
    assert [json.loads(row["properties"])["amount"] for row in rows] == [12.5, 1234.5, 1234]
    assert {json.loads(row["properties"])["currency"] for row in rows} == {"EUR"}
    assert [row["campaign"] for row in rows] == ['Aktion "Frühling"', None, None]
    assert [row["event_us"] - rows[0]["event_us"] for row in rows] == [0, 60_000_000, 120_000_000]


def test_the_mapping_of_the_page_is_a_mapping(tmp_path: Path) -> None:
    page = (EXAMPLES.parent / "docs" / "import.md").read_text()
    section = page[page.index("## Mapping") : page.index("## Times")]
    (tmp_path / "m.toml").write_text(section[section.index("```toml\n") + 8 : section.rindex("```")])
    mapping = load_mapping(tmp_path / "m.toml")
    assert mapping.properties["currency"].values == {"eur": "EUR"}
    assert len(mapping.event_rules()) == 2
