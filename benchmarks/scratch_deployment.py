"""A throw-away deployment: one of the examples in a folder of its own, worked by `gtm` alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


class Deployment:
    """An example's files under `folder`, and the commands of `gtm` on it."""

    def __init__(self, folder: Path, example: str) -> None:
        self.folder = folder
        shutil.copytree(ROOT / "examples" / example, folder, dirs_exist_ok=True)

    def write(self, name: str, text: str) -> Path:
        """A file beside the settings, such as a mapping or a plan in place of the example's."""
        (self.folder / name).write_text(text, encoding="utf-8")
        return self.folder / name

    def gtm(self, *arguments: str | Path, fails: bool = False, **environment: str) -> Any:
        """The document that a command prints with --json. Raises RuntimeError where it fails, or does not with `fails`."""
        done = subprocess.run(
            [sys.executable, "-m", "gtm_dagster.cli", *map(str, arguments), "--json"],
            cwd=self.folder, capture_output=True, text=True, check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT), "GTM_CONFIG": str(self.folder / "gtm.toml"), **environment},
        )  # fmt: skip
        if (done.returncode != 0) != fails:
            raise RuntimeError(f"gtm {' '.join(map(str, arguments))}: exit {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")  # fmt: skip
        return done.stderr if fails else json.loads(done.stdout)

    def load(self, file: Path, mapping: Path | str, *more: str) -> dict[str, Any]:
        """Import a file; the books of it."""
        books: dict[str, Any] = self.gtm("import", file, "--mapping", self.folder / mapping, *more)
        return books

    def rows(self, sql: str, **environment: str) -> list[dict[str, Any]]:
        """The rows of a query."""
        found: list[dict[str, Any]] = self.gtm("query", sql, **environment)
        return found
