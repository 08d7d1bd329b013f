"""Guards and ages as pages read them: live, without writing, and said where they are not to be had."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from dashboard_cases import dashboard, publish, settings_in, small

from gtm_dagster.dashboard.data_ages import DataAges
from gtm_dagster.dashboard.links import dashboard_url, page_of
from gtm_dagster.dashboard.live_store import NEVER, LiveStore
from gtm_dagster.dashboard.notices import UnavailableError
from gtm_dagster.opsstore import OpsStore
from gtm_dagster.settings import Dashboard, Guard

GUARDS = (Guard("checkout", "payment_completed"), Guard("pricing", "signup_completed"))


def armed(folder: Path) -> None:
    """An ops store in which the first guard is armed and the other one is not known."""
    settings = settings_in(folder, guards=GUARDS)
    guard = GUARDS[0]
    with OpsStore.of(settings) as store:
        store.ensure(guard.key, guard.flag, guard.conversion, guard.environment)
        store.new_epoch(
            guard.key, 0, 1_000, actor="ann", reason="launch", fingerprint=None, at_us=1_764_000_000_000_000
        )


def test_guards_stand_as_in_the_store_and_those_never_armed_beside_them(tmp_path: Path) -> None:
    armed(tmp_path)
    live = LiveStore(settings_in(tmp_path, guards=GUARDS))
    assert [(guard.flag, guard.state) for guard in live.guards()] == [("pricing", NEVER), ("checkout", "ARMED")]
    assert live.guards()[1].since is not None
    live.close()


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda path: path.unlink(), "There is no ops store yet"),
        (lambda path: path.write_bytes(b"no database" * 1000), "does not answer"),
        (lambda path: _forget_the_last_migration(path), "does not answer"),
    ],
    ids=["missing", "another file", "an older version"],
)
def test_without_the_store_a_page_says_so_and_shows_the_rest(tmp_path: Path, harm, said: str) -> None:  # type: ignore[no-untyped-def]
    armed(tmp_path)
    settings = settings_in(tmp_path, guards=GUARDS)
    publish(settings.serving_path, small(3))
    path = tmp_path / "ops.db"
    for beside in tmp_path.glob("ops.db-*"):
        beside.unlink()
    harm(path)
    before = path.read_bytes() if path.exists() else None
    with dashboard(settings) as client:
        page = client.get("/").text
    assert said in page and "gtm " in page
    assert "Conversions by day" in page
    assert (path.read_bytes() if path.exists() else None) == before  # nothing was made or migrated


def _forget_the_last_migration(path: Path) -> None:
    with sqlite3.connect(path) as con:
        con.execute("PRAGMA journal_mode = DELETE")
        con.execute("DELETE FROM migrations WHERE name = (SELECT max(name) FROM migrations)")
        con.commit()
    con.close()
    path.chmod(0o600)
    with sqlite3.connect(path) as again:
        again.execute("PRAGMA journal_mode = WAL")
    again.close()


def test_a_store_that_comes_back_is_read_again(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, guards=GUARDS)
    live = LiveStore(settings)
    with pytest.raises(UnavailableError):
        live.guards()
    armed(tmp_path)
    assert len(live.guards()) == 2
    (tmp_path / "ops.db").rename(tmp_path / "away.db")
    with pytest.raises(UnavailableError) as gone:
        live.guards()
    assert gone.value.notice.since is not None
    live.close()


def test_ages_that_are_not_known_say_why(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    ages = DataAges(settings, LiveStore(settings)).ages(None)
    assert [(age.name, age.at) for age in ages] == [("received", None), ("counted", None), ("landed", None), ("published", None)]  # fmt: skip
    assert all(age.why for age in ages)


@pytest.mark.parametrize(
    ("host", "url"),
    [("127.0.0.1", "http://127.0.0.1:8380"), ("0.0.0.0", "http://127.0.0.1:8380"), ("::1", "http://[::1]:8380")],
)
def test_links_lead_to_a_page_that_is_there(tmp_path: Path, host: str, url: str) -> None:
    settings = settings_in(tmp_path, dashboard=Dashboard(host=host))
    assert dashboard_url(settings) == url
    assert page_of(settings, "marts.channel_attribution") == f"{url}/attribution"
    assert page_of(settings, "core.sources") == f"{url}/data?table=core.sources"
