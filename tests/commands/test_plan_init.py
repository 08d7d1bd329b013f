"""`gtm plan init`: from files of any format, from the quarantine, and empty."""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gtm_dagster.cli import run
from gtm_dagster.importing import ImportFailed
from gtm_dagster.importing.event_rows import EventRows
from gtm_dagster.taxonomy import load_plan
from gtm_dagster.taxonomy.plan_draft import PRODUCT_EVENTS

EVENTS: list[dict[str, Any]] = [
    {"event_name": "Order Completed", "properties": {"total": 12, "currency": "EUR", "gift": True}},
    {"event_name": "Order Completed", "properties": {"total": 12.5, "currency": "EUR", "coupon": "x"}},
    {"event_name": "page_view", "properties": {"path": "/"}},
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GTM_CONFIG", raising=False)
    monkeypatch.setenv("GTM_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("GTM_PRIVACY__CONSENT", "off") if _knows_consent() else None
    return tmp_path


def _knows_consent() -> bool:
    from gtm_dagster.settings import Privacy

    return "consent" in Privacy.__struct_fields__


def lines(events: list[dict[str, Any]]) -> bytes:
    return b"\n".join(json.dumps(event).encode() for event in events)


def full(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"event_id": str(n), "timestamp": "2026-01-01T00:00:00Z", "user_id": "u", **event} for n, event in enumerate(events)]  # fmt: skip


def write(folder: Path, name: str) -> Path:
    """EVENTS in the format of this name."""
    path = folder / name
    if name.endswith(".parquet"):
        pq.write_table(pa.Table.from_pylist(EVENTS), path)
    elif ".csv" in name:
        rows = [["event_name", "user_id", "properties"]] + [[e["event_name"], "u", json.dumps(e["properties"])] for e in EVENTS]  # fmt: skip
        text = "\n".join(",".join('"' + cell.replace('"', '""') + '"' for cell in row) for row in rows).encode()
        path.write_bytes(gzip.compress(text) if name.endswith(".gz") else b"\xef\xbb\xbf" + text)
    elif name.endswith(".json"):
        path.write_text(json.dumps(EVENTS))
    else:
        path.write_bytes(gzip.compress(lines(EVENTS)) if name.endswith(".gz") else lines(EVENTS))
    return path


@pytest.mark.parametrize("name", ["e.ndjson", "e.ndjson.gz", "e.json", "e.csv", "e.csv.gz", "e.parquet"])
def test_a_file_of_any_format_gives_the_same_plan(folder: Path, name: str) -> None:
    write(folder, name)
    assert run(["plan", "init", "--from", name, "--out", "own.yaml"]) == 0
    plan = load_plan(folder / "own.yaml")
    assert set(plan.events) == {"order_completed", "page_viewed", *PRODUCT_EVENTS}
    assert plan.aliases == {"Order Completed": "order_completed", "page_view": "page_viewed"}
    order = plan.events["order_completed"]
    assert {key: (rule.type, rule.required) for key, rule in order.properties.items()} == {
        "total": ("number", True),
        "currency": ("string", True),
        "gift": ("boolean", False),
        "coupon": ("string", False),
    }
    assert not order.additional


def test_what_was_seen_is_accepted_by_the_plan(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "e.ndjson").write_bytes(lines(full(EVENTS)))
    assert run(["plan", "init", "--from", "e.ndjson"]) == 0
    (folder / "gtm.toml").write_text(
        'plan_file = "plan.yaml"\nconversions = [{event = "Order Completed", value = "total"}]\n'
    )
    capsys.readouterr()
    assert run(["import", "e.ndjson", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["accepted"] == 3
    assert run(["doctor"]) == 0


def test_loose_columns_are_properties_and_the_answer_says_what_an_import_needs(folder: Path, capsys) -> None:
    (folder / "orders.csv").write_text(
        "action;user_id;total;paid;zip\nordered;u;12.50;true;01234\nordered;v;3;false;\n"
    )
    assert run(["plan", "init", "--from", "orders.csv", "--event-column", "action"]) == 0
    assert (
        "orders.csv: total, paid, zip became properties; an import takes them by a mapping" in capsys.readouterr().out
    )
    found = load_plan(folder / "plan.yaml").events["ordered"].properties
    assert {name: (rule.type, rule.required) for name, rule in found.items()} == {"total": ("number", True), "paid": ("boolean", True), "zip": ("string", False)}  # fmt: skip


def test_several_files_are_one_plan(folder: Path, capsys) -> None:
    (folder / "a.ndjson").write_text('{"event_name": "a"}\n\n{"user_id": "u"}\n')
    (folder / "b.ndjson").write_text('{"event": "b"}')
    assert run(["plan", "init", "--from", "a.ndjson", "b.ndjson", "--out", "-", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["file"], found["added"], found["seen"], found["notes"]) == (None, ["a", "b"], {"a": 1, "b": 1}, ["1 rows name no event"])  # fmt: skip
    assert not (folder / "plan.yaml").exists()


def test_refused_names_are_added_to_the_plan_in_force(folder: Path, capsys) -> None:
    plan = "# mine\nversion: 1-0-0\nevents:\n  bought:\n    properties:\n      total: {type: number}\n"
    (folder / "mine.yaml").write_text(plan)
    (folder / "gtm.toml").write_text('plan_file = "mine.yaml"\n')
    events = [
        *EVENTS,
        {"event_name": "Bought", "properties": {"total": 1}},
        {"event_name": "bought", "properties": {"total": 1, "colour": "red"}},
        {"event_name": "Thanks to ada@example.org"},
        {"event_name": "bought", "properties": {"total": 1}},
    ]
    (folder / "e.ndjson").write_bytes(lines(full(events)))
    assert run(["import", "e.ndjson"]) == 0
    capsys.readouterr()
    assert run(["plan", "init", "--from-quarantine", "--out", "next.yaml"]) == 0
    answer = capsys.readouterr().out
    assert "order_completed: seen 2 times" in answer
    assert "bought, properties.colour: refused once, the plan does not declare it" in answer
    assert "refused once for a name that is not kept" in answer
    text = (folder / "next.yaml").read_text()
    assert text.startswith("# mine\nversion: 1-0-1\n") and "ada@" not in text
    found = load_plan(folder / "next.yaml")
    assert set(found.events) == {"bought", "order_completed", "page_viewed"}
    assert found.aliases == {"Order Completed": "order_completed", "page_view": "page_viewed", "Bought": "bought"}
    assert run(["plan", "check", "next.yaml"]) == 0
    (folder / "gtm.toml").write_text('plan_file = "next.yaml"\n')
    assert run(["import", "e.ndjson", "--write-key", "again", "--json"]) == 0
    assert run(["plan", "init", "--from-quarantine", "--out", "third.yaml"]) == 1
    assert "holds no event of a name that the plan does not know" in capsys.readouterr().err


def test_without_a_source_a_starter_is_written_and_nothing_is_replaced(folder: Path, capsys) -> None:
    assert run(["plan", "init"]) == 0
    assert 'plan_file = "plan.yaml"' in capsys.readouterr().out
    (folder / "plan.yaml").write_text("mine")
    assert run(["plan", "init"]) == 2
    assert "plan.yaml: is there already" in capsys.readouterr().err
    assert (folder / "plan.yaml").read_text() == "mine"
    assert run(["plan", "init", "--force"]) == 0
    (folder / "gtm.toml").write_text('plan_file = "plan.yaml"\n')
    assert run(["doctor"]) == 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--from", "nope.csv"], 1, "nope.csv: cannot be read (No such file or directory)"),
        (["--from", "a.xlsx"], 1, "its name does not show its format"),
        (["--from", "names.csv"], 1, "names.csv: has no column event_name or event (its columns: a, b); name the one"),
        (["--from", "names.csv", "--event-column", "c"], 1, "has no column c"),
        (["--from", "broken.ndjson"], 1, "broken.ndjson: line 2 is not JSON"),
        (["--from", "latin.csv"], 1, "latin.csv: cannot be read ('utf-8' codec"),
        (["--from", "half.parquet"], 1, "half.parquet: is not a whole Parquet file"),
        (["--from", "names.csv", "--from-quarantine"], 2, "--from and --from-quarantine: choose one of them"),
        (["--from-quarantine"], 1, "the quarantine holds no event of a name that the plan does not know"),
        (["--out", "no/such/folder.yaml"], 1, "cannot be written (No such file or directory)"),
    ],
)
def test_what_cannot_be_done_is_one_line(folder: Path, capsys, arguments: list[str], code: int, message: str) -> None:
    (folder / "a.xlsx").write_text("PK")
    (folder / "names.csv").write_text("a,b\n1,2\n")
    (folder / "broken.ndjson").write_text('{"event_name": "a"}\n{"event_na\n')
    (folder / "latin.csv").write_bytes("event\ncaf\xe9\n".encode("latin-1"))
    (folder / "half.parquet").write_bytes(b"PAR1 and no more")
    assert run(["plan", "init", *arguments]) == code
    answer = capsys.readouterr().err
    assert message in answer and answer.count("\n") == 1
    assert not (folder / "plan.yaml").exists()


def test_cells_of_parquet_are_what_json_has(folder: Path) -> None:
    from datetime import UTC, datetime
    from decimal import Decimal

    table = pa.table(
        {
            "event": ["a"],
            "at": [datetime(2026, 1, 1, tzinfo=UTC)],
            "sum": [Decimal("1.50")],
            "rate": [float("nan")],
            "tags": pa.array([[("k", "v")]], pa.map_(pa.string(), pa.string())),
        }
    )
    pq.write_table(table, folder / "e.parquet")
    assert list(EventRows(folder / "e.parquet")) == [("a", {"at": "2026-01-01 00:00:00+00:00", "sum": 1.5, "tags": {"k": "v"}})]  # fmt: skip


def test_a_file_without_rows_names_nothing(folder: Path) -> None:
    (folder / "e.csv").write_text("")
    with pytest.raises(ImportFailed, match=r"has no column event_name or event \(its columns: none\)"):
        list(EventRows(folder / "e.csv"))
