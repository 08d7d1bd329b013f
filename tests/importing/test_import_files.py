"""What lands of a file, and what does not."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gtm_dagster.importing import ImportFailed, ImportResult, MappingError, import_file, load_mapping
from gtm_dagster.privacy.consent import OFF
from gtm_dagster.privacy.pseudonyms import Pseudonymizer
from gtm_dagster.privacy.sealing import Sealer
from gtm_dagster.settings import load_settings
from gtm_dagster.taxonomy import load_plan
from gtm_dagster.warehouse.landing import Landing

KEY = b"k" * 32
PLAN = load_plan()
NOW = 1_800_000_000_000_000
HEADER = "event_id,event_name,timestamp,user_id,properties\n"
ROW = "e{0},page_viewed,2026-01-01T10:00:0{0}Z,u{0},\n"
SHOP = """
[columns]
user_id = "customer"
[constants]
event_name = "payment_completed"
device_type = "api"
[timestamp]
column = "at"
format = "%d.%m.%Y %H:%M"
timezone = "Europe/Berlin"
[properties]
amount = { column = "sum", type = "number" }
currency = { value = "EUR" }
"""


class Workspace:
    """One throw-away state directory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings = load_settings(None, {"GTM_STATE_DIR": str(folder / "state")})

    def file(self, content: str | bytes, name: str = "events.csv") -> Path:
        path = self.folder / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def run_import(self, path: Path, mapping: str | None = None, **options: object) -> ImportResult:
        rules = load_mapping(self.file(mapping, "mapping.toml")) if mapping else None
        return import_file(
            path, landing=Landing(self.settings.landing_dir), plan=PLAN, pseudonymize=Pseudonymizer(KEY), sealer=Sealer(KEY),
            mapping=rules, received_us=NOW, **{"write_key": "dev", "consent": OFF, **options},
        )  # fmt: skip

    def rows(self) -> list[dict]:
        files = Landing(self.settings.landing_dir).files()
        return sorted(
            (row for f in files for row in pq.ParquetFile(f.path).read().to_pylist()), key=lambda r: r["row_no"]
        )

    def originals(self) -> dict[int, bytes]:
        """The sealed originals by the number of their row."""
        found = self.settings.landing_dir.glob("sealed/*/*.parquet")
        return {row["row_no"]: row["sealed"] for path in found for row in pq.ParquetFile(path).read().to_pylist()}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


def counts(result: ImportResult) -> tuple[int, int, int, int]:
    return result.read, result.accepted, result.duplicates, result.quarantined


def test_native_csv_lands_with_pseudonyms(workspace: Workspace) -> None:
    assert counts(workspace.run_import(workspace.file(HEADER + ROW.format(1) + ROW.format(2)))) == (2, 2, 0, 0)
    first = workspace.rows()[0]
    assert first["user_id"] == Pseudonymizer(KEY)("u1")
    assert (first["event_us"], first["received_us"], first["origin"]) == (1_767_261_601_000_000, NOW, "import")


def test_all_forms_of_a_file_land_alike(workspace: Workspace, tmp_path: Path) -> None:
    events = [
        {"event_id": "a", "event_name": "page_view", "timestamp": "2026-01-01T10:00:00+02:00", "user_id": "u",
         "properties": {"path": "/x"}, "context": {"source": "google", "page_url": "https://h/p?mail=a@b.de"}},
        {"event_id": "b", "event_name": "nope", "timestamp": "2026-01-01T10:00:00Z", "anonymous_id": "n"},
    ]  # fmt: skip
    flat = [
        {**{k: v for k, v in e.items() if k != "context"}, **e.get("context", {}), "properties": json.dumps(e["properties"]) if "properties" in e else None}
        for e in events
    ]  # fmt: skip
    names = ["event_id", "event_name", "timestamp", "user_id", "anonymous_id", "properties", "source", "page_url"]
    pq.write_table(
        pa.table({n: pa.array([e.get(n) for e in flat], pa.string()) for n in names}), tmp_path / "e.parquet"
    )
    lines = "\n".join(json.dumps(e) for e in events)
    csv = ",".join(names) + "\n" + "\n".join(
        ",".join('"' + str(e.get(n) or "").replace('"', '""') + '"' for n in names) for e in flat
    )  # fmt: skip
    found = []
    for index, (name, content) in enumerate(
        [("e.parquet", None), ("e.ndjson", lines), ("e.jsonl.gz", gzip.compress(lines.encode())), ("e.csv", csv), ("e.csv.gz", gzip.compress(csv.encode())), ("e.json", json.dumps(events))]
    ):  # fmt: skip
        other = Workspace(tmp_path / str(index))
        other.folder.mkdir()
        path = tmp_path / name if content is None else other.file(content, name)
        assert counts(other.run_import(path)) == (2, 1, 0, 1), name
        found.append([{k: v for k, v in row.items() if k not in ("sealed", "raw", "row_no")} for row in other.rows()])
    assert all(rows == found[0] for rows in found)
    assert found[0][0]["page_url"] == "https://h/p"
    assert found[0][0]["event_name"] == "page_viewed"


