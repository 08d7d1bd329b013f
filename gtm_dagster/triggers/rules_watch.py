"""The rules of a running worker: read again when their file changes; a broken file keeps the rules that run."""

from __future__ import annotations

import logging
from pathlib import Path

from gtm_dagster.taxonomy.plan import Plan
from gtm_dagster.triggers.compiled_rule import Rule
from gtm_dagster.triggers.rules_file import TriggerError, load_rules

_log = logging.getLogger("gtm_dagster.triggers")


class RulesWatch:
    """`rules`: those of the file when it was last right, None before; `error`: what is wrong with it now."""

    def __init__(self, path: Path, plan: Plan) -> None:
        self.path, self.plan = path, plan
        self.rules: tuple[Rule, ...] | None = None
        self.error: str | None = None
        self._signature: tuple[int, int, int] | None = None
        self._looked = False

    def look(self) -> None:
        """Read the file if it is another one than at the last look."""
        signature = self._sign()
        if self._looked and signature == self._signature:
            return
        self._looked, self._signature = True, signature
        try:
            self.rules, self.error = load_rules(self.path, self.plan), None
        except TriggerError as error:
            self.error = str(error)
            _log.error("the rules that ran go on; the file cannot be used: %s", error)

    def _sign(self) -> tuple[int, int, int] | None:
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino
