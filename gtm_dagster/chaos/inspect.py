"""What every drill looks at afterwards: the last refresh, its books, a rebuild, unfinished runs, files left lying."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from gtm_dagster.chaos.outcome import Findings
from gtm_dagster.chaos.throwaway import LIMIT_SECONDS, Ground, Ran
from gtm_dagster.warehouse.landing import Landing

_PARTS = ("*.part", "*.part.*", "gtm-verify-*", "*.tmp", "*.wal")


def look_at_refresh(ran: Ran, expected: int, findings: Findings, when: str) -> bool:
    """Whether a refresh that nobody disturbed came through, with every row of `expected` in balanced books."""
    if ran.code != 0 or not isinstance(ran.document, dict):
        return findings.expect(False, f"{when}: gtm refresh ended with {ran.code}: {ran.message or 'no reason given'}")
    books = ran.document["books"]
    raw = sum(row["raw"] for row in books)
    parts = ("clean", "duplicates", "quarantined", "suppressed")
    wrong = [
        row["ingest_date"] for row in books if not row["raw"] == sum(row[name] for name in parts) == row["log_rows"]
    ]
    balanced = findings.expect(not wrong, f"{when}: books out of balance on {', '.join(map(str, wrong[:5]))}")
    whole = findings.expect(raw == expected, f"{when}: the books show {raw} rows, {expected} were sent")
    return balanced and whole


def look_at_rebuild(ground: Ground, findings: Findings, when: str) -> bool:
    """Whether `gtm doctor --verify` finds every table equal to a rebuild, and nothing else wrong."""
    ran = ground.run("doctor", "--verify", "--json")
    document = ran.document
    if not isinstance(document, dict):
        return findings.expect(False, f"{when}: gtm doctor --verify ended with {ran.code}: {ran.message}")
    wrong = [f"{each['name']}: {each['detail']}" for each in document["findings"] if not each["ok"]]
    # Room on the disk is the machine's business, and the disk-full drill makes it small on purpose.
    wrong = [each for each in wrong if not each.startswith("disk: ")]
    return findings.expect(not wrong, f"{when}: {'; '.join(wrong)}")


def runs(ground: Ground) -> list[dict[str, Any]]:
    """Dagster's runs, newest first: run_id, status, finished, succeeded, created (seconds UTC)."""
    with ground.start(module="gtm_dagster.orchestration.list_runs") as child:
        child.wait(LIMIT_SECONDS)
        listed: list[dict[str, Any]] = json.loads(child.out)
    return listed


def run_states(ground: Ground) -> Counter[str]:
    """Dagster's runs by status."""
    return Counter(run["status"] for run in runs(ground))


def unfinished_runs(ground: Ground) -> list[str]:
    """Runs that Dagster takes for queued or under way, as `id status`."""
    return [f"{run['run_id'][:8]} {run['status']}" for run in runs(ground) if not run["finished"]]


def succeeded_since(ground: Ground, moment: float) -> bool:
    """Whether a run that was asked for after `moment` (seconds UTC) has succeeded."""
    return any(run["succeeded"] and run["created"] > moment for run in runs(ground))


def left_lying(ground: Ground) -> list[str]:
    """Half-written files and folders in the state directory that nobody will finish, and landed files of the log that
    no manifest counts; Dagster's own excepted.
    """
    home, landing = ground.settings.dagster_home, ground.settings.landing_dir
    found = {path for pattern in _PARTS for path in ground.state.rglob(pattern) if home not in path.parents}
    counted = {file.path for file in Landing(landing).files()}
    found |= set(landing.glob("ingest_date=*/log-*.parquet")) - counted
    return sorted(str(path.relative_to(ground.state)) for path in found)
