"""Evidence recomputes its decision and outlives versions: older formats are read to their figures, nothing is ignored."""

from __future__ import annotations

import json
import sqlite3
import tarfile
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from acting_cases import (
    EPISODE,
    armed,
    broken,
    settings_for,
    through,
)
from hypothesis import given
from hypothesis import strategies as st
from traffic_cases import steady

from gtm_dagster.rollout.control.chart import PNG_BYTES, curves, inline, png
from gtm_dagster.rollout.control.evidence import (
    FORMAT,
    EvidenceError,
    digest,
    from_json,
    replay,
    replayed_decision,
    to_json,
)
from gtm_dagster.rollout.control.replay import compare
from gtm_dagster.rollout.guard.counts import Counts, outcomes_of
from gtm_dagster.rollout.guard.packed_outcomes import unpacked
from gtm_dagster.rollout.guard.rule import Rule

WRITTEN = Path(__file__).parents[1] / "formats" / "unversioned"
"""A state directory of version 0.1.0, which wrote evidence of format 1."""
EXPECTED = json.loads((WRITTEN / "expected.json").read_text())
BY_EVIDENCE, BY_HAND = (row["episode"] for row in EXPECTED["rollbacks"])


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Episode to document, as they lie in that version's ops.db."""
    folder = tmp_path_factory.mktemp("unversioned")
    with tarfile.open(WRITTEN / "state.tar.xz") as archive:
        archive.extract("./ops.db", folder, filter="data")
    connection = sqlite3.connect(folder / "ops.db")
    try:
        return dict(connection.execute("SELECT episode, bundle FROM rollbacks"))
    finally:
        connection.close()


def test_every_rollback_of_the_older_version_has_its_document(documents: dict[str, str]) -> None:
    assert set(documents) == set(EXPECTED["replays"]) == {BY_EVIDENCE, BY_HAND}


@pytest.mark.parametrize("episode", [BY_EVIDENCE, BY_HAND], ids=["on evidence", "by hand"])
def test_an_older_document_replays_to_the_figures_of_the_version_that_wrote_it(
    documents: dict[str, str], episode: str
) -> None:
    text = documents[episode]
    assert asdict(compare(from_json(text))) | {"sha256": digest(text)} == EXPECTED["replays"][episode]
    (recorded,) = (row for row in EXPECTED["rollbacks"] if row["episode"] == episode)
    assert digest(text) == recorded["bundle_sha256"]


@pytest.mark.parametrize("episode", [BY_EVIDENCE, BY_HAND], ids=["on evidence", "by hand"])
def test_nothing_of_an_older_document_is_lost_in_reading(documents: dict[str, str], episode: str) -> None:
    before, after = json.loads(documents[episode]), json.loads(to_json(from_json(documents[episode])))
    assert (before["format"], after["format"]) == (1, FORMAT)
    assert after["detector"] == 1, "what decided then"
    for versioned in ("format", "product_version"):
        del before[versioned], after[versioned]
    cells = before["counts"].pop("rows")
    assert [list(row) for row in Counts.from_json(after["counts"]).rows()] == cells, "in columns since format 5"
    for name, part in before.items():
        found = after[name]
        assert found == part if not isinstance(part, dict) else {key: found[key] for key in part} == part, name


