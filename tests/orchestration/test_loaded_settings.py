"""One deployment for sensors, guards and assets, and the same settings in the processes of its runs."""

import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
from warehouse_cases import settings_for

from gtm_dagster.definitions import build_defs
from gtm_dagster.orchestration.loaded_settings import VARIABLE, loaded_settings
from gtm_dagster.orchestration.resources import WarehouseResource

ROOT = Path(__file__).parents[2]


def test_assets_work_in_the_deployment_that_was_handed_in(tmp_path, monkeypatch):
    monkeypatch.setenv("GTM_STATE_DIR", str(tmp_path / "other"))
    settings = settings_for(tmp_path / "this")
    with dg.DagsterInstance.ephemeral() as instance:
        job = build_defs(settings=settings).resolve_job_def("refresh")
        assert job.execute_in_process(instance=instance).success
    assert settings.serving_path.exists()
    assert not (tmp_path / "other").exists()


def test_run_config_of_the_launchpad_reaches_the_copy_that_has_the_settings(tmp_path):
    settings = settings_for(tmp_path)
    seen: list[tuple[bool, bool, object]] = []

    @dg.op
    def look(warehouse: WarehouseResource) -> None:
        seen.append((warehouse.full, warehouse.allow_rebuild, warehouse.settings))

    @dg.job(resource_defs=dict(build_defs(settings=settings).resources or {}))
    def job() -> None:
        look()

    config = {"resources": {"warehouse": {"config": {"full": True}}}}
    with dg.DagsterInstance.ephemeral() as instance:
        assert job.execute_in_process(config, instance=instance).success
    assert seen == [(True, False, settings)]


def _timeout_minutes() -> float:
    return loaded_settings()[0].sessions.timeout_minutes


def test_a_run_has_the_settings_of_its_code_location_after_the_file_changed(tmp_path, monkeypatch):
    config = tmp_path / "gtm.toml"
    config.write_text("[sessions]\ntimeout_minutes = 20\n")
    monkeypatch.setenv("GTM_CONFIG", str(config))
    monkeypatch.setenv(VARIABLE, "")
    monkeypatch.delenv(VARIABLE)
    assert _timeout_minutes() == 20
    config.write_text("[sessions]\ntimeout_minutes = nonsense\n")
    with multiprocessing.get_context("spawn").Pool(1) as pool:  # as Dagster starts a run
        assert pool.apply(_timeout_minutes) == 20
        pool.close()  # leaving ends it by SIGTERM, which a child ignores whose parent does
        pool.join()


def test_a_process_that_is_no_run_reads_its_own(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "GTM_STATE_DIR": str(tmp_path / "parent")}
    code = (
        "import os, subprocess, sys; from gtm_dagster.orchestration.loaded_settings import loaded_settings;"
        "print(loaded_settings()[0].state_dir); sys.stdout.flush();"
        "sys.argv[1:] and subprocess.run([sys.executable, '-c', sys.argv[1]],"
        " env={**os.environ, 'GTM_STATE_DIR': sys.argv[2]}, check=True)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, code, str(tmp_path / "child")], env=environment, cwd=tmp_path, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == [str(tmp_path / "parent"), str(tmp_path / "child")]


def test_a_warehouse_without_settings_says_how_to_make_one():
    with pytest.raises(TypeError, match="warehouse_of"):
        _ = WarehouseResource().settings
