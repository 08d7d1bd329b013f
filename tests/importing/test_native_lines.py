"""Native NDJSON in bulk: a line lands as it does alone, whatever stands on the lines beside it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gtm_dagster.admission.batch import Judge
from gtm_dagster.importing.native_lines import judge_part, native_part
from gtm_dagster.importing.ndjson import LineIds, decoded_line, line_record
from gtm_dagster.privacy.consent import OFF
from gtm_dagster.privacy.pseudonyms import Pseudonymizer
from gtm_dagster.privacy.sealing import Sealer
from gtm_dagster.taxonomy import load_plan

NOW = 1_772_445_600_000_000
EVENT: dict[str, Any] = {
    "event_id": "e",
    "event_name": "page_viewed",
    "timestamp": "2026-03-02T08:00:00Z",
    "user_id": "u",
}
KEY = b"k" * 32


def judge() -> Judge:
    return Judge(load_plan(), Pseudonymizer(KEY), Sealer(KEY), "w", OFF)


def line(**fields: Any) -> bytes:
    return json.dumps({**EVENT, **fields}).encode()


def without(*names: str, **fields: Any) -> bytes:
    return json.dumps({k: v for k, v in {**EVENT, **fields}.items() if k not in names}).encode()


LINES = {
    "plain": [line(), line(event_id="f", context={"source": "x"}), line(event_id="g", source="y")],
    "one value over two lines, two values on one": [b'{"event_name":', b'1}{"event_id":"b"}', line()],
    "as many values as lines, not one a line": [line() + line(event_id="b"), b'{"event_id":{', b'"x":1}}', line()],
    "an object that goes on with a comma": [b'{"properties":{"x":{}', b',"y":{"z":1}}}', line() + line()],
    "blanks around": [b"  " + line() + b" ", line() + b"\r", b"\t" + line(event_id="f")],
    "flat columns beside a context": [line(source="x", context={"source": "y"}), line(source=None, context={"source": "y"})],
    "null columns": [line(source=None, context=None), line(properties=None, consent=None), line(context={"consent": None})],
    "json texts": [line(properties='{"path":"/a"}'), line(properties="{"), line(properties='"x"'), line(consent="null")],
    "consent": [line(consent={"analytics": False}), line(context={"consent": {"analytics": 1}}), line(consent='{"ads":true}')],
    "other types": [line(user_id=5), line(source=["x"]), line(received_at=7), line(write_key={"a": [1]}), b"[]", b"7", b"no"],
    "kept by nobody": [line(context={"ip": "1.2.3.4"}), line(context={"ip": json.loads("[" * 40 + "]" * 40)}), line(ip="x")],
    "deep": [line(properties=json.loads('{"a":' * 40 + "1" + "}" * 40)), line(properties='{"a":' * 40 + "1" + "}" * 40)],
    "surrogates and nulls": [line(user_id="\ud800"), line(user_id="a\x00"), line(source="\x00"), line(page_url="\U0001f600")],
    "without an id": [without("event_id"), line(event_id="undefined"), without("event_id"), b"no", without("event_id", ip=1)] * 2,
    "no time": [without("timestamp"), line(timestamp=""), line(timestamp=5), line(timestamp="now")],
    "receipt": [line(received_at="2026-03-01T08:00:00Z"), line(received_at="x"), line(received_at="2063-01-01T00:00:00Z")],
    "twice": [b'{"user_id":5,' + line()[1:], line()[:-1] + b',"user_id":5}', line()[:-1] + b',"user_id":"v"}'],
}  # fmt: skip


@pytest.mark.parametrize("lines", LINES.values(), ids=LINES)
def test_a_line_lands_as_it_does_alone(lines: list[bytes]) -> None:
    numbered = list(enumerate([*lines, *[line(event_id=f"p{i}") for i in range(3)]], 1))
    together = judge_part(native_part(numbered, LineIds("w"), NOW), judge(), NOW).to_pylist()
    ids, door = LineIds("w"), judge()
    alone = [line_record(number, text, ids.of(decoded_line(text)), door, NOW) for number, text in numbered]
    for row, record in zip(sorted(together, key=lambda row: row["row_no"]), alone, strict=True):
        assert row | {"sealed": None} == {name: getattr(record, name) for name in row} | {"sealed": None}
