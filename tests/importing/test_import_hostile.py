"""Odd lines, odd Parquet types and failing disks: a reason for every row, or nothing landed."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gtm_dagster.importing import ImportFailed, ImportResult, import_file, load_mapping
from gtm_dagster.privacy.consent import OFF
from gtm_dagster.privacy.pseudonyms import Pseudonymizer
from gtm_dagster.privacy.sealing import Sealer
from gtm_dagster.settings import load_settings
from gtm_dagster.taxonomy import load_plan
from gtm_dagster.warehouse.landing import Landing

KEY = b"k" * 32
PLAN = load_plan()
TIME = "2026-01-01T10:00:00Z"
HEADER = "event_id,event_name,timestamp,user_id,properties\n"
ROW = f"e1,page_viewed,{TIME},u,\n"
TWO = {
    "event_name": pa.array(["page_viewed"] * 2),
    "timestamp": pa.array([datetime(2026, 1, 1, tzinfo=UTC)] * 2, pa.timestamp("ns", "UTC")),
    "user_id": pa.array(["u", "v"]),
}


def run_import(path: Path, mapping: Path | None = None) -> ImportResult:
    settings = load_settings(None, {"GTM_STATE_DIR": str(path.parent / "state")})
    return import_file(
        path,
        landing=Landing(settings.landing_dir),
        consent=OFF,
        plan=PLAN,
        pseudonymize=Pseudonymizer(KEY),
        sealer=Sealer(KEY),
        write_key="dev",
        mapping=load_mapping(mapping) if mapping else None,
    )


def landed(folder: Path) -> list[dict]:
    files = Landing(folder / "state" / "landing").files()
    rows = (row for file in files for row in pq.ParquetFile(file.path).read().to_pylist())
    return sorted(rows, key=lambda row: row["row_no"])


def line(**changes: object) -> str:
    event = {"event_id": "a", "event_name": "page_viewed", "timestamp": TIME, "user_id": "u", **changes}
    return json.dumps(event, separators=(",", ":"))


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (line(user_id="u\x00"), "nul"),
        ("\x00", "invalid_json"),
        (line(event_id="\ud800"), "lone_surrogate"),
        ("[" * 100_000, "too_deep"),
        ('{"a":' * 5_000 + "1" + "}" * 5_000, "too_deep"),
        (line(properties={"path": float("nan")}), "invalid_json"),
        (line(user_id=10**30), "type"),
        (line(user_id="x" * 1_000_000), "too_long"),
        (line(event_id=5), "type"),
        (line(context=[1]), "type"),
        (line(timestamp="NaN"), "bad_timestamp"),
        (line(timestamp="30000-01-01T00:00:00Z"), "bad_timestamp"),
        ("null", "type"),
    ],
    ids=["NUL", "NUL line", "lone surrogate", "deep list", "deep object", "NaN", "huge integer", "1 MB", "id 5", "context", "NaN time", "year 30000", "null"],
)  # fmt: skip
def test_a_hostile_line_is_quarantined_beside_a_good_one(tmp_path: Path, text: str, code: str) -> None:
    path = tmp_path / "e.ndjson"
    path.write_text(line(event_id="good") + "\n" + text + "\n", encoding="utf-8")
    result = run_import(path)
    assert (result.read, result.accepted, result.quarantined) == (2, 1, 1)
    bad = landed(tmp_path)[1]
    assert code in bad["reason_codes"].split(",")
    (sealed,) = tmp_path.rglob("sealed/*/*.parquet")
    (original,) = pq.ParquetFile(sealed).read().to_pylist()
    assert len(Sealer(KEY).open(original["sealed"])) >= len(text)


@pytest.mark.parametrize("arrived", ["soon", 5, "30000-01-01T00:00:00Z", "1970-01-01T00:00:00Z"])
def test_an_arrival_that_is_no_time_becomes_the_time_of_the_import(tmp_path: Path, arrived: object) -> None:
    path = tmp_path / "e.ndjson"
    path.write_text(line(received_at=arrived))
    assert run_import(path).accepted == 1
    assert landed(tmp_path)[0]["received_us"] > 1_700_000_000_000_000


def test_an_arrival_in_the_row_is_kept_in_every_form(tmp_path: Path) -> None:
    (tmp_path / "e.ndjson").write_text(line(received_at="2026-01-02T00:00:00+01:00"))
    (tmp_path / "e.csv").write_text(
        f"event_name,timestamp,user_id,received_at\npage_viewed,{TIME},u,2026-01-02T00:00:00+01:00\n"
    )
    run_import(tmp_path / "e.ndjson")
    run_import(tmp_path / "e.csv")
    assert [row["received_us"] for row in landed(tmp_path)] == [1_767_308_400_000_000] * 2


@pytest.mark.parametrize(
    ("column", "values", "reasons"),
    [
        ("timestamp", pa.array([2**62, -(2**62)], pa.timestamp("us", "UTC")), ["timestamp_out_of_range"] * 2),
        ("timestamp", pa.array([2**52, -(2**52)], pa.timestamp("ms", "UTC")), ["timestamp_out_of_range"] * 2),
        ("timestamp", pa.array([1.5, float("nan")]), ["bad_timestamp"] * 2),
        ("timestamp", pa.array([datetime(2026, 1, 1)] * 2, pa.timestamp("us")), ["timestamp_without_offset"] * 2),  # noqa: DTZ001
        ("timestamp", pa.array([date(2026, 1, 1)] * 2), ["bad_timestamp"] * 2),
        ("user_id", pa.array([1, None], pa.int64()), [None, "missing_identity"]),
        ("event_name", pa.array(["page_viewed", "nope"]).dictionary_encode(), [None, "unknown_event"]),
        ("properties", pa.array([{"path": "/x"}, None]), [None, None]),
        ("properties", pa.array([{"x": None, "path": "/x"}, {"x": float("nan")}]), [None, "type"]),
        ("properties", pa.array(['{"path":"/x"}', '{"path":1}'], pa.large_string()), [None, "type"]),
    ],
    ids=[
        "far us",
        "far ms",
        "floats",
        "naive",
        "dates",
        "integer ids",
        "dictionary",
        "struct",
        "NaN in a struct",
        "large string",
    ],
)
def test_parquet_types_are_read_or_refused_with_a_reason(
    tmp_path: Path, column: str, values: pa.Array, reasons: list[str | None]
) -> None:
    path = tmp_path / "e.parquet"
    pq.write_table(pa.table(TWO | {column: values}), path)
    assert run_import(path).read == 2
    assert [row["reason_codes"] for row in landed(tmp_path)] == reasons


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("e.csv", (HEADER + ROW).encode("utf-16-le"), "NUL|not text"),
        ("e.csv", (HEADER + ROW).replace(",", ";").encode(), r"a mapping needs one line: delimiter = \";\""),
        ("e.csv", b"event\x00_id," + (HEADER + ROW).encode(), "header"),
        ("e.csv.gz", gzip.compress(gzip.compress((HEADER + ROW).encode())), "not utf-8"),
        ("e.csv.gz", (HEADER + ROW).encode(), "not gzip"),
        ("e.csv.gz", gzip.compress(b"")[:5], "cut off"),
        ("e.ndjson", line().encode() + b'\n{"a":"\xff"}', "line 2"),
        ("e.parquet", b"PAR1" + b"\x00" * 100 + b"PAR1", "Parquet"),
    ],
    ids=[
        "utf-16 without its mark",
        "semicolons",
        "NUL header",
        "gzip in gzip",
        "no gzip",
        "half a gzip header",
        "bad byte",
        "parquet of zeros",
    ],
)
def test_a_file_that_cannot_be_read_lands_nothing(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ImportFailed, match=says):
        run_import(path)
    assert landed(tmp_path) == []


def test_a_file_without_permission_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "e.csv"
    path.write_text(HEADER + ROW)
    opened = Path.open

    def refuse(self: Path, *options: Any, **more: Any) -> Any:
        if self == path:
            raise PermissionError(13, "Permission denied")
        return opened(self, *options, **more)

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ImportFailed, match=r"e\.csv: no permission to read it; run chmod"):
        run_import(path)


def test_a_disk_that_refuses_leaves_nothing_and_the_next_import_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "e.csv"
    path.write_text(HEADER + ROW)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("gtm_dagster.warehouse.landing.day_files.pq.ParquetWriter", full)
        with pytest.raises(ImportFailed, match="No space left"):
            run_import(path)
    assert landed(tmp_path) == []
    assert run_import(path).accepted == 1


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_line_endings_blank_lines_and_a_byte_order_mark_change_nothing(tmp_path: Path, ending: str) -> None:
    path = tmp_path / "e.csv"
    path.write_bytes(("\ufeff" + HEADER + ROW + "\n" + ROW.replace("e1", "e2")).replace("\n", ending).encode())
    result = run_import(path)
    assert (result.read, result.accepted) == (2, 2)


@pytest.mark.parametrize(
    ("name", "encoding", "delimiter", "reading"),
    [
        ("e.csv", "utf-16", ",", ""),
        ("e.ndjson", "utf-16", ",", ""),
        ("e.csv", "utf-32", ",", ""),
        ("e.csv", "utf-8", ";", 'delimiter = ";"'),
        ("e.csv", "latin-1", "|", 'delimiter = "|"\nencoding = "latin-1"'),
        ("e.ndjson", "utf-16-le", ",", 'encoding = "utf-16-le"'),
    ],
)
def test_native_columns_are_native_in_any_encoding_and_by_any_delimiter(
    tmp_path: Path, name: str, encoding: str, delimiter: str, reading: str
) -> None:
    campaign = "Frühling"
    rows = f"event_id,event_name,timestamp,user_id,campaign\ne1,page_viewed,{TIME},u,{campaign}\n".replace(
        ",", delimiter
    )
    (tmp_path / name).write_bytes(
        (rows if name == "e.csv" else json.dumps(json.loads(line(campaign=campaign)), ensure_ascii=False)).encode(
            encoding
        )
    )
    (tmp_path / "read.toml").write_text(reading)
    assert run_import(tmp_path / name, tmp_path / "read.toml" if reading else None).accepted == 1
    assert [row["campaign"] for row in landed(tmp_path)] == [campaign]


def test_a_column_that_differs_from_a_field_by_its_capitals_is_named(tmp_path: Path) -> None:
    (tmp_path / "e.csv").write_text((HEADER + ROW).replace("event_id", "Event_ID"))
    assert run_import(tmp_path / "e.csv").hints == ("column Event_ID is ignored: the field is event_id",)
