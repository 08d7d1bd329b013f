"""Writes the public lists of `gtm_dagster/channels` from the repositories of their authors (`scripts/renew-channel-lists`).

Each file begins with where it comes from, the commit, the licence and the day it was renewed. A file whose rows are the
same stays as it is: a changed list makes every warehouse read its events again.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

INTO = Path(__file__).parents[1] / "gtm_dagster" / "channels"
_CATEGORIES = {
    "SOURCE_CATEGORY_SEARCH": "search",
    "SOURCE_CATEGORY_SOCIAL": "social",
    "SOURCE_CATEGORY_VIDEO": "video",
    "SOURCE_CATEGORY_SHOPPING": "shopping",
}
PEOPLE = (r"AP3A\.240617\.008",)
"""Patterns of the list that find agents of people: a build of Android 15 that is in thousands of phones."""


class Origin(NamedTuple):
    """A list: the file it is written to, the public repository, the path in it, and what makes rows of its text."""

    file: str
    repository: str
    path: str
    rows: Callable[[str], list[str]]


def ga4_rows(text: str) -> list[str]:
    """`source,category` in lower case, sorted, of Google's list; raises ValueError for a category that is new."""
    found = {}
    for row in csv.DictReader(io.StringIO(text)):
        if row["source_category"] not in _CATEGORIES:
            raise ValueError(
                f"{row['source']}: {row['source_category']} is no category known here; name its channel first"
            )
        found[row["source"].strip().lower()] = _CATEGORIES[row["source_category"]]
    if any("," in source or '"' in source for source in found):
        raise ValueError("a source has a comma or a quote, which the file's format does not hold")
    return ["source,category", *(f"{source},{found[source]}" for source in sorted(found))]


def bot_rows(text: str) -> list[str]:
    """`name<TAB>pattern<TAB>kind` of the bots in the order of the list; raises ValueError for a pattern that is no regex.

    `kind` is the first tag of the list, such as search-engine or http-library.
    """
    rows = ["name\tpattern\tkind"]
    for bot in json.loads(text):
        pattern = bot["pattern"]
        if pattern in PEOPLE:
            continue
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"{pattern}: {error}") from error
        if "\t" in pattern or "\n" in pattern or re.match(pattern, ""):
            raise ValueError(f"{pattern!r} holds a tab or a line end, or finds everything")
        rows.append(f"{bot_name(pattern)}\t{pattern}\t{(bot.get('tags') or ['other'])[0]}")
    return rows


def bot_name(pattern: str) -> str:
    """The pattern as people would call the bot: `Googlebot` of `Googlebot\\/`, `wget` of `[wW]get`."""
    name = re.sub(r"\[\\s\\S\]\*|\(\[\^-\]\|\$\)|\\d(?:\\\.\\d)?\+?|\(\^\| \)", " ", pattern)
    name = re.sub(r"\[(.)[^\]]*\]", r"\1", name)
    name = re.sub(r"\(([^|()]*)\|[^()]*\)", r"\1", name)
    name = name.replace("\\.", ".").replace("\\", "").partition("|")[0].strip("^$/ ")
    if name.count("(") > name.count(")"):
        name = name.rpartition("(")[0]
    return " ".join(name.split())


LISTS = (
    Origin("ga4_sources.csv", "https://github.com/Velir/dbt-ga4", "seeds/ga4_source_categories.csv", ga4_rows),
    Origin("bots.tsv", "https://github.com/monperrus/crawler-user-agents", "crawler-user-agents.json", bot_rows),
)


def renewed(origin: Origin, clone: Path, today: str) -> str:
    """The text of the file. Raises ValueError when the licence is not MIT any more."""
    commit, day = _git(clone, "log", "-1", "--format=%H %cs").split()
    licence = _git(clone, "show", "HEAD:LICENSE")
    if not re.match(r"(?:The )?MIT License", licence):
        raise ValueError(
            f"{origin.repository} is no longer under the MIT licence; look at it before its list is renewed"
        )
    holder = re.search(r"^Copyright .*$", licence, re.MULTILINE)
    head = (
        f"# From {origin.repository}, {origin.path}",
        f"# Commit {commit} of {day}",
        f"# Licence MIT, {holder.group().strip() if holder else 'holder not named'}",
        f"# Renewed {today} by scripts/renew-channel-lists",
    )
    rows = origin.rows(_git(clone, "show", f"HEAD:{origin.path}"))
    return "\n".join((*head, *rows)) + "\n"


def _git(clone: Path, *command: str) -> str:
    return subprocess.run(["git", "-C", str(clone), *command], check=True, capture_output=True, text=True).stdout  # noqa: S603, S607


def _rows(text: str) -> list[str]:
    return [line for line in text.splitlines() if not line.startswith("#")]


def main() -> int:
    """Renew every list, and say what changed."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--from", dest="clones", action="append", default=[], metavar="NAME=PATH")
    clones = dict(each.split("=", 1) for each in options.parse_args().clones)
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    for origin in LISTS:
        with tempfile.TemporaryDirectory() as folder:
            clone = Path(clones.get(origin.repository.rpartition("/")[2], folder))
            if clone == Path(folder):
                subprocess.run(["git", "clone", "--quiet", "--depth=1", origin.repository, folder], check=True)  # noqa: S603, S607
            text = renewed(origin, clone, today)
        file = INTO / origin.file
        before = _rows(file.read_text("utf-8")) if file.exists() else []
        new, gone = set(_rows(text)) - set(before), set(before) - set(_rows(text))
        if new or gone:
            file.write_text(text, "utf-8")
        sys.stdout.write(f"{origin.file}: {len(_rows(text)) - 1} entries, {len(new)} new, {len(gone)} gone\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
