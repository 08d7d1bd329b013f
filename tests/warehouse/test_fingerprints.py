"""A changed rule, statement, data file or plan is a changed setting: what it touches is rebuilt, and told.

Each case is a whole copy of the program with one file changed, run on the warehouse that the present one built.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from warehouse_cases import START, event, land, settings_for

pytestmark = pytest.mark.slow
LIBRARY = Path(__file__).parents[2] / "gtm_dagster"
CASES = str(Path(__file__).parent)
REFRESH = """
import json, sys
from pathlib import Path
from warehouse_cases import PLAN, settings_for
from gtm_dagster.warehouse.build import all_checks, build_all
from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.engine import opened
from gtm_dagster.warehouse.fingerprints import SettingsChangedError, check_settings
from gtm_dagster.warehouse.verify import verify

settings = settings_for(Path(sys.argv[1]))
ctx = BuildContext(settings, PLAN)
found = {"refused": None}
with opened(settings.warehouse_path, settings) as con:
    try:
        check_settings(con, ctx, allow_rebuild=False)
    except SettingsChangedError as error:
        found["refused"] = str(error)
    found["rebuilt"] = check_settings(con, ctx, allow_rebuild=True)
    build_all(con, ctx)
    found["failed"] = [check.name for _, check in all_checks() if not check.run(con, ctx).passed]
    found["channels"] = con.execute("SELECT channel FROM core.sessions ORDER BY start_us").fetchall()
    found["touches"] = con.execute("SELECT count(*) FROM core.touchpoints").fetchall()[0][0]
    found["quarantined"] = con.execute("SELECT count(*) FROM staging.quarantine").fetchall()[0][0]
found["differences"] = verify(settings, PLAN).differences
print(json.dumps(found))
"""


def refreshed(program: Path, state: Path) -> dict:
    """Refresh `state` with the library of the folder `program`, and compare with a rebuild by the same library."""
    done = subprocess.run(
        [sys.executable, "-c", REFRESH, str(state)], capture_output=True, text=True, check=False, cwd=program,
        env={"PYTHONPATH": f"{program}:{CASES}", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def program_with(folder: Path, file: str, before: str, after: str) -> Path:
    """A copy of the library with one text replaced in one file."""
    # With what is compiled, but not what another process compiles just now; a changed file is compiled anew.
    shutil.copytree(LIBRARY, folder / "gtm_dagster", ignore=shutil.ignore_patterns("*.pyc.*"))
    place = folder / "gtm_dagster" / file
    text = place.read_text()
    assert text.count(before) >= 1, f"{file} does not hold {before!r}"
    place.write_text(text.replace(before, after, 1))
    return folder


def rows(n: int) -> list[dict]:
    """A visit from an unknown source, and a payment at its very first moment; of person `n`."""
    person, moment = {"user_id": f"u{n}"}, START + n * 3_600_000_000
    return [
        event(f"a{n}", moment, **person, source="acme", medium="push_banner"),
        event(f"b{n}", moment, **person, event_name="payment_completed"),
    ]


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """A state directory with one batch, refreshed by the present program."""
    state = tmp_path_factory.mktemp("built") / "state"
    land(settings_for(state), rows(0), "one")
    plain = refreshed(LIBRARY.parent, state)
    assert plain["rebuilt"] == [] and not any(plain["differences"].values())
    return state


@pytest.fixture
def settings(built, tmp_path):
    """Those of a copy of the directory that the present program built."""
    return settings_for(Path(shutil.copytree(built, tmp_path / "state")))


CHANGES = [
    pytest.param(
        "channels/grouping.py", '_DISPLAY = frozenset({"display",', '_DISPLAY = frozenset({"display", "push_banner",',
        "channels", {"channels": [["Display"], ["Display"]]}, id="a channel rule in code",
    ),
    pytest.param(
        "channels/sources.yaml", "  naver: [naver.com,", "  naver: [acme, naver.com,",
        "channels", {"channels": [["Organic Search"], ["Organic Search"]]}, id="the list of sources",
    ),
    pytest.param(
        "channels/workspaces.yaml", "  - console.aws.amazon.com", "  - console.aws.amazon.com\n  - acme.example",
        "channels", {"channels": [["Unassigned"], ["Unassigned"]]}, id="the list of work pages",
    ),
    pytest.param(
        "channels/returns.yaml", "  auth0: [", "  auth0: [acme.example, ",
        "channels", {"channels": [["Unassigned"], ["Unassigned"]]}, id="the list of pages that send back",
    ),
    pytest.param(
        "warehouse/sql/core/touchpoints.sql", "c.conversion_us AS mark_us, 9223372036854775807 AS tie_no", "c.conversion_us AS mark_us, 0 AS tie_no",
        "core.touchpoints: statements", {"touches": 0}, id="a statement",
    ),
    pytest.param(
        "attribution/models/j_shaped.py", "WEIGHTS = (0.2, 0.2, 0.6)", "WEIGHTS = (0.2, 0.1, 0.7)",
        "marts.attribution_credits: statements", {}, id="the weights of a model",
    ),
    pytest.param(
        "warehouse/sql/staging/new_events.sql", "h.device_type IS DISTINCT FROM 'api'", "h.device_type IS DISTINCT FROM 'web'",
        "staging rules", {"channels": [], "touches": 0}, id="a statement of staging",
    ),
    pytest.param(
        "attribution/markov_chain.py", "ROUNDING = 1e-12", "ROUNDING = 1e-10",
        "marts.data_driven_attribution: data-driven models", {"touches": 2}, id="a model of all paths",
    ),
    pytest.param(
        "taxonomy/plan.yaml", "path: {type: string, max_length: 2048, description: Path of the page without its query}",
        "path: {type: string, max_length: 2048, required: true, description: Path of the page without its query}",
        "plan", {"quarantined": 2}, id="the tracking plan",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("file", "before", "after", "key", "expected"), CHANGES)
def test_a_change_rebuilds_what_it_touches(settings, tmp_path, file, before, after, key, expected):
    land(settings, rows(1), "two")
    found = refreshed(program_with(tmp_path / "program", file, before, after), settings.state_dir)
    assert key in found["refused"] and "gtm refresh" in found["refused"]
    assert [line for line in found["rebuilt"] if line.startswith(f"{key}: built with")], found["rebuilt"]
    assert not any(found["differences"].values()), found["differences"]
    assert found["failed"] in ([], ["batches_are_mostly_accepted"], ["reject_rate_is_low"])
    assert {name: found[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("file", "before", "after"),
    [
        pytest.param(
            "channels/grouping.py",
            '"""The default channel grouping',
            '"""Channels',
            id="a docstring",
        ),
        pytest.param(
            "warehouse/sql/core/touchpoints.sql",
            "-- One row",
            "-- A row",
            id="a comment of a statement",
        ),
        pytest.param("warehouse/engine.py", "256MB", "128MB", id="what decides no content"),
        pytest.param(
            "warehouse/schema/marts_funnel.py",
            "Distinct persons",
            "Persons",
            id="the meaning of a column",
        ),
    ],
)
def test_what_decides_nothing_rebuilds_nothing(settings, tmp_path, file, before, after):
    found = refreshed(program_with(tmp_path / "program", file, before, after), settings.state_dir)
    assert (found["refused"], found["rebuilt"]) == (None, [])
