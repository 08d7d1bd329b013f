"""Which windows of a count are full."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator, Sequence

from gtm_dagster.triggers.rule_state import Counted


def full_windows(counted: Sequence[Counted], n: int, within_us: int, from_us: int) -> Iterator[Counted]:
    """The last event of every window (t - within_us, t] with at least `n` events of its key, for t from `from_us` on.

    `counted` is sorted; of events at one moment the last by id ends the window. The order of arrival does not matter.
    """
    recent: defaultdict[str, deque[int]] = defaultdict(lambda: deque(maxlen=n))
    for each in counted:
        times = recent[each.key]
        times.append(each.at_us)
        if each.at_us >= from_us and len(times) == n and times[0] > each.at_us - within_us:
            yield each
