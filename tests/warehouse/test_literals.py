import pytest
from hypothesis import given
from hypothesis import strategies as st
from profiles import examples

from gtm_dagster.warehouse.engine import in_memory
from gtm_dagster.warehouse.literals import literal, literals

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
