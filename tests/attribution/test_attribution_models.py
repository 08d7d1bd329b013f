"""Every registered model in its three forms: the definition by hand, the vectorised one, the statement `credits`.

A new model needs a row in CASES and its line in the statement; the tests below then run it, and fail without them.
"""

import math
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import duckdb
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gtm_dagster.attribution import MODELS, models, weights
from gtm_dagster.attribution.declaration import Options, PathTouches
from gtm_dagster.warehouse.statements import statement

ROOT = Path(__file__).parents[2]
HOUR_US = 3_600_000_000
HALF_LIFE = 168.0
HEAVY = {"numpy", "pandas", "pyarrow", "duckdb", "dagster", "pandera", "sqlite3"}

# model, ages in hours (oldest first), which are direct, shares worked out by hand
CASES = [
    pytest.param("first_touch", [9, 5, 1], None, [1, 0, 0], id="first_touch-the-oldest"),
    pytest.param("last_touch", [9, 5, 1], [False, False, True], [0, 0, 1], id="last_touch-the-newest-direct-or-not"),
    pytest.param("linear", [9, 5, 1, 0], None, [0.25] * 4, id="linear-the-same"),
    pytest.param("position_based", [9], None, [1], id="position_based-one-touch-gets-all"),
    pytest.param("position_based", [9, 1], None, [0.5, 0.5], id="position_based-two-touches-half-half"),
    pytest.param("position_based", [9, 5, 3, 1], None, [0.4, 0.1, 0.1, 0.4], id="position_based-shares-the-middle"),
    pytest.param("time_decay", [168, 0], None, [1 / 3, 2 / 3], id="time_decay-halves-in-a-half-life"),
    pytest.param("time_decay", [9e6, 9e6 - 168], None, [1 / 3, 2 / 3], id="time_decay-of-old-paths-does-not-underflow"),
    pytest.param("inverse_age", [1, 0], None, [1 / 3, 2 / 3], id="inverse_age-counts-hours-from-one"),
    pytest.param(
        "last_non_direct", [9, 5, 1], [False, False, True], [0, 1, 0], id="last_non_direct-passes-over-direct"
    ),
    pytest.param("last_non_direct", [9, 5], [True, True], [0, 1], id="last_non_direct-all-direct-is-direct"),
]


def test_the_registry_lists_the_models_in_their_order():
    assert MODELS == (
        "first_touch", "last_touch", "linear", "position_based", "time_decay", "inverse_age", "last_non_direct",
    )  # fmt: skip
    assert sorted(models.AGE_MODELS) == ["inverse_age", "time_decay"]
    assert sorted(models.MULTI_TOUCH_MODELS) == ["inverse_age", "linear", "position_based", "time_decay"]


@pytest.mark.parametrize("name", MODELS)
def test_every_model_has_a_case_worked_out_by_hand(name):
    assert any(case.values[0] == name for case in CASES), f"give {name} a row in CASES"


@pytest.mark.parametrize(("name", "ages", "direct", "expected"), CASES)
def test_shares_by_hand(name, ages, direct, expected):
    shares = weights(name, ages, HALF_LIFE, direct)
    assert shares == pytest.approx(expected)
    assert math.fsum(shares) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("name", MODELS)
def test_no_touch_no_share(name):
    assert weights(name, []) == []


@pytest.mark.parametrize("name", MODELS)
@given(
    touches=st.lists(st.tuples(st.floats(0, 1e7), st.booleans()), min_size=1, max_size=40),
    half_life=st.floats(0.01, 1e5),
)
def test_shares_sum_to_one(name, touches, half_life):
    ages = sorted((age for age, _ in touches), reverse=True)
    shares = weights(name, ages, half_life, [direct for _, direct in touches])
    assert math.fsum(shares) == pytest.approx(1, abs=1e-12)
    assert min(shares) >= 0
    if not models.model(name).multi_touch:
        assert sorted(shares)[-1] == 1.0, "a single-touch model gives all credit to one touch"


@pytest.mark.parametrize("name", MODELS)
def test_the_flags_are_true(name):
    """A model that declares no need of ages or of direct touches gives the same shares whatever they are."""
    declared = models.model(name)
    ages, direct = [50.0, 20.0, 3.0], [False, True, True]
    if not declared.needs_ages:
        assert weights(name, [0.0] * 3, HALF_LIFE, direct) == weights(name, ages, HALF_LIFE, direct)
    if not declared.needs_direct:
        assert weights(name, ages, HALF_LIFE) == weights(name, ages, HALF_LIFE, direct)
    if not declared.needs_half_life:
        assert weights(name, ages, 1.0, direct) == weights(name, ages, HALF_LIFE, direct)


paths = st.lists(st.lists(st.tuples(st.floats(0, 1e6), st.booleans()), min_size=1, max_size=8), min_size=1, max_size=15)


@pytest.mark.parametrize("name", MODELS)
@given(rows=paths, half_life=st.floats(1, 1e4))
def test_the_vectorised_form_equals_the_definition(name, rows, half_life):
    ages = [sorted((age for age, _ in row), reverse=True) for row in rows]
    direct = [[is_direct for _, is_direct in row] for row in rows]
    count = sum(map(len, rows))
    touches = PathTouches(
        lengths=np.array([len(row) for row in rows]),
        position=np.concatenate([np.arange(len(row)) for row in rows]),
        channel=np.zeros(count, dtype=np.int64),
        is_paid=np.zeros(count, dtype=bool),
        stages=np.zeros(count, dtype=np.int64),
        ages_hours=np.concatenate([np.array(row) for row in ages]),
        is_direct=np.concatenate([np.array(row, dtype=bool) for row in direct]),
        options=Options(half_life_hours=half_life),
    )
    expected = [share for a, d in zip(ages, direct, strict=True) for share in weights(name, a, half_life, d)]
    assert models.model(name).vectorised(touches) == pytest.approx(expected, abs=1e-12)


