"""Known vulnerabilities of the versions in the lock files, by one request to OSV (https://osv.dev), the advisories of PyPI
among them. Exit code 0: none, 1: there are some, 3: OSV cannot be reached, so nothing was audited.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import requests

ROOT = Path(__file__).parents[1]
LOCKS = ("requirements.lock", "requirements-dev.lock")
BATCH = "https://api.osv.dev/v1/querybatch"
PAGE = "https://osv.dev/vulnerability"
PIN = re.compile(r"^([A-Za-z0-9_.-]+)==([^\s;\\]+)", re.MULTILINE)
UNREACHED = 3


def pins(lock: str) -> set[tuple[str, str]]:
    """Names and versions of a lock file; a package with a version a platform has several."""
    return set(PIN.findall((ROOT / lock).read_text()))


def advisories(packages: list[tuple[str, str]]) -> dict[tuple[str, str], list[str]]:
    """Ids of what is known of each package. Raises requests.RequestException, and ValueError for another answer."""
    queries = [{"package": {"name": name, "ecosystem": "PyPI"}, "version": version} for name, version in packages]
    response = requests.post(BATCH, json={"queries": queries}, timeout=30)
    response.raise_for_status()
    results = response.json()["results"]
    if len(results) != len(packages):
        raise ValueError(f"{len(results)} answers to {len(packages)} questions")
    found = ([each["id"] for each in result.get("vulns", ())] for result in results)
    return {package: ids for package, ids in zip(packages, found, strict=True) if ids}


def main() -> int:
    """Print what is known, by lock file."""
    by_lock = {lock: pins(lock) for lock in LOCKS}
    packages = sorted(set().union(*by_lock.values()))
    try:
        known = advisories(packages)
    except (requests.RequestException, ValueError, KeyError, TypeError) as error:
        sys.stdout.write(
            f"NOT AUDITED: {BATCH} gives no answer to use ({type(error).__name__}), so nothing is known of these "
            f"{len(packages)} packages; run `make audit` where the host can be reached\n"
        )
        return UNREACHED
    for (name, version), ids in known.items():
        locks = ", ".join(lock for lock, listed in by_lock.items() if (name, version) in listed)
        for each in ids:
            sys.stdout.write(f"{name} {version} ({locks}): {PAGE}/{each}\n")
    sys.stdout.write(f"{len(packages)} packages audited by OSV, {len(known)} of them with advisories\n")
    return 1 if known else 0


if __name__ == "__main__":
    raise SystemExit(main())