def test_the_same_file_twice_lands_nothing_more(workspace: Workspace) -> None:
    path = workspace.file(HEADER + ROW.format(1) + ROW.format(2))
    workspace.run_import(path)
    assert counts(workspace.run_import(path)) == (2, 0, 2, 0)
    assert len(workspace.rows()) == 2


def test_equal_rows_stay_and_their_ids_do_not_depend_on_order(workspace: Workspace, tmp_path: Path) -> None:
    head, a, b = "customer,at,sum\n", "c,01.02.2026 10:00,5\n", "d,01.02.2026 10:00,7.50\n"
    assert counts(workspace.run_import(workspace.file(head + a + a + b), SHOP)) == (3, 3, 0, 0)
    (tmp_path / "o").mkdir()
    other = Workspace(tmp_path / "o")
    other.run_import(other.file(head + b + a + a), SHOP)
    ids = [{r["event_id"] for r in d.rows()} for d in (workspace, other)]
    assert ids[0] == ids[1]
    assert len(ids[0]) == 3
    assert all(event_id[14] == "5" and event_id[19] in "89ab" for event_id in ids[0])


def test_a_mapping_reads_times_numbers_and_constants(workspace: Workspace) -> None:
    workspace.run_import(workspace.file("customer,at,sum\nc,01.07.2026 10:00,12.50\n"), SHOP)
    row = workspace.rows()[0]
    assert row["event_us"] == 1_782_892_800_000_000  # 08:00 UTC in summer
    assert json.loads(row["properties"]) == {"amount": 12.5, "currency": "EUR"}
    assert row["device_type"] == "api"


def test_a_row_may_make_several_events(workspace: Workspace) -> None:
    mapping = """
    [columns]
    user_id = "u"
    [timestamp]
    column = "t"
    format = "unix_s"
    [[events]]
    constants = { event_name = "page_viewed" }
    templates = { event_id = "v-{u}" }
    [[events]]
    constants = { event_name = "payment_completed" }
    properties = { amount = { column = "paid", type = "number" }, currency = { value = "USD" } }
    when = { column = "paid" }
    """
    assert counts(workspace.run_import(workspace.file("u,t,paid\na,1767261600,\nb,1767261600,3\n"), mapping)) == (
        3,
        3,
        0,
        0,
    )
    assert sorted(r["event_name"] for r in workspace.rows()) == ["page_viewed", "page_viewed", "payment_completed"]


