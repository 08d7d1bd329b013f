"""What a message says of a name that nobody knows."""

from __future__ import annotations

import pytest

from gtm_dagster.settings.nearest import known_names


@pytest.mark.parametrize(
    ("name", "known", "words"),
    [
        pytest.param(
            "chekout", ["checkout", "search"], "did you mean checkout? (known: checkout, search)", id="a typing error"
        ),
        pytest.param("zzz", ["checkout", "search"], "known: checkout, search", id="nothing like it"),
        pytest.param("zzz", [], "known: none", id="nothing known"),
        pytest.param("a", ["b", "b"], "known: b", id="each once"),
    ],
)
def test_known_names(name: str, known: list[str], words: str) -> None:
    assert known_names(name, known) == words
