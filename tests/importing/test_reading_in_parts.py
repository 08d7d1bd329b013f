"""Files in parts: what lands does not depend on where a part ends, and what unpacks without end is refused."""

from __future__ import annotations

import gzip
import json
import os
import threading
import zlib
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_import_files import SHOP, Workspace

from gtm_dagster.importing import file_bytes
from gtm_dagster.importing.csv_rows import csv_rows
from gtm_dagster.importing.file_bytes import ImportFailed, find_file, text_blocks
from gtm_dagster.importing.mapping import Mapping, TimeColumn
from gtm_dagster.importing.ndjson import line_parts, tables_of_lines
from gtm_dagster.importing.reading import read_rows
from gtm_dagster.importing.shaping import Shaper


@pytest.mark.parametrize("block", [1, 2, 5, 1000])
def test_lines_are_whole_and_numbered_whatever_the_parts(tmp_path: Path, block: int) -> None:
    path = tmp_path / "e.ndjson"
    path.write_bytes('{"a":"é"}\r\n\n{"b":1}\n  \nlast'.encode())
    found = [line for part in line_parts(find_file(path), "utf-8", block) for line in part]
    assert found == [(1, '{"a":"é"}\r'.encode()), (3, b'{"b":1}'), (5, b"last")]


def test_a_list_is_read_as_one_whatever_the_parts(tmp_path: Path) -> None:
    path = tmp_path / "e.json"
    path.write_text(' [{"a":1},\n{"a":2}]')
    for block in (1, 1000):
        assert [n for part in line_parts(find_file(path), "utf-8", block) for n, _ in part] == [1, 2]


def test_a_column_that_only_some_parts_have_is_no_missing_column(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gtm_dagster.importing.ndjson._MAPPED_BLOCK", 10)
    path = tmp_path / "e.ndjson"
    path.write_text('{"u":"a","at":1}\n{"u":"b","at":1,"sum":2}\n{"other":1}\n')
    shaped = {}
    for campaign in ("sum", "nowhere"):
        mapping = Mapping(
            columns={"user_id": "u", "campaign": campaign}, constants={"event_name": "page_viewed"}, timestamp=TimeColumn("at", "unix_s")
        )  # fmt: skip
        shaper = shaped[campaign] = Shaper(path, mapping, "dev", 0)
        tables = [shaper.shape(part) for part in tables_of_lines(find_file(path), "utf-8")]
        assert len(tables) > 1
    assert shaped["sum"].ignored == ("other",)
    shaped["sum"].check()
    with pytest.raises(ImportFailed, match="reads column nowhere; the file has u, at, sum, other"):
        shaped["nowhere"].check()


def test_parts_of_a_file_land_as_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [f"k{n % 7},0{n % 9 + 1}.02.2026 10:0{n % 10},{n % 3}.5" for n in range(200)] + ["k,x", '"a" b,c,d']
    text = "customer,at,sum\n" + "\n".join(rows) + "\n"
    documents = [dict(zip(("customer", "at", "sum"), row.split(","), strict=False)) for row in rows[:200]]
    files = {"e.csv": text, "e.ndjson": "\n".join(map(json.dumps, documents))}
    for name, content in files.items():
        found = []
        for block in (2_000, 1 << 20):
            monkeypatch.setattr("gtm_dagster.importing.reading.csv_rows", partial(csv_rows, block=block))
            monkeypatch.setattr("gtm_dagster.importing.ndjson._MAPPED_BLOCK", block)
            folder = tmp_path / f"{name}{block}"
            folder.mkdir()
            workspace = Workspace(folder)
            result = workspace.run_import(workspace.file(content, name), SHOP)
            landed = [{key: value for key, value in row.items() if key != "sealed"} for row in workspace.rows()]
            found.append((result.read, result.accepted, result.quarantined, landed))
        assert found[0] == found[1]
        assert found[0][0] == len(landed)


def test_parquet_is_read_by_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gtm_dagster.importing.reading._PARQUET_ROWS", 3)
    pq.write_table(pa.table({"n": range(10)}), tmp_path / "e.parquet", row_group_size=4)
    parts = list(read_rows(find_file(tmp_path / "e.parquet"), "parquet", None))
    assert [value for part in parts for value in part.table.column("n").to_pylist()] == list(range(10))
    assert [number for part in parts for number in part.numbers] == list(range(1, 11))
    pq.write_table(pa.table({"n": pa.array([], pa.int64())}), tmp_path / "none.parquet")
    assert [part.table.num_rows for part in read_rows(find_file(tmp_path / "none.parquet"), "parquet", None)] == [0]


def test_gzip_of_several_members_is_one_text(tmp_path: Path) -> None:
    path = tmp_path / "e.csv.gz"
    path.write_bytes(gzip.compress(b"a,b\n1,") + gzip.compress(b"2\n"))
    assert b"".join(text_blocks(find_file(path), "utf-8")) == b"a,b\n1,2\n"


@pytest.mark.parametrize("unit", [b"\x00", b"\n", b"u,1\n"], ids=["zeros", "line ends", "rows"])
def test_what_unpacks_without_end_is_refused_by_its_size(
    tmp_path: Path, unit: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_bytes, "_ALWAYS_UNPACKED", 1 << 20)
    pack = zlib.compressobj(9, wbits=31)
    path = tmp_path / "e.csv.gz"
    path.write_bytes(pack.compress(unit * ((8 << 20) // len(unit))) + pack.flush())
    with pytest.raises(ImportFailed, match=r"e\.csv\.gz: unpacks to more than .* over 100 times its size"):
        list(text_blocks(find_file(path), "utf-8", 1 << 16))


def test_a_row_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gtm_dagster.importing.csv_rows._LONGEST_ROW", 1000)
    path = tmp_path / "e.csv"
    path.write_bytes(b"a,b\n1,2\n" + b"x" * 5000)
    with pytest.raises(ImportFailed, match="the row at line 3 is longer than 64 MiB"):
        list(csv_rows(find_file(path), Mapping(), 100))


def test_a_pipe_is_read_once(tmp_path: Path) -> None:
    pipe = tmp_path / "e.csv"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(b"a,b\n1,2\n",))
    writer.start()
    found = find_file(pipe)
    writer.join()
    assert [b"".join(text_blocks(found, "utf-8")) for _ in range(2)] == [b"a,b\n1,2\n"] * 2


def test_a_file_that_grows_meanwhile_is_named(tmp_path: Path) -> None:
    path = tmp_path / "e.csv"
    path.write_text("a,b\n")
    source = find_file(path)
    source.check_unchanged()
    path.write_text("a,b\n1,2\n")
    with pytest.raises(ImportFailed, match="changed while it was read"):
        source.check_unchanged()
