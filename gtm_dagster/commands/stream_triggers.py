"""The rules of `gtm stream`: what runs them in a thread of its own, or once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gtm_dagster.commands.output import Invocation, Problem, note

if TYPE_CHECKING:
    from threading import Lock

    from gtm_dagster.eventlog import EventLog
    from gtm_dagster.triggers.live_runner import LiveRunner
    from gtm_dagster.triggers.runner_thread import RunnerThread


def warm_us(text: str | None) -> int:
    """Microseconds of `--warm 7d`. Raises Problem (2)."""
    import re

    from gtm_dagster.triggers.compiled_rule import microseconds

    if text is None:
        return 0
    if not re.fullmatch(r"[1-9][0-9]{0,5}[smhd]", text):
        raise Problem(f"--warm {text}: give a whole number with s, m, h or d, such as 7d", 2)
    return microseconds(text)


@contextmanager
def live_rules(here: Invocation, log: EventLog, warm: int, turn: Lock) -> Iterator[RunnerThread | None]:
    """The rules of `triggers_file` run until the end of the `with`; None when no file is named, or
    `gtm trigger run` runs them.

    `turn` is held while they write to triggers.db."""
    from gtm_dagster.triggers.runner_thread import RunnerThread

    if here.settings.triggers_file is None or here.settings.trigger_shards is not None:
        yield None
        return
    if here.settings.event_log is not None:
        note(
            f"stream: no rule of {here.settings.triggers_file} runs: the log is a topic; set trigger_shards and start `gtm trigger run`"
        )
        yield None
        return
    note(f"stream: triggers of {here.settings.triggers_file}")
    with RunnerThread(lambda: _runner(here, log, warm, turn)) as thread:
        yield thread


def rules_once(here: Invocation, log: EventLog, warm: int) -> None:
    """Run the rules over what the log holds now. Raises Problem (1) when their state cannot be used."""
    from gtm_dagster.triggers.trigger_db import TriggerDbError

    if here.settings.triggers_file is None or here.settings.event_log or here.settings.trigger_shards:
        return
    try:
        runner = _runner(here, log, warm)
        try:
            runner.drain()
        finally:
            runner.close()
    except TriggerDbError as error:
        raise Problem(str(error)) from None


def _runner(here: Invocation, log: EventLog, warm: int, turn: Lock | None = None) -> LiveRunner:
    from gtm_dagster.triggers.live_runner import LiveRunner
    from gtm_dagster.triggers.rules_watch import RulesWatch
    from gtm_dagster.triggers.trigger_db import trigger_db_path

    settings = here.settings
    assert settings.triggers_file is not None  # noqa: S101 - callers looked
    watch = RulesWatch(settings.triggers_file, here.plan)
    return LiveRunner(log, settings.log_path, trigger_db_path(settings.state_dir), watch, warm_us=warm, turn=turn)
