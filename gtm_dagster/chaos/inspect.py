"""What every experiment checks afterwards: the last refresh, its books, a rebuild, unfinished runs, leftover files."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from gtm_dagster.chaos.outcome import Findings
from gtm_dagster.chaos.throwaway import LIMIT_SECONDS, CommandResult, ThrowAway
from gtm_dagster.warehouse.landing import Landing

_PARTS = ("*.part", "*.part.*", "gtm-verify-*", "*.tmp", "*.wal")


def check_refresh(result: CommandResult, expected: int, findings: Findings, when: str) -> bool:
    """Whether an undisturbed refresh succeeded, with every row of `expected` in balanced books."""
    if result.code != 0 or not isinstance(result.document, dict):
        return findings.expect(
            False, f"{when}: `gtm refresh` ended with {result.code}: {result.message or 'no reason given'}"
        )
    books = result.document["books"]
    raw = sum(row["raw"] for row in books)
    parts = ("clean", "duplicates", "quarantined", "suppressed")
    wrong = [
        row["ingest_date"] for row in books if not row["raw"] == sum(row[name] for name in parts) == row["log_rows"]
    ]
    balanced = findings.expect(not wrong, f"{when}: books out of balance on {', '.join(map(str, wrong[:5]))}")
    whole = findings.expect(raw == expected, f"{when}: the books show {raw} rows, {expected} were sent")
    return balanced and whole


def check_rebuild(deployment: ThrowAway, findings: Findings, when: str) -> bool:
    """Whether `gtm doctor --verify` finds every table equal to a rebuild, and nothing else wrong."""
    result = deployment.run("doctor", "--verify", "--json")
    document = result.document
    if not isinstance(document, dict):
        return findings.expect(False, f"{when}: `gtm doctor --verify` ended with {result.code}: {result.message}")
    wrong = [f"{each['name']}: {each['detail']}" for each in document["findings"] if not each["ok"]]
    # Free space is the machine's own matter, and fill_disk makes the disk small on purpose.
    wrong = [each for each in wrong if not each.startswith("disk: ")]
    return findings.expect(not wrong, f"{when}: {'; '.join(wrong)}")


def runs(deployment: ThrowAway) -> list[dict[str, Any]]:
    """Dagster's runs, newest first: run_id, status, finished, succeeded, created (seconds UTC)."""
    with deployment.start(module="gtm_dagster.orchestration.list_runs") as child:
        child.wait(LIMIT_SECONDS)
        listed: list[dict[str, Any]] = json.loads(child.out)
    return listed


def run_states(deployment: ThrowAway) -> Counter[str]:
    """Dagster's runs by status."""
    return Counter(run["status"] for run in runs(deployment))


def unfinished_runs(deployment: ThrowAway) -> list[str]:
    """Runs that Dagster shows as queued or under way, as `id status`."""
    return [f"{run['run_id'][:8]} {run['status']}" for run in runs(deployment) if not run["finished"]]


def succeeded_since(deployment: ThrowAway, moment: float) -> bool:
    """Whether a run created after `moment` (seconds UTC) has succeeded."""
    return any(run["succeeded"] and run["created"] > moment for run in runs(deployment))


def leftovers(deployment: ThrowAway) -> list[str]:
    """Half-written files and folders in the state directory, and landed files of the log that no manifest counts;
    Dagster's own excepted.
    """
    home, landing = deployment.settings.dagster_home, deployment.settings.landing_dir
    found = {path for pattern in _PARTS for path in deployment.state.rglob(pattern) if home not in path.parents}
    counted = {file.path for file in Landing(landing).files()}
    found |= set(landing.glob("ingest_date=*/log-*.parquet")) - counted
    return sorted(str(path.relative_to(deployment.state)) for path in found)


def check_idle(deployment: ThrowAway, findings: Findings, when: str) -> int:
    """Whether Dagster shows no run as under way; returns how many it does."""
    stuck = unfinished_runs(deployment)
    findings.expect(not stuck, f"{when}: Dagster shows {', '.join(stuck)} as under way, and nothing runs")
    return len(stuck)


def check_leftovers(deployment: ThrowAway, findings: Findings) -> int:
    """Whether nothing half-written is left; returns how many files and folders are."""
    left = leftovers(deployment)
    findings.expect(not left, f"left in the state directory: {', '.join(left[:5])} ({len(left)} in all)")
    return len(left)
