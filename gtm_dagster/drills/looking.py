"""What every drill looks at afterwards: the last refresh, its books, a rebuild, unfinished runs, files left lying."""

from __future__ import annotations

from collections import Counter
from datetime import UTC

from gtm_dagster.drills.ground import Ground, Ran
from gtm_dagster.drills.outcome import Findings
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


def run_states(ground: Ground) -> Counter[str]:
    """Dagster's runs by status."""
    from gtm_dagster.orchestration.refresh import instance_of

    with instance_of(ground.settings) as instance:
        return Counter(run.status.value for run in instance.get_runs())


def unfinished_runs(ground: Ground) -> list[str]:
    """Runs that Dagster takes for queued or under way, as `id status`."""
    from gtm_dagster.orchestration.refresh import instance_of

    with instance_of(ground.settings) as instance:
        return [f"{run.run_id[:8]} {run.status.value}" for run in instance.get_runs() if not run.is_finished]


def succeeded_since(ground: Ground, moment: float) -> bool:
    """Whether a run that was asked for after `moment` (seconds UTC) has succeeded."""
    from gtm_dagster.orchestration.refresh import instance_of

    with instance_of(ground.settings) as instance:
        return any(
            record.dagster_run.is_success and record.create_timestamp.replace(tzinfo=UTC).timestamp() > moment
            for record in instance.get_run_records()
        )


def left_lying(ground: Ground) -> list[str]:
    """Half-written files and folders in the state directory that nobody will finish, and landed files of the log that
    no manifest counts; Dagster's own excepted.
    """
    home, landing = ground.settings.dagster_home, ground.settings.landing_dir
    found = {path for pattern in _PARTS for path in ground.state.rglob(pattern) if home not in path.parents}
    counted = {file.path for file in Landing(landing).files()}
    found |= set(landing.glob("ingest_date=*/log-*.parquet")) - counted
    return sorted(str(path.relative_to(ground.state)) for path in found)