WINDOWS_HOURS = (24.0, 720.0)


@pytest.fixture(scope="module")
def conversions():
    """Conversion -> its touches as (age in microseconds, session, is direct), oldest first; ties and old ones among them."""
    rng = random.Random(5)
    found = {}
    for conversion in range(150):
        ages = sorted(
            (rng.choice([0, HOUR_US, rng.randrange(900 * HOUR_US)]) for _ in range(rng.randrange(7))), reverse=True
        )
        found[conversion] = [(age, f"s{i}", rng.random() < 0.4) for i, age in enumerate(ages)]
    return found


@pytest.fixture(scope="module")
def credited(conversions):
    """(model, window, conversion) -> {session: credit}, from the statement `credits` on DuckDB for every model at once."""
    with duckdb.connect() as con:
        con.execute("CREATE TABLE windows (model VARCHAR, window_hours DOUBLE, window_us BIGINT, half_life_us DOUBLE)")
        for hours in WINDOWS_HOURS:
            rows = [[name, hours, round(hours * HOUR_US), HALF_LIFE * HOUR_US] for name in MODELS]
            con.executemany("INSERT INTO windows VALUES (?, ?, ?, ?)", rows)
        con.execute("CREATE TABLE conversion_moments (conversion_id BIGINT)")
        con.executemany("INSERT INTO conversion_moments VALUES (?)", [[conversion] for conversion in conversions])
        con.execute(
            """CREATE TABLE conversion_touches (
                conversion_id BIGINT, session_key VARCHAR, source_key INTEGER, is_direct INTEGER, age_us BIGINT, touch_us BIGINT,
                tie_no BIGINT
            )"""
        )
        rows = [
            [conversion, session, 1, int(direct), age, -age, tie_no]
            for conversion, touches in conversions.items()
            for tie_no, (age, session, direct) in enumerate(sorted(touches, key=lambda touch: touch[1]))
        ]
        con.executemany("INSERT INTO conversion_touches VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
        found: dict[tuple, dict] = {}
        for conversion, model, hours, session, credit in con.execute(
            f"SELECT conversion_id, model, window_hours, session_key, credit FROM ({statement('credits')})"
        ).fetchall():
            found.setdefault((model, hours, conversion), {})[session] = credit
    return found


@pytest.mark.parametrize("hours", WINDOWS_HOURS)
@pytest.mark.parametrize("name", MODELS)
def test_the_statement_equals_the_definition(name, hours, conversions, credited):
    for conversion, touches in conversions.items():
        within = [touch for touch in touches if touch[0] <= hours * HOUR_US]
        shares = weights(name, [age / HOUR_US for age, _, _ in within], HALF_LIFE, [direct for *_, direct in within])
        expected = {session: share for (_, session, _), share in zip(within, shares, strict=True) if share > 0}
        assert credited[name, hours, conversion] == pytest.approx(expected or {None: 1.0}, abs=1e-9), conversion


def test_the_statement_names_every_model_and_no_other():
    """A model that the statement does not name would get 1 for each of its touches."""
    assert set(re.findall(r"WHEN '(\w+)'", statement("credits"))) == set(MODELS)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("markov", [1]), "not an attribution model"),
        (("linear", [-1]), r"ages_hours\[0\]"),
        (("linear", [1, 2]), "oldest first"),
        (("time_decay", [1], 0), "half_life"),
        (("last_non_direct", [2, 1], 168, [True]), "is_direct has 1"),
    ],
)
def test_wrong_input_is_named(arguments, says):
    with pytest.raises(ValueError, match=says):
        weights(*arguments)


DECLARATION = """
from gtm_dagster.attribution.declaration import Model
MODEL = Model(name={name!r}, order={order}, meaning="-", shares=lambda t: [], vectorised=lambda t: t.position)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A second folder of models; what it loads is gone after the test."""
    before = set(sys.modules)
    monkeypatch.setattr(models, "__path__", [*models.__path__, str(tmp_path)])
    yield tmp_path
    for name in [name for name in sys.modules if name not in before and name.startswith(models.__name__)]:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        pytest.param("nothing", "", "declares no MODEL named 'nothing'", id="no-model-in-the-file"),
        pytest.param("one_name", DECLARATION.format(name="another", order=99), "'one_name'", id="another-name"),
        pytest.param(
            "late", DECLARATION.format(name="late", order=3), "linear and late both have order 3", id="same-order"
        ),
    ],
)
def test_a_file_that_is_no_model_is_named(folder, file, text, says):
    (folder / f"{file}.py").write_text(text)
    with pytest.raises(ValueError, match=says):
        models.discover()


def test_a_file_in_the_folder_is_a_model(folder):
    (folder / "new_model.py").write_text(DECLARATION.format(name="new_model", order=99))
    assert tuple(models.discover()) == (*MODELS, "new_model")


@pytest.mark.parametrize("module", ["gtm_dagster.attribution", "gtm_dagster.attribution.models"])
def test_the_registry_is_light(module):
    """Settings and every command read it: no data frame library may come with the names of the models."""
    loaded = subprocess.run(
        [sys.executable, "-c", f"import sys, {module}; print(' '.join(sys.modules))"],
        capture_output=True, text=True, check=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
    ).stdout.split()  # fmt: skip
    assert not {name.partition(".")[0] for name in loaded} & HEAVY