def _in(part: str, name: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda document: (document[part] if part else document).update({name: value})


UNREADABLE: list[tuple[str, Callable[[dict[str, Any]], None], str]] = [
    (
        "a newer format names the version that wrote it",
        lambda document: document.update(format=FORMAT + 1, product_version="0.4.0"),
        f"format {FORMAT + 1} is newer than {FORMAT}, the newest this version reads; install gtm-dagster 0.4.0, which wrote it",
    ),
    (
        "a newer format of an unknown version",
        lambda document: document.update(format=FORMAT + 1, product_version="unknown"),
        f"format {FORMAT + 1} is newer than {FORMAT}, the newest this version reads; install a newer gtm-dagster",
    ),
    ("no format", lambda document: document.pop("format"), "it names no format"),
    ("a format that is no number", lambda document: document.update(format="1"), "it names no format"),
    ("a format before the first", lambda document: document.update(format=0), "it names no format"),
    ("a field of the document", _in("", "salt", 1), "salt: there is no such field in format 1"),
    ("a field of the rule", _in("rule", "grace_minutes", 1), "rule.grace_minutes: there is no such field in format 1"),
    ("a field of the verdict", _in("verdict", "p_value", 1), "verdict.p_value: there is no such field in format 1"),
    ("a field of the flag", _in("provider_before", "owner", "x"), "provider_before.owner: there is no such field"),
    ("a field of the counts", _in("counts", "arms", 3), "counts.arms: there is no such field"),
    ("a field of the guard", _in("guard", "owner", "x"), "guard: Object contains unknown field `owner`"),
    (
        "a field that is missing",
        lambda document: document["verdict"].pop("log_e"),
        "verdict: Object missing required field `log_e`",
    ),
    (
        "a field of another type",
        _in("rule", "threshold", "much"),
        "rule: Expected `float`, got `str` - at `$.threshold`",
    ),
    ("slots of another length", _in("counts", "slot_us", 1), "the counts are of another version"),
    ("a part that is no object", lambda document: document.update(rule=[]), "rule: [] is not an object"),
]


@pytest.mark.parametrize(("change", "message"), [row[1:] for row in UNREADABLE], ids=[row[0] for row in UNREADABLE])
def test_what_this_version_cannot_read_whole_is_refused_in_one_line(
    documents: dict[str, str], change: Callable[[dict[str, Any]], None], message: str
) -> None:
    document = json.loads(documents[BY_EVIDENCE])
    change(document)
    with pytest.raises(EvidenceError) as raised:
        from_json(json.dumps(document))
    assert message in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize("text", ["", "{}", '{"format": 99}', '{"format": 1}', "[1]", "null", '{"format": true}'])
def test_what_is_no_evidence_is_refused(text: str) -> None:
    with pytest.raises(EvidenceError):
        from_json(text)


@pytest.mark.parametrize("factor", [0.1, 0.5], ids=["dead flow", "half"])
def test_scenario_29_evidence_replays_to_the_same_decision(tmp_path, store, factor):
    context, watermark = armed(settings_for(tmp_path), store, broken(minutes=60, factor=factor, delay_minutes=2.0))
    assert through(context, watermark).outcome == "rolled_back"
    row = store.rollback(EPISODE)
    evidence = from_json(row.bundle)
    again = replay(evidence)
    assert again == evidence.verdict
    assert abs(again.log_e - row.log_e) <= 1e-9
    decision = replayed_decision(evidence)
    assert (decision.act, decision.decided_us, decision.reason) == (True, row.decided_us, row.reason)
    assert to_json(evidence) == row.bundle and len(digest(row.bundle)) == 64
    assert evidence.before.enabled


@pytest.mark.parametrize(
    "counts",
    [broken(), broken(minutes=1440, factor=1.0), broken(per_minute=0.1), broken(treated=steady(0.0), per_minute=1000)],
    ids=["dead flow", "a day", "hardly anybody", "zero conversions"],
)
def test_the_pictures_fit_where_they_are_shown(counts):
    drawn = curves(counts, Rule(), Rule().log_budget)
    assert len(inline("checkout-v2: conversion and evidence", drawn)) < 1000
    assert "data:image/svg+xml" in inline("checkout-v2: conversion and evidence", drawn)
    assert len(png("checkout-v2", drawn)) <= PNG_BYTES


_CELLS = st.lists(
    st.tuples(
        st.integers(0, 10**6), st.sampled_from(["control", "treatment"]), st.integers(-1, 240), st.integers(1, 9)
    ),
    max_size=40,
)


@given(cells=_CELLS, slower=_CELLS)
def test_counts_in_columns_are_the_counts_of_the_cells(cells: list[Any], slower: list[Any]) -> None:
    counts = replace(Counts.from_rows(cells, 0), metrics={"slow": outcomes_of(slower)} if slower else {})
    again = Counts.from_json(json.loads(json.dumps(counts.to_json())))
    assert again.rows() == counts.rows() and again.slot0 == counts.slot0
    assert (again.exposed == counts.exposed).all() and again.to_json() == counts.to_json()
    in_order = Counts.from_rows(sorted(cells), 0)
    assert (again.conv_slot.tolist(), again.conv_age.tolist()) == (
        in_order.conv_slot.tolist(),
        in_order.conv_age.tolist(),
    )


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"left": {}}, "outcomes are of control and treatment"),
        ({"control": {"slot": [1], "age": [1]}}, "each with slot, age, n"),
        ({"control": {"slot": [1], "age": [1], "n": [1, 2]}}, "its columns have 1, 1 and 2 cells"),
    ],
)
def test_columns_that_fit_nothing_are_refused(columns: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        unpacked(columns)
