"""Numbers as people read them: nothing that is there is a 0, nothing that is lost is all, and 0 has no sign."""

from __future__ import annotations

import pytest

from gtm_dagster.reports.command_lines import command_line, command_lines
from gtm_dagster.reports.number_text import amount, counted, money, share, signed


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param(None, "–", id="nothing known"),
        pytest.param(0.0, "0", id="nothing"),
        pytest.param(-0.02, "0", id="rounded to nothing from below"),
        pytest.param(-0.3, "-0.3", id="below"),
        pytest.param(1234.4, "1,234", id="no digit behind the point from 100 on"),
    ],
)
def test_amount(value: float | None, text: str) -> None:
    assert amount(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(-0.004, "0.00"), (-1e-12, "0.00"), (-12.5, "-12.50"), (999.996, "1,000"), (None, "–")],
    ids=["rounded to nothing", "a sum of floats", "below", "rounded up", "nothing known"],
)
def test_money(value: float | None, text: str) -> None:
    assert money(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0.0"), (-1e-12, "0.0"), (0.04, "0.0"), (1.25, "+1.2"), (-0.06, "-0.1"), (1234.0, "+1,234.0")],
)
def test_a_difference_has_a_sign_unless_it_is_none(value: float, text: str) -> None:
    assert signed(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param(0.0, "0 %", id="nobody"),
        pytest.param(1 / 5000, "< 0.1 %", id="one of very many is somebody"),
        pytest.param(0.006, "0.6 %", id="below one per cent"),
        pytest.param(0.12, "12 %", id="whole"),
        pytest.param(0.996, "99.6 %", id="not all"),
        pytest.param(4999 / 5000, "> 99.9 %", id="all but one"),
        pytest.param(1.0, "100 %", id="all"),
        pytest.param(1.5, "150 %", id="more than all"),
        pytest.param(-0.00001, "0.0 %", id="rounded to nothing from below"),
        pytest.param(-0.12, "-12 %", id="a gain of a guard"),
    ],
)
def test_share(value: float, text: str) -> None:
    assert share(value) == text


@pytest.mark.parametrize(("n", "text"), [(0, "0 rows"), (1, "1 row"), (2000, "2,000 rows")])
def test_how_many(n: int, text: str) -> None:
    assert counted(n, "row") == text


@pytest.mark.parametrize(
    ("words", "of_demo", "line"),
    [
        ("gtm refresh", False, "gtm refresh"),
        ("gtm refresh", True, "gtm refresh --demo"),
        ("gtm --demo dash", True, "gtm --demo dash"),
        ("gtm demo", True, "gtm demo"),
        ("make dev", True, "make dev"),
    ],
    ids=["own data", "the demo", "said already", "it makes the demo", "no command of ours"],
)
def test_a_command_works_on_what_is_shown(words: str, of_demo: bool, line: str) -> None:
    assert command_line(words, of_demo=of_demo) == line


def test_commands_of_a_sentence_are_those_in_backticks() -> None:
    text = "`gtm refresh` brings it, or `gtm dev`; gtm is a name, `GTM_CONFIG` a variable"
    assert command_lines(text, of_demo=False) == text
    assert command_lines(text, of_demo=True) == text.replace("refresh`", "refresh --demo`").replace(
        "dev`", "dev --demo`"
    )
