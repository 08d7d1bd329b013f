"""The registry of credit models: a file a model, in their order, and nothing heavy with it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gtm_dagster.attribution import MODELS, models
from gtm_dagster.attribution.models import TOUCH_MODELS

ROOT = Path(__file__).parents[2]
HEAVY = {"numpy", "pandas", "pyarrow", "duckdb", "dagster", "pandera", "sqlite3"}


def test_the_registry_lists_the_models_in_their_order():
    assert TOUCH_MODELS == (
        "first_touch", "last_touch", "linear", "position_based", "time_decay", "inverse_age", "last_non_direct",
        "first_paid", "last_paid", "linear_unique", "j_shaped", "inverse_j", "w_shaped", "full_path", "participation",
    )  # fmt: skip
    assert MODELS[: len(TOUCH_MODELS)] == TOUCH_MODELS, "models of touches stand before those of whole paths"
    assert sorted(models.AGE_MODELS) == ["inverse_age", "time_decay"]
    assert sorted(set(TOUCH_MODELS) - models.MULTI_TOUCH_MODELS) == [
        "first_paid", "first_touch", "last_non_direct", "last_paid", "last_touch",
    ]  # fmt: skip
    assert [name for name in MODELS if not models.model(name).conserves] == ["participation"]


DECLARATION = """
from gtm_dagster.attribution.models import TOUCH_MODELS
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
