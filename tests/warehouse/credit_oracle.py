"""Touchpoints and credits by their definitions, one conversion at a time: touches, filters, transforms, shares.

Written from the definitions and from nothing of the product's models or statements; sessions come from session_oracle.py.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from session_oracle import CONVERSIONS, HOUR, persons_of, place, sessions_of, touch_of

PAID = {"Cross-network", "Display", "Paid Other", "Paid Search", "Paid Shopping", "Paid Social", "Paid Video"}


@dataclass(frozen=True)
class Touch:
    """A touch of one conversion: when, of which session, by which channel."""

    at_us: int
    session: str
    channel: str


@dataclass(frozen=True)
class Deployment:
    """What of the settings decides credit; windows as the settings file has them."""

    windows: list[dict]
    grain: str = "session"
    definition: str = "ga4"
    zone: str = "UTC"
    timeout_us: int = 30 * 60_000_000
    max_touches: int = 1000
    stages: tuple[str, ...] = ("signup_completed", "trial_started")
    half_life: float = 168.0


def everything(rows: list[dict], deployed: Deployment, digits: int = 8) -> tuple[Counter, Counter]:
    """Rows of core.touchpoints (conversion, time, session, channel, touches, truncated) and of the credits (conversion,
    label, hours, session, channel, credit to so many digits), with how often each occurs."""
    person = persons_of(rows)
    lives: dict[str, list[dict]] = defaultdict(list)
    for row in rows:
        lives[person[row["write_key"], row["event_id"]]].append(row)
    touchpoints, credits = Counter(), Counter()
    for who, life in lives.items():
        arrivals = _arrivals(who, life, deployed)
        for row in life:
            if row["event_name"] in CONVERSIONS:
                name = f"{row['write_key']}:{row['event_id']}"
                kept, n_touches = _kept(row["event_us"], arrivals, deployed)
                for touch in kept:
                    touchpoints[name, touch.at_us, touch.session, touch.channel, n_touches, n_touches > len(kept)] += 1
                for window in deployed.windows:
                    for session, channel, credit in _credited(row["event_us"], kept, life, window, deployed):
                        label = window.get("name", window["model"])
                        credits[
                            name, label, float(window["lookback_hours"]), session, channel, round(credit, digits) + 0.0
                        ] += 1
    return touchpoints, credits


def _arrivals(who: str, life: list[dict], deployed: Deployment) -> list[tuple[int, str, Callable[[int], str]]]:
    """A person's touches, oldest first: time, session, and the channel as it is known at a moment."""
    own = sessions_of(who, life, deployed.definition, deployed.zone, deployed.timeout_us)
    found = []
    for one in own:
        first = one.events[0]
        key = f"{who}:{first['session_id'] if deployed.definition == 'tracker' else one.start_us}"
        if deployed.grain == "session":
            found.append(
                (
                    place(first),
                    key,
                    lambda moment, one=one: getattr(one.touch_at(moment), "channel", None) or "Direct",
                )
            )
        else:
            for event in one.events:
                channel = getattr(touch_of(event), "channel", None) or "Direct"
                found.append((place(event), key, lambda moment, channel=channel: channel))
    return [(order[0], key, channel) for order, key, channel in sorted(found, key=lambda each: each[0])]


def _kept(at_us: int, arrivals: list, deployed: Deployment) -> tuple[list[Touch], int]:
    """The touches that are kept, oldest first, and how many there were."""
    lookbacks = {float(window["lookback_hours"]) for window in deployed.windows}
    lookbacks |= {float(hours) for window in deployed.windows for hours in window.get("channel_hours", {}).values()}
    before = [
        Touch(us, key, channel(at_us))
        for us, key, channel in arrivals
        if 0 <= at_us - us <= round(max(lookbacks) * HOUR)
    ]
    wanted = set(range(len(before) - deployed.max_touches, len(before)))
    for hours in lookbacks:
        within = [index for index, touch in enumerate(before) if at_us - touch.at_us <= round(hours * HOUR)]
        wanted |= set(within[:1])
    return [touch for index, touch in enumerate(before) if index in wanted], len(before)