@pytest.mark.parametrize(("ragged", "expected"), [("pad", (3, 2, 0, 1)), ("quarantine", (3, 1, 0, 2))])
def test_ragged_rows_are_all_accounted_for(workspace: Workspace, ragged: str, expected: tuple[int, ...]) -> None:
    mapping = f'ragged = "{ragged}"\n[columns]\nuser_id="u"\nsource="s"\n[constants]\nevent_name="page_viewed"\n[timestamp]\ncolumn="t"\n'
    path = workspace.file("u,t,s\na,2026-01-01T00:00:00Z,google\nb,2026-01-01T00:00:00Z\nc,2026-01-01T00:00:00Z,x,y\n")
    assert counts(workspace.run_import(path, mapping)) == expected
    rows = workspace.rows()
    assert [r["row_no"] for r in rows] == [1, 2, 3]
    assert rows[2]["reason_codes"] == "ragged_row"
    assert b"2026" in Sealer(KEY).open(workspace.originals()[3])


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ("e,page_viewed,NaN,u,", "bad_timestamp"),
        ("e,page_viewed,30000-01-01T00:00:00Z,u,", "bad_timestamp"),
        ("e,page_viewed,1850-01-01T00:00:00Z,u,", "timestamp_out_of_range"),
        ("e,page_viewed,2026-01-01T00:00:00,u,", "timestamp_without_offset"),
        ("e,page_viewed,,u,", "missing_field"),
        ("e,page_viewed,2026-01-01T00:00:00Z,u," + "x" * 1_000_000, "type"),
        ("e,page_viewed,2026-01-01T00:00:00Z,u\x00,", "nul"),
        ("e,page_viewed,2026-01-01T00:00:00Z,,", "missing_identity"),
        ('e,payment_completed,2026-01-01T00:00:00Z,u,"{""amount"":NaN}"', "type"),
    ],
    ids=["nan", "year 30000", "1850", "no offset", "no time", "1 MB cell", "NUL", "nobody", "NaN amount"],
)
def test_hostile_rows_are_quarantined_with_their_reason(workspace: Workspace, row: str, code: str) -> None:
    assert counts(workspace.run_import(workspace.file(HEADER + ROW.format(1) + row + "\n"))) == (2, 1, 0, 1)
    assert code in next(r for r in workspace.rows() if r["verdict"] == "quarantined")["reason_codes"]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("e.csv", b"", "empty"),
        ("e.csv", b"\n\n", "empty"),
        ("e.csv", (HEADER + "e,page_viewed,2026-01-01T00:00:00Z,J\xfcrgen,\n").encode("latin-1"), "encoding"),
        ("e.csv.gz", gzip.compress((HEADER + ROW.format(1)).encode())[:-12], "fetch"),
        ("e.csv", "event_id,event_id,event_name,timestamp,user_id\n", "twice"),
        ("e.csv", "a;b\n1;2\n", "--mapping"),
        ("e.csv", HEADER + 'e,page_viewed,2026-01-01T00:00:00Z,"u,\n', "quote"),
        ("e.parquet", b"PAR1 and no more", "Parquet"),
        ("e.xls", b"no sheet", "rename"),
        ("e.csv", b"PK\x03\x04 and a sheet", "save its sheet as CSV"),
    ],
    ids=["empty", "blank", "latin-1", "truncated gzip", "duplicate header", "other delimiter", "open quote", "broken parquet", "another name", "xlsx"],
)  # fmt: skip
def test_a_file_that_cannot_be_read_lands_nothing(
    workspace: Workspace, name: str, content: str | bytes, says: str
) -> None:
    path = workspace.file(content, name)
    with pytest.raises(ImportFailed, match=says) as caught:
        workspace.run_import(path)
    assert str(path) in str(caught.value)
    assert workspace.rows() == []


def test_a_directory_and_a_missing_file_are_named(workspace: Workspace) -> None:
    for path in (workspace.folder, workspace.folder / "nothing.csv"):
        with pytest.raises(ImportFailed, match=str(path)):
            workspace.run_import(path)


def test_duplicates_within_a_file_are_counted_and_kept_for_staging(workspace: Workspace) -> None:
    assert counts(workspace.run_import(workspace.file(HEADER + ROW.format(1) * 2 + ROW.format(2)))) == (3, 2, 1, 0)
    assert len(workspace.rows()) == 3


def test_an_unreadable_line_of_ndjson_is_quarantined(workspace: Workspace) -> None:
    lines = '{"event_name":"page_viewed","timestamp":"2026-01-01T00:00:00Z","user_id":"u"}\n' * 2 + "{broken\n[1]\n"
    assert counts(workspace.run_import(workspace.file(lines, "e.ndjson"))) == (4, 2, 0, 2)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('colums = { user_id = "u" }', "colums"),
        (SHOP.replace("customer", "c").replace("user_id", "usr"), "usr"),
        (SHOP.replace("Europe/Berlin", "Europe/Berln"), "Berln"),
        (SHOP.replace('event_name = "payment_completed"', ""), "event_name"),
    ],
)
def test_a_faulty_mapping_names_its_key(workspace: Workspace, text: str, says: str) -> None:
    with pytest.raises(MappingError, match=says):
        workspace.run_import(workspace.file("x"), text)
