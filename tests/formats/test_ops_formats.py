"""The ops store and the positions of version 0.1.0 in today's program: migrated, and counted on as that version did.

`expected.json` is what 0.1.0 itself reported of a copy after `gtm stream --once`, which counted what waited in the log.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
from profiles import slow_but

from gtm_dagster.eventlog import Position
from gtm_dagster.opsstore import GuardProgress, OpsStore

FIXTURE = Path(__file__).parent / "unversioned"
EXPECTED: dict[str, Any] = json.loads((FIXTURE / "expected.json").read_text())
CHECKOUT, DRILL, SIGNUP = (row[0] for row in EXPECTED["guards"])


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """The state directory as 0.1.0 left it."""
    with tarfile.open(FIXTURE / "state.tar.xz") as archive:
        archive.extractall(tmp_path / "state", filter="data")
    return tmp_path / "state"


def store_of(state: Path) -> OpsStore:
    return OpsStore(f"sqlite:///{state / 'ops.db'}")


def counts(store: OpsStore, key: str) -> list[list[Any]]:
    return [[key, 1, *row] for row in store.counts(key, 1)]


def drill_units(store: OpsStore) -> tuple[int, int]:
    """Rows and units of the drill's counts, as counted by hand in the fixture."""
    rows = store.counts(DRILL, 1)
    return len(rows), sum(n for *_, n in rows)


def guards(store: OpsStore) -> list[list[Any]]:
    return [[row.guard, row.state, row.epoch, row.episode] for row in store.guards()]


def test_the_store_is_migrated_with_all_that_is_in_it(state):
    with store_of(state) as store:
        assert guards(store) == EXPECTED["guards"]
        assert {key: [epoch for epoch, _ in epochs] for key, epochs in store.epochs().items()} == {
            CHECKOUT: [1], DRILL: [1], SIGNUP: [1],
        }  # fmt: skip
        assert all(store.check_chain(key) for key in (CHECKOUT, DRILL, SIGNUP))
        assert [store.epoch_rule(key, 1) for key in (CHECKOUT, DRILL, SIGNUP)] == [None] * 3, "the settings decide"
        assert store.positions() == {
            name: Position("", 979) for name in ("stream", *(f"guard:{key}" for key in (CHECKOUT, DRILL, SIGNUP)))
        }
        assert store.guard_progress() == {
            CHECKOUT: GuardProgress(1, 4003531794),
            DRILL: GuardProgress(1, 754909916),
            SIGNUP: GuardProgress(1, 4003531794),
        }
        assert {row.episode: row.bundle_sha256 for row in store.rollbacks(evidence=False)} == {
            row["episode"]: row["bundle_sha256"] for row in EXPECTED["rollbacks"]
        }
        before = counts(store, CHECKOUT)
        assert (len(before), sum(row[-1] for row in before)) == (132, 170), "the rest waits in the log"
        assert (drill_units(store), store.counts(SIGNUP, 1)) == ((329, 805), [])
    with store_of(state) as store:
        assert counts(store, CHECKOUT) == before


@pytest.mark.parametrize("again", slow_but(1, False, True), ids=["from the positions of 0.1.0", "and once more"])
def test_the_worker_counts_on_as_the_version_that_wrote_it(state, tmp_path, again):
    environment = {**os.environ, "GTM_CONFIG": str(FIXTURE / "gtm.toml"), "GTM_STATE_DIR": str(state)}
    for _ in range(1 + again):
        done = subprocess.run(
            [sys.executable, "-m", "gtm_dagster.cli", "stream", "--once", "--json"],
            env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    with store_of(state) as store:
        assert counts(store, CHECKOUT) == EXPECTED["guard_counts"]
        assert (drill_units(store), store.counts(SIGNUP, 1)) == ((329, 805), [])
        assert guards(store) == EXPECTED["guards"]
        positions = store.positions()
    assert json.loads(done.stdout)["offset"] == positions["stream"].seq > 979
    assert len({position.log_id for position in positions.values()}) == 1 and positions["stream"].log_id
    assert (json.loads(done.stdout)["changed_units"] == 0) == again
