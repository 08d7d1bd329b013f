"""A mapping that cannot be used is refused by its name, key and value, whatever is wrong with it."""

import pytest

from gtm_dagster.importing import MappingError, load_mapping
from gtm_dagster.importing.spend_mapping import load_spend_mapping

RULE = 'columns = {event_name = "e", user_id = "u"}\ntimestamp = {column = "t"}\n'
CASES = {
    "a NUL as quote": ('quote = "\\u0000"', "quote: '\\x00' is not one ASCII character"),
    "a NUL as delimiter": ('delimiter = "\\u0000"', "delimiter: '\\x00' is not"),
    "a line end as delimiter": ('delimiter = "\\n"', "delimiter: '\\n' is not"),
    "a line end as quote": ('quote = "\\r"', "quote: '\\r' is not"),
    "the delimiter as quote": ('quote = ","', "quote: ',' is the delimiter already"),
    "a letter of two bytes": ('delimiter = "é"', "delimiter: 'é' is not one ASCII character"),
    "two characters": ('delimiter = "||"', "delimiter: '||' is not"),
    "no delimiter": ('delimiter = ""', "delimiter: '' is not"),
    "an encoding that reads nothing": ('encoding = "undefined"', "encoding: 'undefined' is not an encoding"),
    "an encoding of bytes": ('encoding = "base64"', "encoding: 'base64' is not an encoding"),
    "an unknown encoding": ('encoding = "utf-9"', "encoding: 'utf-9' is not an encoding"),
    "an encoding with a NUL": ('encoding = "a\\u0000"', "encoding: 'a\\x00' is not an encoding"),
    "an empty encoding": ('encoding = ""', "encoding: '' is not an encoding"),
    "5,000 digits": ("[properties.n]\nvalue = " + "9" * 5_000, "cannot be read (Exceeds the limit (4300 digits)"),
    "nested beyond sense": ("null_values = " + "[" * 20_000 + "]" * 20_000, "nested too deeply"),
    "a zone with a NUL": ('[received_at]\ncolumn = "r"\ntimezone = "a\\u0000"', "received_at.timezone: 'a\\x00' is not"),
    "another type": ("encoding = 1", "Expected `str`, got `int`"),
}  # fmt: skip


@pytest.mark.parametrize(("lines", "says"), CASES.values(), ids=CASES.keys())
def test_a_mapping_that_cannot_be_used_is_named(tmp_path, lines, says):
    path = tmp_path / "shop.toml"
    path.write_text(RULE + lines)
    with pytest.raises(MappingError) as refused:
        load_mapping(path)
    message = str(refused.value)
    assert says in message and "shop.toml" in message and len(message) < 400


@pytest.mark.parametrize(
    "line", ['encoding = "undefined"', 'delimiter = "\\u0000"', 'delimiter = ""', 'encoding = "nope"', "decimal = " + "[" * 9_999]
)  # fmt: skip
def test_a_mapping_of_spend_that_cannot_be_used_is_named(tmp_path, line):
    path = tmp_path / "spend.toml"
    path.write_text(line)
    with pytest.raises(MappingError, match=r"spend\.toml: "):
        load_spend_mapping(path)
