"""What a deployment adds to the definitions: modules of its own in assets/ and sensors/, beside those of the template."""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from importlib import import_module
from types import ModuleType
from typing import Any

import dagster as dg

from gtm_dagster import __version__
from gtm_dagster.orchestration.jobs import refresh_job

_JOBS = (dg.JobDefinition, type(refresh_job))


def no_deployment(package: str) -> str:
    """What to say where a deployment's package is not on the path."""
    return (
        f"the folder {package}/ is not on the path: gtm_dagster.definitions needs a deployment's files; `gtm init DIR` "
        "writes them, and `gtm dev` runs from there"
    )


def not_ours(error: Exception) -> str:
    """What to say where the deployment's copy of a template's module lacks what this version takes from it."""
    return (
        f"{error}: the deployment's assets/ or sensors/ are not of gtm-dagster {__version__}; `gtm init --diff` shows what "
        "its templates changed, `gtm init --upgrade` takes it"
    )


def with_own_modules(house: dg.Definitions, ours: Mapping[ModuleType, frozenset[str]]) -> dg.Definitions:
    """`house` and every asset, check, job, schedule and sensor at the top level of a module that is not ours.

    `ours`: the packages to look through, each with the names of the template's modules. Dagster raises
    DagsterInvalidDefinitionError where a name or key is taken.
    """
    own = [
        import_module(f"{package.__name__}.{info.name}")
        for package, names in ours.items()
        for info in pkgutil.iter_modules(package.__path__)
        if info.name not in names
    ]
    if not own:
        return house
    found: list[Any] = list({id(value): value for module in own for value in vars(module).values()}.values())
    added = dg.Definitions(
        assets=dg.load_assets_from_modules(own),
        asset_checks=dg.load_asset_checks_from_modules(own),
        jobs=[each for each in found if isinstance(each, _JOBS) and each is not refresh_job],
        schedules=[each for each in found if isinstance(each, dg.ScheduleDefinition)],
        sensors=[each for each in found if isinstance(each, dg.SensorDefinition)],
    )
    return dg.Definitions.merge(house, added)
