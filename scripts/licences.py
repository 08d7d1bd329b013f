"""Writes docs/licences.md: the licence of every package that a user installs, as the installed package declares it.

Exit code 1 when one is under a strong copyleft licence, or none is known.
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from gtm_dagster.channels.public_lists import PUBLIC_LISTS, origin_of

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "licences.md"
PIN = re.compile(r"^([A-Za-z0-9_.-]+)==([^\s;\\]+)(?:\s*;\s*([^\\\n]+))?", re.MULTILINE)
NOT_HERE = {
    "colorama": "BSD-3-Clause",
    "psutil": "BSD-3-Clause",
    "pyreadline3": "BSD-3-Clause",
    "pywin32": "PSF-2.0",
    "tzdata": "Apache-2.0",
}
"""Of Windows alone, so that no other machine has them installed; as their project pages say."""
STRONG = re.compile(r"\b(?:AGPL|GPL|SSPL|EUPL|OSL|CPAL|RPL)\b|general public licen[cs]e", re.IGNORECASE)
WEAK = re.compile(r"\b(?:LGPL|LESSER|LIBRARY)\b", re.IGNORECASE)


def is_strong_copyleft(licence: str) -> bool:
    """Whether every alternative of the licence obliges whoever distributes a larger work to license it the same way."""
    alternatives = re.split(r"\bOR\b|\n", licence)
    return all(STRONG.search(each) and not WEAK.search(each) for each in alternatives)


def licence_of(package: Distribution) -> str:
    """The SPDX expression, else the classifiers, else the first line of the licence; "" when nothing is declared."""
    expression = package.metadata.get("License-Expression")
    if expression:
        return str(expression)
    classifiers = [
        text.rpartition(" :: ")[2]
        for text in package.metadata.get_all("Classifier") or ()
        if text.startswith("License :: ") and not text.endswith("OSI Approved")
    ]
    if classifiers:
        return " AND ".join(classifiers)
    lines = str(package.metadata.get("License") or "").strip().splitlines()
    return "" if not lines or lines[0].upper() == "UNKNOWN" else lines[0][:80]


def rows() -> list[tuple[str, str, str, str]]:
    """Name, version, licence ("": not known) and platform of each package in requirements.lock."""
    found = []
    for name, version, marker in PIN.findall((ROOT / "requirements.lock").read_text()):
        try:
            licence = licence_of(distribution(name))
        except PackageNotFoundError:
            licence = NOT_HERE.get(name, "")
        found.append((name, version, licence, marker.strip()))
    return found


MIT = """
> Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation
> files (the "Software"), to deal in the Software without restriction, including without limitation the rights to use, copy,
> modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the
> Software is furnished to do so, subject to the following conditions: The above copyright notice and this permission notice
> shall be included in all copies or substantial portions of the Software. THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY
> OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR
> PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
> LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR
> THE USE OR OTHER DEALINGS IN THE SOFTWARE."""


def public_lists() -> list[str]:
    """The section of the lists that others publish and the package holds, with the notice that their licence asks for."""
    lines = [
        "",
        "## Public lists",
        "",
        "Data files of `gtm_dagster/channels`, renewed by `scripts/renew-channel-lists`:",
        "",
    ]
    for each in map(origin_of, PUBLIC_LISTS):
        lines.append(
            f"- `{each.file}`: {each.path} of {each.repository} at {each.commit[:12]} ({each.day}), renewed {each.renewed}; {each.licence}"
        )
    return [*lines, *MIT.splitlines()]


def main() -> int:
    """Write the page, and say what is wrong with it."""
    found = rows()
    lines = [
        "# Licences of what a user installs",
        "",
        "Written by `make audit` from the metadata of the installed packages of `requirements.lock` (what tests and checks need is in",
        "`requirements-dev.lock` and no user gets it). No package is under a strong copyleft licence (GPL, AGPL, SSPL and their like);",
        "LGPL and MPL packages are used unchanged, as libraries.",
        "",
        "| package | version | licence | only where |",
        "|---|---|---|---|",
        *(
            f"| {name} | {version} | {licence or '?'} | {marker.replace('|', '/')} |"
            for name, version, licence, marker in found
        ),
        *public_lists(),
    ]
    PAGE.write_text("\n".join(lines) + "\n")
    wrong = [
        f"{name}: {licence}, a strong copyleft"
        for name, _, licence, _ in found
        if licence and is_strong_copyleft(licence)
    ]
    wrong += [
        f"{name}: no licence is known; look at its source and add it to {Path(__file__).name}"
        for name, _, licence, _ in found
        if not licence
    ]
    sys.stdout.write(
        "".join(f"{line}\n" for line in wrong)
        + f"{PAGE.relative_to(ROOT)}: {len(found)} packages, {len(wrong)} to look at\n"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
