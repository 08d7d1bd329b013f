"""`gtm trigger status`: how the live rules stand."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import typer

from gtm_dagster.commands.command import Command
from gtm_dagster.commands.output import Invocation, Json, invocation, say, say_json, say_prose, utc_time
from gtm_dagster.commands.table_output import say_table
from gtm_dagster.commands.trigger_options import existing_state, trigger_state

if TYPE_CHECKING:
    from gtm_dagster.triggers.trigger_status import TriggerStatus

SHARD_COLUMNS = ("shard", "worker", "offset", "lag", "lag_s", "open", "held", "timers", "next", "committed")
COLUMNS = ("rule", "status", "open", "held", "sent", "not_sent")
MOST_REASONS = 4


def status(context: typer.Context, json: Json = False) -> int:
    """Each rule, what waits, what was sent today (UTC) and why the rest was not, the outbox, how far the worker is.
    Exit 1: a rule is stopped, the file of rules is broken, messages were given up, or a shard does not commit."""
    import msgspec

    from gtm_dagster.triggers.trigger_db import trigger_db_path
    from gtm_dagster.triggers.trigger_status import trigger_status

    here = invocation(context)
    settings = here.settings
    path = trigger_db_path(settings.state_dir)
    if settings.trigger_shards is not None:
        existing_state(here)
    elif not path.exists():
        if json:
            say_json({"rules": [], "ran": False})
        else:
            say_prose("no rule has run yet: name a file of rules in triggers_file and start `gtm stream`")
        return 0
    with trigger_state(path):
        found = trigger_status(path, settings.log_path, time.time_ns() // 1000)
    ends, problem = _ends(here) if found.shards else ({}, None)
    lags = {
        each.number: ends[each.number] - each.offset
        for each in found.shards
        if each.number in ends and each.offset is not None
    }
    if json:
        import msgspec

        document = {"ran": True, **msgspec.to_builtins(found)}
        for shard in document["shards"]:
            shard["lag_messages"] = lags.get(shard["number"])
        say_json(document)
    else:
        _say(found)
        _say_shards(found, lags, problem)
    return 0 if found.is_well else 1


def _say(found: TriggerStatus) -> None:
    cells: list[list[Any]] = [
        [each.rule, each.status, each.open, each.held, each.sent, sum(each.not_sent.values())] for each in found.rules
    ]
    say_table(COLUMNS, cells)
    for each in found.rules:
        if each.not_sent:
            reasons = [f"{reason} {n}" for reason, n in list(each.not_sent.items())[:MOST_REASONS]]
            say_prose(f"{each.rule}: not sent today: {', '.join(reasons)}")
        if each.blind:
            say_prose(f"{each.rule}: blind: nobody is heard who would report its cancelling event, so it waits")
        if each.faults:
            say_prose(f"{each.rule}: raised {each.faults} times; once it is mended: `gtm trigger resume {each.rule}`")
    outbox = ", ".join(f"{n:,} {status}" for status, n in sorted(found.outbox.items())) or "empty"
    say(f"outbox: {outbox}")
    if found.offset is None:
        say("the worker has not begun")
    elif found.lag_events is None:
        say(f"offset {found.offset}; the event log cannot be read")
    else:
        seconds = "" if found.lag_seconds is None else f", {found.lag_seconds:,.1f} s"
        say(f"offset {found.offset}, {found.lag_events:,} records behind the log's end{seconds}")
    if found.warming:
        say("filling states from the past: nothing is sent before the log's end is reached")
    if found.rules_error:
        say_prose(f"PROBLEM older rules run, since the file cannot be used: {found.rules_error}")


def _ends(here: Invocation) -> tuple[dict[int, int], str | None]:
    """Where the log of each shard ends, or why that is not known."""
    from gtm_dagster.eventlog.log import EventLogError
    from gtm_dagster.triggers.sharded.shard_topics import ShardError, ShardTopics

    if here.settings.trigger_shards is None:
        return {}, "trigger_shards is not set here"
    try:
        return ShardTopics.at(here.settings.trigger_shards, here.settings.kafka).ends(), None
    except (ShardError, EventLogError) as error:
        return {}, str(error)


def _say_shards(found: TriggerStatus, lags: dict[int, int], problem: str | None) -> None:
    if not found.shards:
        return
    now_us = time.time_ns() // 1000
    say_table(SHARD_COLUMNS, [
        [each.number, each.worker, "-" if each.offset is None else each.offset, lags.get(each.number, "?"), f"{each.lag_seconds:,.1f}", each.open, each.held,
         each.timers, "-" if each.next_us is None else f"{utc_time(each.next_us):%m-%d %H:%M:%S}",
         f"{(now_us - each.committed_us) / 1e6:,.1f} s ago"]
        for each in found.shards
    ])  # fmt: skip
    if problem:
        say_prose(f"how many messages wait for each shard is not known: {problem}")
    for each in found.shards:
        if each.is_silent:
            say_prose(
                f"PROBLEM shard {each.number} does not commit: does `gtm trigger run` have a resolver and a worker?"
            )
        elif each.behind:
            say_prose(f"shard {each.number} is behind: it sends nothing before it has read to the log's end")


COMMANDS = (Command("trigger status", status, order=40),)
