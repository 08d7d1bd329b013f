"""Whether a rule makes sense and fits the tracking plan: names, types, purposes, hours, rules that undo themselves."""

from __future__ import annotations

import re
from collections.abc import Iterator

from gtm_dagster.settings.nearest import did_you_mean, known_names
from gtm_dagster.taxonomy.envelope import PURPOSES
from gtm_dagster.taxonomy.plan import EventSpec, Plan, PropertySpec
from gtm_dagster.triggers.compiled_rule import microseconds
from gtm_dagster.triggers.local_time import is_zone, zone_names
from gtm_dagster.triggers.rule_form import CHANNELS, ConditionForm, QuietForm, ReentryForm, RuleForm, Scalar

SERVICE = "service"
"""The purpose of messages that a person asked for; it needs no consent."""
ALL_PURPOSES = (SERVICE, *PURPOSES)
CONTEXT_FIELDS = ("source", "medium", "campaign", "device_type", "locale", "country", "region")
LONGEST_US = microseconds("400d")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}\Z")
_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,), "number": (int, float), "integer": (int,), "boolean": (bool,),
}  # fmt: skip
Problem = tuple[tuple[str, ...], str]


def problems_of_rule(name: str, form: RuleForm, plan: Plan) -> Iterator[Problem]:
    """(path below the rule, what is wrong and what is allowed) of everything."""
    if not _NAME.match(name):
        yield (), "use lower case letters, digits and _ for the name, at most 64"
    channels = [channel for channel in CHANNELS if getattr(form.do, channel) is not None]
    if len(channels) != 1:
        yield ("do",), f"give one channel of {', '.join(CHANNELS)}; {len(channels)} are given"
    elif form.cap and form.cap.channel != channels[0]:
        yield ("cap", "channel"), f"{form.cap.channel} is not the channel of this rule; give {channels[0]}"
    if form.purpose not in ALL_PURPOSES:
        yield ("purpose",), f"{form.purpose!r} is not a purpose; {known_names(form.purpose, ALL_PURPOSES)}"
    if form.absent and form.count:
        yield ("count",), "absent and count exclude each other; make it two rules"
    if form.holdout and round(form.holdout * 10_000) in (0, 10_000):
        yield ("holdout",), f"{form.holdout:g} is read in steps of 0.0001; give 0, or 0.0001 to 0.9999"
    yield from _durations(form)
    yield from _events(form, plan)
    if form.quiet:
        yield from _quiet(form.quiet)


def _durations(form: RuleForm) -> Iterator[Problem]:
    given: list[tuple[tuple[str, ...], str]] = [(("expires",), form.expires)]
    if form.absent:
        given += [(("absent", "within"), form.absent.within), (("absent", "grace"), form.absent.grace)]
    if form.count:
        given.append((("count", "within"), form.count.within))
    if isinstance(form.reentry, ReentryForm):
        given.append((("reentry", "cooldown"), form.reentry.cooldown))
    if form.cap:
        given.append((("cap", "per"), form.cap.per))
    if form.quiet:
        given.append((("quiet", "max_hold"), form.quiet.max_hold))
    if form.goal:
        given.append((("goal", "within"), form.goal.within))
    for path, text in given:
        if microseconds(text) > LONGEST_US:
            yield path, f"{text} is longer than 400d"
    if form.absent and microseconds(form.absent.grace) >= microseconds(form.expires):
        yield ("absent", "grace"), f"{form.absent.grace} is not below expires ({form.expires}): nothing would be sent"


def _events(form: RuleForm, plan: Plan) -> Iterator[Problem]:
    cancelling: list[Problem] = [(("cancel_on",), event) for event in form.cancel_on]
    if form.absent:
        cancelling.insert(0, (("absent", "event"), form.absent.event))
    goals = [(("goal", "event"), form.goal.event)] if form.goal else []
    for path, event in [(("on",), form.on), *cancelling, *goals]:
        if plan.resolve(event) is None:
            near = did_you_mean(event, plan.events) or did_you_mean(event, plan.aliases)
            yield path, f"{event!r} is not an event of {plan.where or 'the plan'}{near}"
    started = plan.resolve(form.on)
    for path, event in cancelling:
        if started is not None and plan.resolve(event) == started:
            yield path, f"{event} starts this rule and ends it at once; name another event"
    if started is not None:
        yield from _conditions(form.where, plan.events[started], ("where",))
    absent = plan.resolve(form.absent.event) if form.absent else None
    if form.absent and absent is not None:
        yield from _conditions(form.absent.where, plan.events[absent], ("absent", "where"))
    if form.key not in (None, "person"):
        for event in [each for each in dict.fromkeys((started, absent)) if each]:
            yield from _key(str(form.key), plan.events[event])


