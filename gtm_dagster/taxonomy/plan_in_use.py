"""The plan a deployment used last, kept in its state directory: what an edited plan is compared with."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from gtm_dagster.storage.atomic_write import write_whole
from gtm_dagster.storage.private_dir import private_dir
from gtm_dagster.taxonomy.plan import Plan, PlanError

FILE = "plan_in_use.json"
FORMAT = 1


@dataclass(frozen=True)
class PlanInUse:
    """A plan that events were judged by, who did it (`gtm refresh`), and when the use began (RFC 3339, UTC)."""

    plan: Plan
    used_by: str
    since: str


def record_plan(state_dir: Path, plan: Plan, used_by: str) -> None:
    """Keep `plan` as the one in use. The same plan again changes nothing; a disk that refuses is no reason to stop."""
    with suppress(OSError):
        try:
            before = plan_in_use(state_dir)
        except PlanError:
            before = None
        if before is not None and before.plan == msgspec.structs.replace(plan, where=""):
            return
        document = {
            "format": FORMAT,
            "used_by": used_by,
            "since": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            "fingerprint": plan.fingerprint,
            "plan": msgspec.structs.replace(plan, where=""),
        }
        private_dir(state_dir)
        write_whole(state_dir / FILE, msgspec.json.format(msgspec.json.encode(document)) + b"\n")


def plan_in_use(state_dir: Path) -> PlanInUse | None:
    """The plan that was used last; None when none was. Raises PlanError for a file that this version cannot read."""
    path = state_dir / FILE
    try:
        document = msgspec.json.decode(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise PlanError(f"{path}: cannot be read ({error}); remove it, the next refresh writes it again") from None
    found = document.get("format") if isinstance(document, dict) else None
    if isinstance(found, int) and found > FORMAT:
        raise PlanError(f"{path}: written by a newer gtm-dagster (format {found}); install that version")
    try:
        return PlanInUse(msgspec.convert(document["plan"], Plan), str(document["used_by"]), str(document["since"]))
    except (msgspec.ValidationError, KeyError, TypeError) as error:
        raise PlanError(f"{path}: holds no plan ({error}); remove it, the next refresh writes it again") from None
