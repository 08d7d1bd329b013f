"""Frames: what goes in column by column comes out of Arrow unchanged, whichever format it was written in."""

from __future__ import annotations

import base64
import zlib

import msgspec
import pyarrow as pa
import pytest
from eventlog_cases import pack_format_1, quarantined, record
from hypothesis import given
from hypothesis import strategies as st
from profiles import examples

from gtm_dagster.eventlog import LANDING_COLUMNS, EventLogError, Record, frames
from gtm_dagster.eventlog.frames import FORMAT, FORMAT_1_COLUMNS, pack, to_arrow
from gtm_dagster.storage.migrations import NewerFormatError

INT64 = st.integers(-(2**63), 2**63 - 1)
TEXT = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
REQUIRED = {"write_key": st.text("kü", max_size=3), "verdict": st.sampled_from(["accepted", "quarantined"])}
KINDS = {"str": TEXT, "int64": st.none() | INT64, "bytes": st.none() | st.binary(max_size=6)}
FIELDS = {name: REQUIRED.get(name, KINDS[kind]) for name, kind in LANDING_COLUMNS if name != "received_us"}


def lists_of(columns: tuple[str, ...]) -> st.SearchStrategy[list[Record]]:
    """Records whose other columns have their defaults."""
    fields = {name: strategy for name, strategy in FIELDS.items() if name in columns and name != "origin"}
    one = st.builds(Record, received_us=INT64, origin=st.just("log"), **fields)
    return st.lists(one, min_size=1, max_size=20)


RECORDS = lists_of(tuple(FIELDS))


def rows(records: list[Record], first: int) -> list[dict[str, object]]:
    return [msgspec.structs.asdict(each) | {"row_no": first + n} for n, each in enumerate(records)]


def framed(records: list[Record], first: int) -> list[dict[str, object]]:
    """What a frame has of the records now: sealed originals lie beside it."""
    return [row | {"sealed": None} for row in rows(records, first)]


PARTS = st.lists(
    st.tuples(RECORDS, st.just(pack)) | st.tuples(lists_of(FORMAT_1_COLUMNS), st.just(pack_format_1)),
    min_size=1,
    max_size=5,
)


@given(PARTS, st.sampled_from([2**31 - 1, 3]))
@examples(100, deadline=None)
def test_frames_read_back_one_after_the_other(parts, most):
    """Whatever shapes and formats meet, and also when an array could hold three bytes of text only."""
    packed, first = [], 1
    for part, write in parts:
        packed.append((first, first + len(part) - 1, write(part)))
        first += len(part)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gtm_dagster.eventlog.frames._MOST_BYTES", most)
        table = to_arrow(packed)
    table.validate(full=True)
    expected, first = [], 1
    for part, write in parts:
        expected += (framed if write is pack else rows)(part, first)
        first += len(part)
    assert table.to_pylist() == expected


@given(RECORDS, st.integers(1, 2**40))
@examples(100, deadline=None)
def test_a_frame_reads_back_as_it_was_packed(records, first):
    table = to_arrow([(first, first + len(records) - 1, pack(records))])
    table.validate(full=True)
    assert table.to_pylist() == framed(records, first)


def test_frames_of_different_shape_become_one_table():
    some = [[record("a")], [record("b"), quarantined(None)], [quarantined("c", raw="ü")]]
    frames = [(1, 1, pack(some[0])), (2, 3, pack(some[1])), (4, 4, pack(some[2]))]
    assert to_arrow(frames).to_pylist() == framed([each for part in some for each in part], 1)


def test_no_frames_are_an_empty_table_with_the_landing_columns():
    table = to_arrow([])
    types = {"str": pa.string(), "int64": pa.int64(), "bytes": pa.binary()}
    assert table.num_rows == 0
    assert [(each.name, each.type) for each in table.schema] == [(name, types[kind]) for name, kind in LANDING_COLUMNS]


FORMAT_1 = """
eAG7wyA3ZUlxRn7BgQMHphw4wph4hIcBCBih+AgjI1CUuyAxPTW+LDO1PDUFIs8NlAdhiLwAQ8JhtdfebEABCAAaxDjlPAOb92u1wwmMYKNBxE2F
RAIArvTAEYFqpYKcxDwlK6WConyl2upaiM18QBsEgBjoWoRi8lhLDXUNdA3Aeo8IJyYnpxaUpKYUliYWJeaVZObBvMoBtEwYYuERlpLKglSIO4Ai
DCxAfISRCRhCTNGxCGEmhDDM1SDVSMKMDJiqF+fkp4PcwgAkAAybl+Y=
"""
FORMAT_2 = """
AngBhZBBSgMxFIYnQylCRQq9gMyiu0LdeoUeQSQNk0cNTpOYZGYYSq8gDHqD6qi1hxA6+649Qy/hC5niwoUP/kXy/f97L3n8KI1wQO+hql/sndLv
UIB0VPDnr5aw9jzCIp1aQrYBS7YENAw0WwAtBJTAg3WAVi+0dp1yi8ZhNN+Pj7M+klDYnHwaSEEUwGlu60PUnx3H+znZMalktVS5xSXq70v2T221
URqME2CfcNAq0RmTyXWC18l6tQ5rXeDUIWrnIS3AWKFk/Xo1mU6mb3jkInWYHrE0Be2AP+TMMOmEPL3rDMMj38AAs0rSVHHwD+u5SkOYgTTqoVoS
N2CMMp7HN7e/NA50Y1jp0Wk5H+xQY4Fl4P8+JtGfYKOMWAhZbzK1+AGcwo3Q
"""
GOLDEN = [record("a", properties='{"plan":"pro"}'), quarantined(None, raw="{}", event_name=None)]


