"""Runs that a command makes, recorded like those of the web UI: Overview shows in its Timeline only runs with an origin."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import dagster as dg
import yaml
from dagster._core.definitions.repository_definition import SINGLETON_REPOSITORY_NAME
from dagster._core.remote_origin import ManagedGrpcPythonEnvCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

_MODULE, _LOCATION = "gtm_dagster.definitions", "gtm_dagster"
NO_RETRY = {"dagster/max_retries": "0"}
"""Tags of a command's run: the daemon does not start it again by itself, the person at the terminal knows that it failed."""


def job_origin(job_name: str, folder: Path | None = None) -> RemoteJobOrigin:
    """The origin of a job of this deployment; its code location is named as in the workspace.yaml of `folder` (here)."""
    target = LoadableTargetOrigin(module_name=_MODULE)
    location = ManagedGrpcPythonEnvCodeLocationOrigin(target, location_name=_location_name(folder or Path.cwd()))
    return RemoteJobOrigin(RemoteRepositoryOrigin(location, SINGLETON_REPOSITORY_NAME), job_name)


@contextmanager
def recorded_as(instance: dg.DagsterInstance, job_name: str) -> Iterator[None]:
    """Within it, `execute_in_process` of the job on `instance` records its origin, which it has no parameter for."""
    create_run = instance.create_run_for_job
    instance.create_run_for_job = partial(create_run, remote_job_origin=job_origin(job_name))  # type: ignore[method-assign]
    try:
        yield
    finally:
        del instance.create_run_for_job


def _location_name(folder: Path) -> str:
    """The name that the workspace gives the definitions; the packaged one where no workspace says."""
    try:
        entries = (yaml.safe_load((folder / "workspace.yaml").read_text()) or {}).get("load_from") or []
    except (OSError, yaml.YAMLError, AttributeError):
        return _LOCATION
    for entry in entries:
        module = entry.get("python_module") if isinstance(entry, dict) else None
        if isinstance(module, dict) and module.get("module_name") == _MODULE:
            return str(module.get("location_name") or _MODULE)
    return _LOCATION
