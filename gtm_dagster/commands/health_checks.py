"""What `gtm doctor` says of keys, and the checks of the warehouse over everything: a refresh looks at what changed."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from gtm_dagster.commands.finding import Finding
from gtm_dagster.commands.output import Invocation

if TYPE_CHECKING:
    from gtm_dagster.settings import Settings


def keys_of(settings: Settings) -> Finding:
    """Whether the deployment's key is there and whole, and no other account can read any of them."""
    from gtm_dagster.privacy.pseudonyms import PseudonymKeyError, existing_key
    from gtm_dagster.reports.number_text import counted

    folder = settings.keys_dir
    files = [path for path in folder.iterdir() if path.is_file()] if folder.exists() else []
    open_to_others = sorted(path.name for path in files if stat.S_IMODE(path.stat().st_mode) & 0o077)
    if open_to_others:
        return Finding("keys", False, f"{', '.join(open_to_others)}: others can read it; chmod 600 in {folder}")
    try:
        existing_key(folder, settings.privacy.pseudonym_key)
    except PseudonymKeyError as error:
        return Finding("keys", False, str(error))
    return Finding(
        "keys", True, f"{counted(len(files), 'file')}, readable by their owner alone" if files else "none made yet"
    )


def checks_over_everything(here: Invocation) -> list[Finding]:
    """A finding on all checks together, and one more for each that does not hold; the working file is opened read-only.

    Nothing while there is no warehouse, or no plan to read it by. While somebody writes, it is not looked at.
    """
    import duckdb

    from gtm_dagster.taxonomy import PlanError
    from gtm_dagster.taxonomy.settings_for_plan import settings_for_plan
    from gtm_dagster.warehouse.build import all_checks
    from gtm_dagster.warehouse.build_context import BuildContext
    from gtm_dagster.warehouse.engine import opened
    from gtm_dagster.warehouse.writer_lock import LockHeldError, WarehouseLock

    settings = here.settings
    if not settings.warehouse_path.exists():
        return []
    try:
        ctx = BuildContext(settings_for_plan(settings, here.plan), here.plan)
    except PlanError:
        return []
    try:
        with (
            WarehouseLock(settings.state_dir).hold("gtm doctor", 0),
            opened(settings.warehouse_path, settings, read_only=True) as con,
        ):
            results = [(table, check, check.run(con, ctx)) for table, check in all_checks()]
    except LockHeldError as error:
        return [Finding("checks", True, f"not looked at: {error}")]
    except (duckdb.CatalogException, duckdb.BinderException) as error:
        older = str(error).splitlines()[0]
        return [
            Finding("checks", True, f"not looked at: tables of another version ({older}); `gtm refresh` builds them")
        ]
    except duckdb.Error as error:
        return [Finding("checks", False, f"{settings.warehouse_path} cannot be read: {error}")]
    passed = sum(result.passed for _, _, result in results)
    summary = Finding("checks", True, f"{passed} of {len(results)} hold over everything")
    return [summary] + [
        Finding(f"{table} {check.name}", check.severity != "ERROR", f"{check.severity}: {result.description}")
        for table, check, result in results
        if not result.passed
    ]
