"""Splitting a body into events: whatever the text is, good neighbours are kept and the work is linear in its length."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from profiles import examples

from gtm_dagster.collector import event_list
from gtm_dagster.collector.event_list import split
from gtm_dagster.collector.response import Refused


def pieces(text: bytes, most: int = 100, largest: int = 10_000) -> list[bytes] | str:
    try:
        return split(text, most, largest)
    except Refused as refused:
        return refused.code


BIG = b'"' + b"x" * 20_000 + b'"'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(b'[{"a":1},2]', [b'{"a":1}', b"2"], id="a list"),
        pytest.param(b'\xef\xbb\xbf {"a":1} ', [b'{"a":1}'], id="one object behind a byte order mark"),
        pytest.param(b"[]", [], id="an empty list"),
        pytest.param(b'[{"a":NaN}, 2]', [b'{"a":NaN}', b"2"], id="a number that is none"),
        pytest.param(b'[{"a":"\\ud800"},"[,]"]', [b'{"a":"\\ud800"}', b'"[,]"'], id="half a surrogate pair"),
        pytest.param(b'[{"a":NaN},{"a":"\\"],{"}]', [b'{"a":NaN}', b'{"a":"\\"],{"}'], id="brackets in a string"),
        pytest.param(b'[NaN,{"a":[{"b":[[[[[[[[[[{"c":[1,"]"]}]]]]]]]]]]}]},3]',
                     [b"NaN", b'{"a":[{"b":[[[[[[[[[[{"c":[1,"]"]}]]]]]]]]]]}]}', b"3"], id="deep, a bracket in a string"),
        pytest.param(b"[1," + b"[" * 5000 + b"]" * 5000 + b",3]", [b"1", b"[" * 5000 + b"]" * 5000, b"3"], id="too deep"),
        pytest.param(b"[NaN," + BIG + b",3]", [b"NaN", BIG, b"3"], id="a large event that nobody parses"),
        pytest.param(b"[NaN,[" + BIG + b",no],3]", [b"NaN", b"[" + BIG + b",no]", b"3"], id="a large event that is no JSON"),
        pytest.param(b'[NaN,"' + b"\\\\" * 100_000 + b'",3]', [b"NaN", b'"' + b"\\\\" * 100_000 + b'"', b"3"], id="escapes over windows"),
        pytest.param(b'[NaN,"a' + b"\\\\" * 100_000 + b'",3]', [b"NaN", b'"a' + b"\\\\" * 100_000 + b'"', b"3"], id="escapes off by one"),
        pytest.param(b'{"a":NaN}', [b'{"a":NaN}'], id="one odd object"),
        pytest.param(b'{"a":NaN} {}', "unparseable", id="something behind the object"),
        pytest.param(b"[NaN] []", "unparseable", id="something behind the list"),
        pytest.param(b"[NaN,,1]", "unparseable", id="an element that is not there"),
        pytest.param(b"[NaN,1,]", "unparseable", id="a comma behind the last"),
        pytest.param(b"[NaN,no]", "unparseable", id="a small element that is no JSON"),
        pytest.param(b"[NaN,{]}", "unparseable", id="brackets of two kinds"),
        pytest.param(b"[NaN,[", "unparseable", id="brackets that do not close"),
        pytest.param(b'[NaN,"', "unparseable", id="a string that does not close"),
        pytest.param(b'[NaN,"\\', "unparseable", id="a string that ends in a backslash"),
        pytest.param(b'{"a":"' + b"x" * 90_000, "unparseable", id="a large object that does not close"),
        pytest.param(b"[" + b"1," * 100 + b"1]", "too_many_events", id="one event too many"),
        pytest.param(b"[" + b"NaN," * 100 + b"1]", "too_many_events", id="one odd event too many"),
        pytest.param(b"[" + b"1," * 50_000 + b"1]", "too_many_events", id="so many that they are counted first"),
        pytest.param(b"[[" + b"1," * 50_000 + b"1]]", [b"[" + b"1," * 50_000 + b"1]"], id="many commas in one event"),
    ],
)  # fmt: skip
def test_what_a_text_holds(text: bytes, expected: list[bytes] | str) -> None:
    assert pieces(text) == expected


values = st.recursive(
    st.one_of(st.integers(), st.none(), st.text(alphabet='ab"\\[]{},:é', max_size=6), st.just(float("nan"))),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=2), inner, max_size=3)),
    max_leaves=40,
)


@examples(60)
@given(st.lists(values, min_size=1, max_size=6), st.integers(2, 40), st.sampled_from(["", " ", "\n\t"]))
def test_a_list_splits_into_its_elements_in_windows_of_any_size(parts: list[object], window: int, blank: str) -> None:
    texts = [json.dumps(part, ensure_ascii=False).encode() for part in parts]
    body = f"[{blank}".encode() + f"{blank},{blank}".encode().join(texts) + f"{blank}]".encode()
    before = event_list._WINDOW
    event_list._WINDOW = window
    try:
        assert event_list._pieces(body, 100) == texts
    finally:
        event_list._WINDOW = before


@examples(100)
@given(st.lists(st.sampled_from(['"', "\\", "[", "]", "{", "}", ",", "a", '"x"', "[1]", "NaN", "1"]), max_size=30))
def test_any_text_has_an_answer(marks: list[str]) -> None:
    text = ("[" + "".join(marks)).encode()
    found = pieces(text)
    if isinstance(found, list):
        assert b"".join(found).replace(b",", b"") == text[1:-1].replace(b",", b""), "nothing is lost between the events"


SHAPES = {
    "escaped quotes, unclosed": (b'["', b'\\"', b""),
    "escaped quotes behind good elements": (b'[{"a":1},"', b'\\"', b"]"),
    "letters, unclosed": (b'["', b"a", b""),
    "backslashes": (b'["', b"\\", b""),
    "open brackets": (b"[", b"[", b""),
    "open brackets of both kinds": (b"[", b"[{", b""),
    "closed and open in turn": (b"[[", b"[[[[[]]]]],", b"NaN]]"),
    "unclosed groups": (b"[", b"[" + b"a" * 6000, b""),
    "strings in deep brackets": (b"[" * 20, b'["]",', b"1" + b"]" * 20),
    "quotes": (b"[NaN,", b'"', b"]"),
    "NaN": (b"[", b'{"a":NaN},', b"{}]"),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_work_is_linear_in_the_length(shape: str) -> None:
    start, unit, end = SHAPES[shape]

    def seconds(size: int) -> float:
        text = start + unit * (size // len(unit)) + end
        taken = []
        for _ in range(3):
            began = time.process_time()
            pieces(text, 5000, 64_000)
            taken.append(time.process_time() - began)
        return min(taken)

    assert seconds(200_000) < 0.05 + 10 * seconds(50_000), "four times the length is not sixteen times the work"
