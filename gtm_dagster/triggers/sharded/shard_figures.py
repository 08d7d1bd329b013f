"""How the shards of a worker stand, as the figures that the live runner has: for metrics of the same names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from gtm_dagster.triggers.heard_keys import watch_of
from gtm_dagster.triggers.live_figures import LiveFigures
from gtm_dagster.triggers.sharded.shard import Shard


def look_at_shards(figures: LiveFigures, shards: Mapping[int, Shard], behind: int, now_us: int) -> None:
    """Put into `figures` how `shards` stand: sums by rule; a rule that one shard has stopped is degraded, one that one shard
    has paused is paused. `behind`: messages that were not taken. `lag_seconds` is the age of the slowest shard's clock, which the
    resolver moves five times a second. Without a shard every rule that was known stands at 0. `now_us`: microseconds UTC.
    """
    metas = {number: shard.standing() for number, shard in shards.items()}
    rules = {name: rule for shard in shards.values() for name, rule in shard.rules.items()}
    opened: Counter[str] = Counter()
    held: Counter[str] = Counter()
    for meta in metas.values():
        opened.update(meta.open)
        held.update(meta.held)
    figures.open, figures.held = opened, held
    if rules or shards:
        figures.channels = {name: rule.channel for name, rule in rules.items()}
    statuses: dict[str, str] = {}
    for name in rules or figures.statuses:
        found = {meta.status(name) for meta in metas.values()}
        statuses[name] = next((each for each in ("degraded", "paused") if each in found), "active")
    figures.statuses = statuses
    figures.blind = {
        name: any(watch_of(rule, meta.watches, meta.senders).is_blind(now_us) for meta in metas.values())
        for name, rule in rules.items()
        if rule.kind == "absent"
    }
    clocks = [
        meta.clock_us for meta in metas.values() if meta.clock_us > 0
    ]  # a shard that never got a message has none
    figures.lag(now_us - min(clocks, default=now_us), behind)
