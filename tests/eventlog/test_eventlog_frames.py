"""Frames: what goes in column by column comes out of Arrow unchanged."""

from __future__ import annotations

import msgspec
import pyarrow as pa
import pytest
from eventlog_cases import quarantined, record
from hypothesis import given
from hypothesis import strategies as st
from profiles import examples

from gtm_dagster.eventlog import LANDING_COLUMNS, Record
from gtm_dagster.eventlog.frames import pack, to_arrow

INT64 = st.integers(-(2**63), 2**63 - 1)
TEXT = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
REQUIRED = {"write_key": st.text("kü", max_size=3), "verdict": st.sampled_from(["accepted", "quarantined"])}
KINDS = {"str": TEXT, "int64": st.none() | INT64, "bytes": st.none() | st.binary(max_size=6)}
FIELDS = {name: REQUIRED.get(name, KINDS[kind]) for name, kind in LANDING_COLUMNS if name != "received_us"}
RECORDS = st.lists(st.builds(Record, received_us=INT64, origin=st.just("log"), **{k: v for k, v in FIELDS.items() if k != "origin"}), min_size=1, max_size=20)  # fmt: skip


def rows(records: list[Record], first: int) -> list[dict[str, object]]:
    return [msgspec.structs.asdict(each) | {"row_no": first + n} for n, each in enumerate(records)]


@given(st.lists(RECORDS, min_size=1, max_size=5), st.sampled_from([2**31 - 1, 3]))
@examples(100, deadline=None)
def test_frames_read_back_one_after_the_other(parts, most):
    """Whatever shapes meet, and also when an array could hold three bytes of text only."""
    frames, first = [], 1
    for part in parts:
        frames.append((first, first + len(part) - 1, pack(part)))
        first += len(part)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gtm_dagster.eventlog.frames._MOST_BYTES", most)
        table = to_arrow(frames)
    table.validate(full=True)
    assert table.to_pylist() == rows([each for part in parts for each in part], 1)


@given(RECORDS, st.integers(1, 2**40))
@examples(100, deadline=None)
def test_a_frame_reads_back_as_it_was_packed(records, first):
    table = to_arrow([(first, first + len(records) - 1, pack(records))])
    table.validate(full=True)
    assert table.to_pylist() == rows(records, first)


def test_frames_of_different_shape_become_one_table():
    some = [[record("a")], [record("b"), quarantined(None)], [quarantined("c", raw="ü")]]
    frames = [(1, 1, pack(some[0])), (2, 3, pack(some[1])), (4, 4, pack(some[2]))]
    assert to_arrow(frames).to_pylist() == rows([each for part in some for each in part], 1)


def test_no_frames_are_an_empty_table_with_the_landing_columns():
    table = to_arrow([])
    types = {"str": pa.string(), "int64": pa.int64(), "bytes": pa.binary()}
    assert table.num_rows == 0
    assert [(each.name, each.type) for each in table.schema] == [(name, types[kind]) for name, kind in LANDING_COLUMNS]
