import pytest
from hypothesis import given
from hypothesis import strategies as st
from profiles import examples

from gtm_dagster.warehouse.engine import in_memory
from gtm_dagster.warehouse.literals import composed, literal, literals

TEXTS = [
    "",
    "'",
    "''",
    "o'brien",
    'a "b"',
    "; DROP TABLE t; --",
    "\\",
    "\\'",
    "a\nb\r\n",
    "$1 ? :x",
    "é 日本 🦆",
    "%s {x}",
    "/* '",
]


@pytest.mark.parametrize("text", TEXTS)
def test_the_database_gets_the_text_back(text):
    with in_memory() as con:
        assert con.execute(f"SELECT {literal(text)}, [{literals([text, 'x'])}]").fetchall() == [(text, [text, "x"])]


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
@examples(30)
def test_any_text_comes_back(text):
    with in_memory() as con:
        assert con.execute(f"SELECT {literal(text)}").fetchall() == [(text,)]


def test_a_path_is_a_text_and_a_nul_is_refused(tmp_path):
    assert literal(tmp_path / "o'brien") == f"'{tmp_path}/o''brien'"
    with pytest.raises(ValueError, match="NUL"):
        literal("a\0b")


def test_a_statement_is_put_together_of_tables_conditions_and_literals():
    text = composed("SELECT $columns FROM $table WHERE a = $1 AND $condition LIMIT $n", columns="a, b", table="core.t", condition=f"b = {literal('x;--')}", n=3)  # fmt: skip
    assert text == "SELECT a, b FROM core.t WHERE a = $1 AND b = 'x;--' LIMIT 3"
    assert composed("FROM ($query)", query="-- a person's\nSELECT 1") == "FROM (-- a person's\nSELECT 1)"


@pytest.mark.parametrize(
    "part", ["x'", "a; DROP TABLE t", "a -- b", "a /* b", '"a', "'' '", "'a' OR '1"], ids=lambda part: part
)
def test_a_value_that_did_not_become_a_literal_is_no_part(part):
    with pytest.raises(ValueError, match="goes through literal"):
        composed("SELECT $value", value=part)


def test_a_name_without_a_part_is_an_error():
    with pytest.raises(KeyError):
        composed("SELECT $one, $other", one="1")