def _credited(at_us: int, kept: list[Touch], life: list[dict], window: dict, deployed: Deployment) -> list[tuple]:
    """(session, channel, credit) of each touch that earns something; (unattributed) where none counts."""
    touches = []
    for touch in kept:
        hours = window.get("channel_hours", {}).get(touch.channel, window["lookback_hours"])
        listed = (
            touch.channel in window["only"] if window.get("only") else touch.channel not in window.get("without", ())
        )
        if listed and at_us - touch.at_us <= round(hours * HOUR):
            touches.append(touch)
    for transform in window.get("transforms", ()):
        touches = transformed(touches, transform)
    if not touches:
        return [(None, "(unattributed)", 1.0)]
    shares = _shares(at_us, touches, life, window, deployed)
    return [(t.session, t.channel, share) for t, share in zip(touches, shares, strict=True) if share > 0]


def transformed(touches: list[Touch], transform: str) -> list[Touch]:
    """A path, oldest first, after one transform."""
    kind, _, argument = transform.partition(":")
    left: list[Touch] = []
    if kind == "exposure":
        for touch in touches:
            if not left or left[-1].channel != touch.channel:
                left.append(touch)
        return left
    if kind == "first":
        return [t for i, t in enumerate(touches) if t.channel not in {other.channel for other in touches[:i]}]
    if kind == "last":
        return [t for i, t in enumerate(touches) if t.channel not in {other.channel for other in touches[i + 1 :]}]
    if kind == "newest":
        return touches[-int(argument) :]
    others = [t for t in touches if t.channel != argument]
    if kind == "unique" or not others:
        return touches
    if kind == "remove_if_not_all":
        return others
    left = list(touches)  # remove_if_last_and_not_all
    while left[-1].channel == argument:
        left.pop()
    return left


def _shares(at_us: int, touches: list[Touch], life: list[dict], window: dict, deployed: Deployment) -> list[float]:
    model, n = window["model"], len(touches)
    channels = [touch.channel for touch in touches]
    ages = [(at_us - touch.at_us) / HOUR for touch in touches]
    if model in ("first_touch", "last_touch", "last_non_direct", "first_paid", "last_paid"):
        return _one_of(model, channels)
    if model in ("linear", "linear_unique", "participation"):
        times, kinds = Counter(channels), len(set(channels))
        each = {"linear": lambda c: 1 / n, "linear_unique": lambda c: 1 / kinds / times[c]}
        return [each.get(model, lambda c: 1 / times[c])(channel) for channel in channels]
    if model in ("position_based", "j_shaped", "inverse_j"):
        fixed = {"j_shaped": (20, 20, 60), "inverse_j": (60, 20, 20)}
        first, middle, last = fixed.get(model) or window.get("weights") or (40, 20, 40)
        if n == 1:
            return [1.0]
        if n == 2:
            return [first / (first + last), last / (first + last)] if first + last else [0.5, 0.5]
        raw = [first] + [middle / (n - 2)] * (n - 2) + [last]
    elif model == "time_decay":
        half_life = window.get("half_life_hours", deployed.half_life)
        raw = [0.5 ** ((age - ages[-1]) / half_life) for age in ages]
    elif model == "inverse_age":
        raw = [1 / (1 + age) for age in ages]
    else:
        raw = _of_stages(model, at_us, touches, life, deployed)
    return [each / math.fsum(raw) for each in raw]


def _one_of(model: str, channels: list[str]) -> list[float]:
    places = list(range(len(channels)))
    if model == "last_non_direct":
        places = [i for i in places if channels[i] != "Direct"] or places
    elif model.endswith("_paid"):
        places = [i for i in places if channels[i] in PAID] or places
    winner = places[0] if model.startswith("first") else places[-1]
    return [1.0 if i == winner else 0.0 for i in range(len(channels))]


def _of_stages(model: str, at_us: int, touches: list[Touch], life: list[dict], deployed: Deployment) -> list[float]:
    moments = [0] * len(touches)
    moments[0] += 1
    if model == "full_path":
        moments[-1] += 1
    for stage in deployed.stages:
        of_stage = [row for row in life if row["event_name"] == stage and not row.get("bot_reason")]
        done = [row["event_us"] for row in of_stage if row["event_us"] <= at_us]
        behind = [i for i, touch in enumerate(touches) if done and touch.at_us <= min(done)]
        if behind:
            moments[behind[-1]] += 1
    key = {"w_shaped": 0.30, "full_path": 0.225}[model]
    return [key * times if times else 0.10 / moments.count(0) for times in moments]
