"""`python -m benchmarks.known_answers FOLDER [CASE...]`: cases whose answers others published, through public functions.

FOLDER holds a folder a case, with the files of those who made it; none of them is part of this repository. Prints a line
a case, and each figure that was missed; exit code 1 where a case missed more than it may, or is not there.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
import traceback
import warnings
from pathlib import Path

from benchmarks import known_deployment, known_events, known_journeys, known_paths, known_sources
from benchmarks.known_answer import Figure, KnownAnswer

CASES = sorted(
    (case for module in (known_paths, known_events, known_journeys, known_deployment, known_sources) for case in module.CASES),
    key=lambda case: case.folder,
)  # fmt: skip
MOST_SHOWN = 12


def run(case: KnownAnswer, folder: Path, out: list[str]) -> bool:
    """One case, its line and its misses in `out`; whether it hit enough."""
    started = time.perf_counter()
    if not (folder / case.folder).is_dir():
        out.append(f"{case.folder:28} {'-':>6} {'-':>6}  {'':7} MISSED  no such folder")
        return False
    try:
        figures = list(case.figures(folder / case.folder))
        broken = ""
    except Exception:  # noqa: BLE001 - one case that breaks must not hide the others
        figures, broken = [], traceback.format_exc()
    misses = [figure for figure in figures if not figure.hit]
    good = bool(figures) and len(figures) - len(misses) >= case.share * len(figures)
    took = time.perf_counter() - started
    verdict = "hit" if good else "MISSED"
    need = "" if case.share == 1 else f" (at least {case.share:.0%})"
    out.append(f"{case.folder:28} {len(figures):6} {len(misses):6}  {took:6.1f}s {verdict:7} {case.about}{need}")
    out += [f"    {line}" for line in broken.splitlines()]
    out += [_miss(figure) for figure in misses[:MOST_SHOWN]]
    if len(misses) > MOST_SHOWN:
        out.append(f"    and {len(misses) - MOST_SHOWN} more")
    return good


def _miss(figure: Figure) -> str:
    return f"    {figure.what}: expected {figure.expected!r}, computed {figure.computed!r}"


def main() -> int:
    """All cases, or those whose folder begins with a text that was given."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("cases", nargs="*", help="beginnings of folders")
    arguments = parser.parse_args()
    logging.disable(logging.INFO)
    warnings.simplefilter("ignore")
    print(f"{'case':28} {'figures':>6} {'misses':>6}")
    good = True
    for case in CASES:
        if arguments.cases and not case.folder.startswith(tuple(arguments.cases)):
            continue
        out: list[str] = []
        good &= run(case, arguments.folder, out)
        print("\n".join(out), flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