def _key(key: str, spec: EventSpec) -> Iterator[Problem]:
    name = key.removeprefix("properties.")
    if (rule := spec.properties.get(name)) is None:
        if not spec.additional:
            known = known_names(name, spec.properties)
            yield ("key",), f"{spec.name} has no property {name!r}, so its events have no key; {known}"
    elif rule.privacy in ("sensitive", "free_text"):
        yield ("key",), f"{name} of {spec.name} is {rule.privacy} and never lands; take another property"


def _conditions(where: dict[str, ConditionForm], spec: EventSpec, place: tuple[str, ...]) -> Iterator[Problem]:
    for path, condition in where.items():
        here = (*place, path)
        root, _, name = path.partition(".")
        if root == "context" and name in CONTEXT_FIELDS:
            yield from _values(condition, PropertySpec(type="string"), here)
        elif root != "properties" or not name:
            known = [
                *(f"properties.{each}" for each in spec.properties),
                *(f"context.{each}" for each in CONTEXT_FIELDS),
            ]
            yield here, f"{path!r} is not a path of {spec.name}; {known_names(path, known)}"
        elif (rule := spec.properties.get(name)) is not None:
            if rule.privacy != "plain":
                lands = "lands as a pseudonym" if rule.privacy == "personal" else "never lands"
                yield here, f"{name} of {spec.name} is {rule.privacy} and {lands}; compare a plain property"
            else:
                yield from _values(condition, rule, here)
        elif not spec.additional:
            yield here, f"{spec.name} has no property {name!r}; {known_names(name, spec.properties)}"
        else:
            yield from _values(condition, None, here)


def _values(condition: ConditionForm, rule: PropertySpec | None, here: tuple[str, ...]) -> Iterator[Problem]:
    tests = (condition.in_, condition.not_in, condition.min, condition.max, condition.present)
    if all(test is None for test in tests):
        yield here, "says nothing; give in, not_in, min, max or present"
    if condition.min is not None and condition.max is not None and condition.min > condition.max:
        yield here, f"min {condition.min:g} is above max {condition.max:g}: nothing satisfies it"
    for field, values in (("in", condition.in_), ("not_in", condition.not_in)):
        if values == ():
            yield (*here, field), "is empty; name values"
        for value in values or ():
            if rule is not None and (problem := _misfit(value, rule)):
                yield (*here, field), problem
    numeric = rule is None or rule.type in ("number", "integer")
    for field, limit in (("min", condition.min), ("max", condition.max)):
        if limit is not None and not numeric and rule is not None:
            yield (*here, field), f"needs a number, the property is a {rule.type}"


def _misfit(value: Scalar, rule: PropertySpec) -> str | None:
    if type(value) not in _TYPES[rule.type]:
        return f"{value!r} is not a {rule.type}"
    if rule.allowed and value not in rule.allowed:
        return f"{value!r} is never sent; allowed: {', '.join(map(str, rule.allowed))}"
    return None


def _quiet(quiet: QuietForm) -> Iterator[Problem]:
    if quiet.from_ == quiet.to:
        yield ("quiet", "to"), f"{quiet.to} is from as well: give another end, or leave quiet out"
    if not quiet.days:
        yield ("quiet", "days"), "is empty; name days, or leave it out for every day"
    for field, zone in (("zone", quiet.zone), ("default_zone", quiet.default_zone)):
        if zone is not None and not (field == "zone" and zone == "person") and not is_zone(zone):
            near = did_you_mean(zone, zone_names())
            yield ("quiet", field), f"{zone!r} is not a time zone; give an IANA name such as Europe/Berlin{near}"
    if quiet.zone == "person" and quiet.default_zone is None:
        yield ("quiet", "default_zone"), "is missing: not every person's zone is known; give an IANA name"
