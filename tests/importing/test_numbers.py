"""Numbers in the notation a mapping names, texts of properties replaced, and hints where another notation is meant."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gtm_dagster.importing import MappingError, load_mapping
from gtm_dagster.importing.file_rows import Rows
from gtm_dagster.importing.mapping import EventRule, Mapping, Property, TimeColumn
from gtm_dagster.importing.numbers import number_format
from gtm_dagster.importing.shaping import Shaper

MAPPING = """
[columns]
user_id = "u"
[constants]
event_name = "payment_completed"
[timestamp]
column = "at"
"""


@pytest.mark.parametrize(
    ("text", "decimal", "thousands", "expected"),
    [
        ("12.50", None, "", "12.50"), ("1.234", None, "", "1.234"), ("12,50", None, "", None), ("1e3", None, "", "1e3"),
        ("12,50", ",", "", "12.50"), ("-12,5", ",", "", "-12.5"), (" 7 ", ",", "", "7"), ("12.50", ",", "", None),
        ("1.234", ",", ".", "1234"), ("1.234,50", ",", ".", "1234.50"), ("1.234.567,8", ",", ".", "1234567.8"),
        ("1234,50", ",", ".", "1234.50"), ("0,5", ",", ".", "0.5"), ("12", ",", ".", "12"), ("-5", ",", ".", "-5"),
        ("12.50", ",", ".", None), ("1.23,4", ",", ".", None), ("1234.567", ",", ".", None), ("0.123", ",", ".", None),
        ("1,234.50", ".", ",", "1234.50"), ("1,234", None, ",", "1234"), ("1,23", None, ",", None), ("12,345,67", None, ",", None),
        ("1 234,5", ",", " ", "1234.5"), ("1\u00a0234,5", ",", " ", "1234.5"), ("1\u202f234,5", ",", " ", "1234.5"),
        ("1'234.5", ".", "'", "1234.5"), ("1\u2019234.5", ".", "'", "1234.5"),
        ("99 €", ",", ".", None), ("EUR", ",", ".", None), ("", ",", ".", None), ("1.234,", ",", ".", None), (",5", ",", ".", None),
        ("007", ",", ".", None), ("1,5e3", ",", "", "1.5e3"), ("1e400", None, "", None), ("NaN", None, "", None), ("1_000", None, "", None), ("٣", None, "", None),
    ],
)  # fmt: skip
def test_a_text_is_a_number_in_its_notation(text, decimal, thousands, expected):
    number = number_format(decimal, thousands)(text)
    assert number == expected
    if number is not None:
        json.loads(number)


def shaped(table: pa.Table, numeric=frozenset(), **mapping):
    rule = Mapping(
        columns={"user_id": "u"}, constants={"event_name": "payment_completed"}, timestamp=TimeColumn("at", "unix_s"), **mapping
    )  # fmt: skip
    table = table.append_column("u", pa.array(["u"] * table.num_rows)).append_column(
        "at", pa.array(["1"] * table.num_rows)
    )
    shaper = Shaper(Path("e.csv"), rule, "dev", 0)
    events = [shaper.shape(Rows(table.slice(i, 1), [i + 1], numeric=numeric)) for i in range(table.num_rows)]
    return [json.loads(text) for part in events for text in part.column("properties").to_pylist()], shaper.hints


def amounts(texts, numeric=frozenset(), **mapping):
    rule = mapping.pop("amount", Property("sum", "number"))
    properties, hints = shaped(pa.table({"sum": texts}), numeric, properties={"amount": rule}, **mapping)
    return [each.get("amount") for each in properties], hints


def test_a_decimal_comma_of_the_mapping_or_of_one_property():
    texts = pa.array(["12,50", "1.234,50", "1.234", "99 €", None])
    assert amounts(texts, decimal=",", thousands=".") == ([12.5, 1234.5, 1234, "99 €", None], ())
    own = Property("sum", "number", decimal=",", thousands=".")
    assert amounts(texts, amount=own) == ([12.5, 1234.5, 1234, "99 €", None], ())
    plain = Property("sum", "number", decimal=".", thousands="")
    assert amounts(pa.array(["1.5"]), amount=plain, decimal=",", thousands=".") == ([1.5], ())


def test_numbers_of_the_file_itself_need_no_notation():
    assert amounts(pa.array([1.234, 12.5]), decimal=",", thousands=".") == ([1.234, 12.5], ())
    assert amounts(pa.array(["1.234"]), frozenset({"sum"}), decimal=",", thousands=".") == ([1.234], ())


@pytest.mark.parametrize(
    ("texts", "mapping", "hint"),
    [
        (["12,50", "1"], {}, 'column sum: the text 12,50 is no number; name decimal = "," in the mapping'),
        (["12,50", "3,99"], {}, "column sum: 2 texts such as 12,50 are no number; name decimal"),
        (["1.234,50"], {}, "decimal = \",\" in the mapping and thousands"),
        (["12,50", "1.234"], {}, "and thousands, since the text 1.234 is taken for a number below a thousand"),
        (["1,234.50"], {}, 'name thousands = ","'),
        (["1,234"], {}, 'name thousands = "," in the mapping, or decimal = ","'),
        (["12.50"], {"decimal": ","}, 'is no number with decimal = ","; check the mapping'),
        (["1.234"], {}, None), (["99 €"], {}, None), (["12,50"], {"decimal": ","}, None), (["12.50"], {}, None),
        (["12,50"], {"decimal": "."}, None),
    ],
)  # fmt: skip
def test_a_column_that_needs_another_notation_says_so(texts, mapping, hint):
    found = amounts(pa.array(texts), **mapping)[1]
    assert (hint is None and not found) or (len(found) == 1 and hint in found[0])


def test_texts_of_a_property_are_replaced():
    table = pa.table({"c": ["eur", "USD", "none"]})
    own = {"currency": Property("c", values={"eur": "EUR", "none": ""})}
    assert shaped(table, properties=own)[0] == [{"currency": "EUR"}, {"currency": "USD"}, {}]
    among_fields = {"values": {"currency": {"eur": "EUR"}}, "properties": {"currency": Property("c")}}
    assert shaped(table, **among_fields)[0][0] == {"currency": "EUR"}
    number = {"amount": Property("c", "number", values={"eur": "1", "USD": "2.5", "none": ""})}
    assert shaped(table, properties=number)[0] == [{"amount": 1}, {"amount": 2.5}, {}]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (MAPPING + '[values.event_name]\n"" = "page_viewed"\n', r"values.event_name: '' is an empty cell \(null_values\)"),
        ('null_values = ["NULL"]\n' + MAPPING + '[values.event_name]\nNULL = "page_viewed"\n', "'NULL' is an empty cell"),
        (MAPPING + '[properties]\nc = { column = "c", values = { "" = "x" } }\n', "properties.c.values: '' is an empty cell"),
        (MAPPING + '[values.curency]\neur = "EUR"\n', "values.curency: nothing fills curency"),
        ('decimal = ",,"\n' + MAPPING, "decimal: ',,' is not one character"),
        ('decimal = ""\n' + MAPPING, "decimal: '' is not one character"),
        ('thousands = "0"\n' + MAPPING, "thousands: '0' is not one character"),
        ('thousands = "."\n' + MAPPING, r"thousands: '\.' is the decimal sign too"),
        ('decimal = ","\n' + MAPPING + '[properties]\na = { column = "a", thousands = "," }\n', r"properties.a.thousands: ','"),
        ('escape = "ab"\n' + MAPPING, "escape: 'ab' is not one ASCII character"),
        ('escape = ","\n' + MAPPING, "escape: ',' is the delimiter"),
        (MAPPING + 'format = "%Q"\n', "timestamp.format: '%Q' has '%Q', which is not one of %Y"),
        (MAPPING + "format = []\n", "timestamp.format: an empty list"),
        (MAPPING + 'format = ["iso", "%H:%M"]\n', "timestamp.format: '%H:%M' is not iso"),
    ],
)  # fmt: skip
def test_a_faulty_mapping_names_its_key(tmp_path, text, says):
    path = tmp_path / "m.toml"
    path.write_text(text)
    with pytest.raises(MappingError, match=says):
        load_mapping(path)


def test_an_empty_cell_is_a_text_where_the_mapping_says_so(tmp_path):
    path = tmp_path / "m.toml"
    path.write_text("null_values = []\n" + MAPPING + '[values.event_name]\n"" = "page_viewed"\n')
    assert load_mapping(path).values == {"event_name": {"": "page_viewed"}}


def test_a_mapping_without_later_keys_keeps_its_fingerprint():
    rule = Mapping(
        columns={"user_id": "u"}, constants={"event_name": "e"}, timestamp=TimeColumn("at"), properties={"a": Property("a", "number")},
        events=(EventRule(properties={"b": Property(value=1)}),),
    )  # fmt: skip
    assert rule.fingerprint == "287692799bd9d4b9ed4fbd741e5557177589977ed2be5a8b04e1ddbcfa842a6d"
    others = [
        Mapping(decimal=","),
        Mapping(thousands=","),
        Mapping(escape="\\"),
        Mapping(properties={"a": Property("a", decimal=",")}),
    ]
    assert len({other.fingerprint for other in [*others, Mapping(), Mapping(properties={"a": Property("a")})]}) == 6


def test_columns_of_a_parquet_file_with_numbers_are_not_hinted_at(tmp_path):
    pq.write_table(pa.table({"sum": [1.234, 12.5]}), tmp_path / "e.parquet")
    assert amounts(pq.read_table(tmp_path / "e.parquet").column("sum")) == ([1.234, 12.5], ())
