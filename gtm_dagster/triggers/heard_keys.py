"""What the heartbeats in the log say of each write key, for the watches of rules."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping

from gtm_dagster.eventlog import Heartbeat
from gtm_dagster.triggers.compiled_rule import Rule
from gtm_dagster.triggers.heartbeat_watch import Watch, Watches

COLLECTOR = ""
"""The write key of the collector's own heartbeat, which every rule waits for once it was heard."""
GONE_US = 3600 * 1_000_000
"""A producer whose key was heard this much later than it is gone, and not waited for any more."""


def heard_keys(beats: Iterable[Heartbeat]) -> dict[str, int]:
    """Up to when everything that happened was sent, by write key (microseconds UTC): by all of its producers.

    A producer that still has events in its spool says so with a time of the past; its clock is put right by its skew.
    """
    of_key: defaultdict[str, list[Heartbeat]] = defaultdict(list)
    for beat in beats:
        of_key[beat.write_key].append(beat)
    heard = {}
    for key, found in of_key.items():
        newest = max(beat.received_us for beat in found)
        heard[key] = min(
            min(beat.received_us, beat.ts_us + max(beat.skew_us or 0, 0))
            for beat in found
            if beat.received_us > newest - GONE_US
        )
    return heard


def watch_of(rule: Rule, watches: Mapping[str, Watch], senders: Mapping[str, Collection[str]]) -> Watch | Watches:
    """Whom `rule` waits for: the collector, and the write keys that were seen to send its cancelling events; all keys that
    were ever heard, while none was seen to. `watches`: by write key; `senders`: write keys by event.
    """
    keys = {key for event in rule.cancelling for key in senders.get(event, ())}
    producers = {COLLECTOR, *keys} if keys else set(watches)
    found = tuple(watches[key] for key in sorted(producers & watches.keys()))
    return found[0] if len(found) == 1 else Watches(found)
