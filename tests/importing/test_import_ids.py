"""The ids of rows that bring none: the same for ever, one for each of equal rows, cheap for many of them."""

from __future__ import annotations

import json
import time
import uuid
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from gtm_dagster.importing import import_file
from gtm_dagster.importing.texts import Ordinals, RowIds, row_ids
from gtm_dagster.privacy.consent import OFF
from gtm_dagster.privacy.pseudonyms import Pseudonymizer
from gtm_dagster.privacy.sealing import Sealer
from gtm_dagster.settings import load_settings
from gtm_dagster.taxonomy import load_plan
from gtm_dagster.warehouse.landing import Landing

KEY = b"k" * 32


def test_a_name_is_the_uuid5_of_key_row_and_ordinal() -> None:
    namespace = uuid.UUID("6e1f3c0a-7d0b-5b5e-9a53-0f2a4f6d9c11")
    for event_no, tail in ((0, ""), (2, "\x002")):
        for ordinal in (0, 1, 41):
            expected = uuid.uuid5(namespace, f"dev\x00{{}}\x00{ordinal}{tail}")
            assert RowIds("dev", event_no)("{}", ordinal) == str(expected)


def test_equal_rows_are_numbered_and_named_rows_are_left_out() -> None:
    rows = pa.array(["a", "b", "a", "a"])
    wanted = pa.array([True, True, False, True])
    id_of = RowIds("dev")
    assert row_ids("dev", rows, 0, wanted, Ordinals().of(rows)).to_pylist() == [
        id_of("a", 0),
        id_of("b", 0),
        None,
        id_of("a", 2),
    ]


def test_ordinals_go_on_in_the_next_part_of_a_file() -> None:
    ordinals = Ordinals()
    assert ordinals.of(pa.array(["a", "b", "a"])).tolist() == [0, 0, 1]
    assert ordinals.of(pa.array(["c", "a", "a", "b"])).tolist() == [0, 2, 3, 1]
    assert ordinals.of(pa.array([], pa.string())).tolist() == []
    assert ordinals.of(pa.array(["c", "d", "a"])).tolist() == [1, 0, 4]


def test_another_source_gives_another_id() -> None:
    assert RowIds("one")("a", 0) != RowIds("two")("a", 0)


def test_many_equal_lines_stay_apart_and_cost_no_more_than_others(tmp_path: Path) -> None:
    count = 5_000
    line = json.dumps({"event_name": "page_viewed", "timestamp": "2026-01-01T00:00:00Z", "user_id": "u"}) + "\n"
    path = tmp_path / "e.ndjson"
    path.write_text(line * count)
    settings = load_settings(None, {"GTM_STATE_DIR": str(tmp_path / "state")})
    start = time.process_time()
    result = import_file(
        path,
        landing=Landing(settings.landing_dir),
        consent=OFF,
        plan=load_plan(),
        pseudonymize=Pseudonymizer(KEY),
        sealer=Sealer(KEY),
        write_key="dev",
    )
    assert time.process_time() - start < 10  # quadratic work took minutes
    assert (result.accepted, result.duplicates) == (count, 0)
    ids = [i for f in Landing(settings.landing_dir).files() for i in pq.read_table(f.path)["event_id"].to_pylist()]
    assert len(set(ids)) == count
