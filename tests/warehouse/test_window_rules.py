"""Which touches count and what each window asks for, as rows; and a window that names what is no channel."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import pytest
from credit_oracle import Touch, transformed
from warehouse_cases import PLAN, settings_for

from gtm_dagster.channels import CHANNELS
from gtm_dagster.channels.window_channels import check_window_channels
from gtm_dagster.settings import SettingsError, read_settings
from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.engine import opened
from gtm_dagster.warehouse.fingerprints import check_settings
from gtm_dagster.warehouse.marts.window_rules import Rules, lookbacks, rules_of
from gtm_dagster.warehouse.statements import statement


def rules(folder: Path, *windows: dict) -> Rules:
    settings = settings_for(folder, GTM_ATTRIBUTION__WINDOWS=json.dumps(windows))
    return rules_of(settings, {(w.label, float(w.lookback_hours)) for w in settings.attribution.windows})


def test_windows_that_count_the_same_touches_share_a_path(tmp_path: Path) -> None:
    found = rules(
        tmp_path,
        {"model": "linear", "lookback_hours": 24},
        {"model": "time_decay", "lookback_hours": 24, "half_life_hours": 3},
        {"model": "time_decay", "lookback_hours": 24, "name": "slower", "half_life_hours": 9},
        {"model": "first_touch", "lookback_hours": 24, "transforms": ["unique"]},
        {"model": "last_touch", "lookback_hours": 24, "without": ["Direct"]},
        {"model": "linear", "lookback_hours": 24, "name": "not direct", "without": ["Direct"]},
        {"model": "linear", "lookback_hours": 25},
    )
    assert [row[2] for row in found.windows.rows] == [1, 1, 2, 1, 3, 3, 4]
    by_path: dict[object, set] = {}
    for row in found.windows.rows:
        by_path.setdefault(row[2], set()).add(row[4])
    assert all(len(half_lives) == 1 for half_lives in by_path.values()), "a path is summed up by one half-life"
    assert len(found.path_channels.rows) == len(CHANNELS) - 1


def test_a_window_that_is_not_computed_has_no_rule(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    assert rules_of(settings, set()).windows.rows == ()
    with duckdb.connect() as con:
        assert con.execute(rules_of(settings, set()).windows.query).fetchall() == []


def test_lookbacks_are_those_of_windows_and_channels(tmp_path: Path) -> None:
    windows = [{"model": "linear", "lookback_hours": 24, "channel_hours": {"Email": 2, "Direct": 1}}]
    settings = settings_for(tmp_path, GTM_ATTRIBUTION__WINDOWS=json.dumps(windows))
    assert [us // 3_600_000_000 for (us,) in lookbacks(settings).rows] == [1, 2, 24]


# A path, oldest first, one letter a channel (d: Direct); what each transform leaves of it.
PATHS = {
    "abdd": {"unique": "abdd", "exposure": "abd", "first": "abd", "last": "abd", "newest:2": "dd", "remove_if_not_all:Direct": "ab", "remove_if_last_and_not_all:Direct": "ab"},
    "dd": {"unique": "dd", "exposure": "d", "first": "d", "last": "d", "newest:2": "dd", "remove_if_not_all:Direct": "dd", "remove_if_last_and_not_all:Direct": "dd"},
    "aadadd": {"exposure": "adad", "first": "ad", "last": "ad", "newest:9": "aadadd", "remove_if_not_all:Direct": "aaa", "remove_if_last_and_not_all:Direct": "aada"},
    "aba": {"first": "ab", "last": "ba", "exposure": "aba", "newest:1": "a"},
}  # fmt: skip
NAMES = {"a": "Email", "b": "Paid Search", "d": "Direct"}


@pytest.mark.parametrize(
    ("path", "transform", "left"), [(p, t, left) for p, each in PATHS.items() for t, left in each.items()]
)
def test_a_transform_by_hand(tmp_path: Path, path: str, transform: str, left: str) -> None:
    """The statement and the oracle; where a transform keeps one touch of several, its place says which."""
    letters = {name: letter for letter, name in NAMES.items()}
    touches = [Touch(place, str(place), NAMES[letter]) for place, letter in enumerate(path)]
    oracle = transformed(touches, transform)
    assert "".join(letters[touch.channel] for touch in oracle) == left
    found = rules(tmp_path, {"model": "linear", "lookback_hours": 24, "transforms": [transform]})
    with duckdb.connect() as con:
        con.execute(f"CREATE TABLE path_steps AS {found.path_steps.query}")
        con.execute(
            """CREATE TABLE path_touches (path_no INTEGER, conversion_id INTEGER, session_key VARCHAR, source_key INTEGER,
            channel_no INTEGER, is_direct INTEGER, is_paid INTEGER, age_us BIGINT, back_no BIGINT, youngest_us BIGINT)"""
        )
        for touch in touches:
            age = len(path) - touch.at_us
            row = [1, 1, touch.session, 1, CHANNELS.index(touch.channel), 0, 0, age, age, 1]
            con.execute(f"INSERT INTO path_touches VALUES ({', '.join('?' * len(row))})", row)
        sql = statement("transformed_touches", step_no=1)
        kept = con.execute(
            f"SELECT session_key, back_no, youngest_us, age_us FROM ({sql}) ORDER BY back_no DESC"
        ).fetchall()
    assert [row[0] for row in kept] == [touch.session for touch in oracle]
    assert [row[1] for row in kept] == list(range(len(kept), 0, -1))
    assert {row[2] for row in kept} == {min(row[3] for row in kept)}


@pytest.mark.parametrize(
    ("option", "says"),
    [
        pytest.param({"only": ["Paid Serch"]}, r"windows\[0\]\.only: 'Paid Serch' is not a channel; did you mean Paid Search\?", id="only"),
        pytest.param({"without": ["direct"]}, r"without: 'direct' is not a channel; did you mean Direct\?", id="without"),
        pytest.param({"channel_hours": {"E-mail": 2}}, r"channel_hours: 'E-mail' is not a channel; did you mean Email\?", id="hours"),
        pytest.param({"transforms": ["newest:3", "remove_if_not_all:Social"]}, r"transforms: 'Social' is not a channel", id="transform"),
    ],
)  # fmt: skip
def test_what_is_no_channel_is_named_with_the_nearest(tmp_path: Path, option: dict, says: str) -> None:
    windows = json.dumps([{"model": "linear", "lookback_hours": 24, **option}])
    settings, origin = read_settings(None, {"GTM_STATE_DIR": str(tmp_path), "GTM_ATTRIBUTION__WINDOWS": windows})
    with pytest.raises(SettingsError, match=says + r".*GTM_ATTRIBUTION__WINDOWS"):
        check_window_channels(settings, origin)
    with opened(tmp_path / "w.duckdb", settings) as con, pytest.raises(SettingsError, match=says):
        check_settings(con, BuildContext(settings, PLAN), allow_rebuild=True)


def test_every_channel_there_is_may_be_named(tmp_path: Path) -> None:
    check_window_channels(
        settings_for(
            tmp_path,
            GTM_ATTRIBUTION__WINDOWS=json.dumps([{"model": "linear", "lookback_hours": 1, "only": list(CHANNELS)}]),
        )
    )