def test_a_frame_of_format_1_is_read_for_ever():
    """The bytes are those version 0.1.0 wrote."""
    assert to_arrow([(8, 9, base64.b64decode(FORMAT_1))]).to_pylist() == rows(GOLDEN, 8)
    assert len(FORMAT_1_COLUMNS) == 30


def test_a_frame_of_format_2_is_read_for_ever():
    """With the sealed originals that versions before migration 0004 put into it."""
    assert to_arrow([(8, 9, base64.b64decode(FORMAT_2))]).to_pylist() == rows(GOLDEN, 8)


@pytest.mark.parametrize("golden", [FORMAT_1, FORMAT_2], ids=["format 1", "format 2"])
def test_a_frame_of_before_is_rewritten_without_its_sealed_originals(golden):
    frame = frames.without_sealed(8, base64.b64decode(golden))
    assert frame is not None
    assert to_arrow([(8, 9, frame)]).to_pylist() == framed(GOLDEN, 8)
    assert frames.without_sealed(8, frame) is None


def test_a_frame_names_its_format_and_only_the_columns_that_have_values():
    payload = pack([record("a"), record("b", user_id="u")])
    assert payload[0] == FORMAT == 2
    columns = msgspec.msgpack.decode(zlib.decompress(payload[1:]))
    assert columns["write_key"] == ["shop"]
    assert set(columns) == {
        "write_key", "event_id", "event_name", "event_us", "received_us", "user_id", "anonymous_id", "properties",
        "plan_version", "verdict", "origin",
    }  # fmt: skip
    assert zlib.compress(b"")[0] == 0x78, "what a frame of format 1 begins with"


def reframed(**columns: object) -> bytes:
    """A frame whose columns are changed; None leaves one out."""
    content = msgspec.msgpack.decode(zlib.decompress(pack([record("a"), record("b")])[1:])) | columns
    return bytes([2]) + zlib.compress(msgspec.msgpack.encode({k: v for k, v in content.items() if v is not None}))


@pytest.mark.parametrize(
    ("columns", "name", "expected"),
    [
        pytest.param({"anonymous_id": None}, "anonymous_id", None, id="a column that may be NULL"),
        pytest.param({"origin": None}, "origin", "log", id="a column with a default"),
    ],
)
def test_a_column_that_a_frame_lacks_has_its_default(columns, name, expected):
    frame = (1, 2, reframed(**columns))
    assert to_arrow([frame])[name].to_pylist() == [expected] * 2
    assert to_arrow([frame, (3, 3, pack([record("c")]))])[name].to_pylist()[:2] == [expected] * 2


def test_a_column_that_is_new_is_null_in_older_frames(monkeypatch):
    """A program with one column more reads what waits in the log, and refuses nothing."""
    older = [(1, 1, pack_format_1([record("a")])), (2, 3, pack([record("b"), record("c")]))]
    monkeypatch.setattr(frames, "LANDING_COLUMNS", [*LANDING_COLUMNS[:-1], ("utm_id", "str"), LANDING_COLUMNS[-1]])
    assert to_arrow(older)["utm_id"].to_pylist() == [None] * 3
    mixed = to_arrow([*older, (4, 5, reframed(utm_id=["x"]))])
    assert mixed["utm_id"].to_pylist() == [None, None, None, "x", "x"]
    assert mixed["row_no"].to_pylist() == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("payload", "error", "message"),
    [
        pytest.param(bytes([3]) + b"whatever", NewerFormatError, "offset 8: its frame has format 3; written by a newer", id="a later format"),
        pytest.param(reframed(utm_id=["x"]), NewerFormatError, "offset 8: its frame has the column utm_id; written by a newer", id="a column of a later version"),
        pytest.param(bytes([1]) + b"whatever", EventLogError, "offset 8: its frame is damaged", id="no format"),
        pytest.param(b"", EventLogError, "offset 8: its frame is damaged", id="nothing"),
        pytest.param(pack([record("a")])[:-9], EventLogError, "offset 8: its frame is damaged", id="cut off"),
        pytest.param(pack_format_1([record("a")])[:-9], EventLogError, "offset 8: its frame is damaged", id="cut off, of format 1"),
        pytest.param(zlib.compress(msgspec.msgpack.encode([["a"]] * 29)), EventLogError, "offset 8: its frame is damaged", id="a column too few"),
    ],
)  # fmt: skip
def test_what_is_no_frame_of_this_version_is_refused_in_one_line(payload, error, message):
    good = (1, 7, pack([record(str(n)) for n in range(7)]))
    with pytest.raises(error, match=message) as caught:
        to_arrow([good, (8, 8, payload)])
    assert "\n" not in str(caught.value)


def test_the_defaults_that_readers_fill_in_do_not_change():
    """Frames and files leave them to the reader, so another default would change what was stored."""
    filled = {name: value for name, value in frames.DEFAULTS.items() if value is not None}
    assert filled == {"verdict": "accepted", "origin": "log", "row_no": 0}
