"""No secret of the settings lies in Dagster's home, whichever way a run began."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from acting_cases import armed, broken, settings_for
from guard_deployment import QUIET, Deployment
from history_cells import kept

from gtm_dagster.collector.keys import KeyStore
from gtm_dagster.opsstore import OpsStore
from gtm_dagster.orchestration.guard_tick import guard_once
from gtm_dagster.orchestration.history_secrets import NOTE, secret_names
from gtm_dagster.orchestration.instance import instance_of
from gtm_dagster.orchestration.refresh_run import run_refresh
from gtm_dagster.settings import FlagProvider, Notify, Privacy, Settings

KEY, HOOK, PROVIDER, STORE, TOKEN = "KEY-5e1f", "HOOK-77aa", "PROVIDER-31cc", "STORE-90dd", "TOKEN-12ee"


def with_secrets(folder: Path) -> Settings:
    return settings_for(
        folder,
        privacy=Privacy(pseudonym_key=KEY),
        notify=(Notify("slack", url=f"http://127.0.0.1:9/{HOOK}"), Notify("webhook", url_env="HOOK_ADDRESS")),
        providers=(FlagProvider("u", "unleash", url=f"http://x:{PROVIDER}@127.0.0.1:9", token_env="UNLEASH_TOKEN"),),
        ops_url=f"sqlite:///{folder / f'{STORE}.db'}",
    )


def planted(settings: Settings) -> list[bytes]:
    write_key = KeyStore(settings.keys_dir, allow_dev=False).add("web")
    return [secret.encode() for secret in (KEY, HOOK, PROVIDER, STORE, TOKEN, str(write_key))]


def refreshed(settings: Settings) -> None:
    from gtm_dagster.definitions import build_defs

    assert run_refresh(settings, build_defs).ok


def started_in_the_ui(settings: Settings) -> None:
    """With run config, as the Launchpad sends it: Dagster makes a copy of the resource with the values given."""
    with instance_of(settings) as instance:
        config = {"resources": {"warehouse": {"config": {"allow_rebuild": True, "full": True}}}}
        assert Deployment(settings, instance).execute("refresh", config).success


def rolled_back(settings: Settings) -> None:
    from gtm_dagster.definitions import build_defs

    with OpsStore.of(settings) as store:
        armed(settings, store, broken())
        assert guard_once(settings, build_defs)
        assert store.rollbacks()[0].verified


@pytest.mark.parametrize("way", [refreshed, started_in_the_ui, rolled_back])
def test_no_secret_lies_in_dagsters_home(tmp_path, monkeypatch, way):
    monkeypatch.setenv("HOOK_ADDRESS", f"http://127.0.0.1:9/{HOOK}")
    monkeypatch.setenv("UNLEASH_TOKEN", TOKEN)
    settings = with_secrets(tmp_path / ".gtm")
    secrets = planted(settings)
    way(settings)
    found = list(kept(settings.dagster_home))
    assert any("snapshots.snapshot_body" in where for where, _ in found)
    assert [where for where, what in found for secret in secrets if secret in what] == []


class OldWarehouse(dg.ConfigurableResource):  # type: ignore[type-arg]
    """As versions before this one handed the settings to a refresh."""

    settings_json: str = ""
    has_lock: bool = False


@dg.op
def build(warehouse: OldWarehouse) -> None: ...


def old_run(instance: dg.DagsterInstance, settings_json: str) -> Any:
    @dg.job(resource_defs={"warehouse": OldWarehouse(settings_json=settings_json, has_lock=True)})
    def refresh() -> None:
        build()

    result = refresh.execute_in_process(instance=instance, run_config=QUIET)
    return instance.get_run_by_id(result.run_id)


OLD = json.dumps(
    {"privacy": {"pseudonym_key": KEY}, "notify": [{"url": None}, {"url": f"http://h/{HOOK}"}], "ops_url": None}
)


def test_a_history_of_before_is_cleaned_once_and_stays_readable(tmp_path, caplog):
    settings = settings_for(tmp_path)
    with instance_of(settings) as instance:
        run = old_run(instance, OLD)
    with instance_of(settings) as instance:
        snapshot = instance.get_job_snapshot(run.job_snapshot_id)
        assert snapshot.name == "refresh"
        assert instance.get_execution_plan_snapshot(run.execution_plan_snapshot_id)
    assert "privacy.pseudonym_key, notify[1].url lay in Dagster's run history" in caplog.text
    found = list(kept(settings.dagster_home))
    assert any(b"settings_json" in what for _, what in found), "the definition is still there"
    assert [where for where, what in found for secret in (KEY, HOOK) if secret.encode() in what] == []
    note = settings.dagster_home / NOTE
    assert "privacy.pseudonym_key" in note.read_text() and "notify[1].url" in note.read_text()
    note.unlink()
    with instance_of(settings):
        assert not note.exists(), "a person removed it after rotating; nothing new was found"
    with instance_of(settings) as instance:
        old_run(instance, OLD.replace(KEY, "another"))  # an old version ran once more
    with instance_of(settings):
        assert note.exists()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        pytest.param({}, [], id="defaults"),
        pytest.param({"privacy": {"pseudonym_key": None}, "notify": [{"url_env": "X"}]}, [], id="named by a variable"),
        pytest.param({"ops_url": "postgresql://gtm:pw@h/gtm"}, ["ops_url"], id="a password in an address"),
        pytest.param({"ops_url": "sqlite:////x/ops.db"}, [], id="an address without one"),
        pytest.param({"providers": [{"url": "https://a:b@h"}]}, ["providers[0].url"], id="a provider's address"),
    ],
)
def test_secrets_are_named_as_in_the_settings_file(settings, expected):
    assert secret_names(settings) == expected
