"""Settings beside a plan: each event and property that a setting names is one of the plan, under its canonical name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from msgspec.structs import replace

from gtm_dagster.settings import Conversion, FunnelStep, Guard, Origin, Refunds, Settings, SettingsError
from gtm_dagster.settings.nearest import nearest
from gtm_dagster.taxonomy.metrics_in_plan import metrics_in_plan
from gtm_dagster.taxonomy.plan import EventSpec, Plan

Role = Literal["value", "currency"]
_USUAL = Settings()


@dataclass(frozen=True)
class Deployment:
    """Settings as their plan has the names, that plan, and a line for each setting of which defaults are left out."""

    settings: Settings
    plan: Plan
    notices: tuple[str, ...] = ()


def settings_for_plan(settings: Settings, plan: Plan, origin: Origin | None = None) -> Settings:
    """`settings` with the canonical name of every event they name; the result given again is the result.

    `origin`: where each setting stands, for the messages; without it, settings that equal a default count as not given.
    Raises SettingsError with every problem: a conversion, funnel step or activity that is not an event of the plan, or a
    value or currency that its event cannot have. A guard like that becomes a message of `guard_errors`. Defaults that
    the plan has no event for are left out.
    """
    return deployment_of(settings, plan, origin).settings


def deployment_of(settings: Settings, plan: Plan, origin: Origin | None = None) -> Deployment:
    """As `settings_for_plan`, with the plan and what was left out."""
    look = _Look(plan, str(settings.plan_file or "the packaged plan"), origin or Origin())
    conversions = _conversions(
        settings, look, _is_default(settings.conversions, _USUAL.conversions, origin, "conversions")
    )
    steps = _steps(settings, look, _is_default(settings.funnel, _USUAL.funnel, origin, "funnel.steps"))
    stages = _stages(
        settings,
        look,
        _is_default(settings.attribution.stages, _USUAL.attribution.stages, origin, "attribution.stages"),
    )
    activity = _activity(settings, look, _is_default(settings.retention, None, origin, "retention.activity"))
    if look.problems:
        raise SettingsError(*look.problems)
    guards, errors = _guards(settings, plan, look)
    fitted = replace(
        settings,
        conversions=conversions,
        funnel=replace(settings.funnel, steps=steps),
        attribution=replace(settings.attribution, stages=stages),
        retention=replace(settings.retention, activity=activity),
        guards=guards,
        guard_errors=(*settings.guard_errors, *errors),
    )
    return Deployment(fitted, plan, look.notices)


def event_of(plan: Plan, where: str, name: str) -> str:
    """The canonical name of an event. Raises SettingsError naming the nearest; `where` is the plan's file."""
    found = plan.resolve(name)
    if found is None:
        raise SettingsError(_unknown_event(plan, where, name))
    return found


@dataclass
class _Look:
    """The names of one plan, and what is found wrong with those of the settings."""

    plan: Plan
    where: str
    origin: Origin
    problems: list[str] = field(default_factory=list)
    absent: dict[str, list[str]] = field(default_factory=dict)

    def event(self, key: str, name: str) -> str | None:
        """The canonical name; None with a problem when the plan has no such event."""
        found = self.plan.resolve(name)
        if found is None:
            self.problem(key, _unknown_event(self.plan, self.where, name))
        return found

    def problem(self, key: str, words: str) -> None:
        """Note what is wrong with a key."""
        self.problems.append(f"{key}: {words}{self.origin.place(key)}")

    def left_out(self, key: str, what: str) -> None:
        """Note a default that the plan does not have."""
        self.absent.setdefault(key, []).append(what)

    @property
    def notices(self) -> tuple[str, ...]:
        """A line for each setting of which defaults are left out."""
        plan = f"plan {self.plan.version} ({self.where})"
        return tuple(
            f"{key}: {', '.join(names)} of the defaults left out, since {plan} does not have {'it' if len(names) == 1 else 'them'}; set {key} to name yours"
            for key, names in self.absent.items()
        )


def _unknown_event(plan: Plan, where: str, name: str) -> str:
    known = (*plan.events, *plan.aliases)
    return f"{name!r} is not an event of plan {plan.version} ({where}); {_near(name, known, plan.aliases)}"


def _near(name: str, known: tuple[str, ...], aliases: Mapping[str, str] = MappingProxyType({})) -> str:
    """The nearest of the known names; of an event and its aliases only the nearest, an alias with its event."""
    close = nearest(name, known, most=len(known))
    shown: dict[str, str] = {}
    for each in close or nearest(name, known, most=len(known), least=0.0):
        event = aliases.get(each, each)
        shown.setdefault(event, each if each == event else f"{each} ({event})")
    three = list(shown.values())[:3]
    return f"did you mean {' or '.join(three)}?" if close else f"the nearest names are {', '.join(three)}"


def _is_default(given: object, usual: object, origin: Origin | None, key: str) -> bool:
    """Whether nobody wrote it: it is the default, or of the stage's preset."""
    if origin is not None and key in origin.stage_keys:
        return True
    return given == usual and (origin is None or not origin.given(key))


def _activity(settings: Settings, look: _Look, default: bool) -> tuple[str, ...]:
    found: list[str] = []
    for index, given in enumerate(settings.retention.activity):
        if default and look.plan.resolve(given) is None:
            look.left_out("retention.activity", given)
        elif name := look.event(f"retention.activity[{index}]", given):
            found.append(name)
    return tuple(dict.fromkeys(found))


def _conversions(settings: Settings, look: _Look, default: bool) -> tuple[Conversion, ...]:
    found: dict[str, Conversion] = {}
    for index, given in enumerate(settings.conversions):
        key = f"conversions[{index}]"
        if default and look.plan.resolve(given.event) is None:
            look.left_out("conversions", given.event)
            continue
        name = look.event(f"{key}.event", given.event)
        if name is None:
            continue
        if name in found:
            also = next(i for i, other in enumerate(settings.conversions) if look.plan.resolve(other.event) == name)
            look.problem(f"{key}.event", f"{given.event!r} is {name}, which is already entry {also}; name it once")
            continue
        parts: dict[str, str | None] = {
            role: _property(look, f"{key}.{role}", role, getattr(given, role), look.plan.events[name], default)
            for role in ("value", "currency")
        }
        found[name] = replace(
            given,
            event=name,
            value=parts["value"],
            currency=parts["currency"],
            unique=_identifier(look, f"{key}.unique", given.unique, look.plan.events[name], default),
            refunds=_refunds(look, f"{key}.refunds", name, given.refunds, default),
            where=_where(look, f"{key}.where", given.where, look.plan.events[name]),
        )
    return tuple(found.values())


def _property(look: _Look, key: str, role: Role, name: str | None, spec: EventSpec, default: bool) -> str | None:
    """The property a conversion's value or currency is taken from; None with a problem when its event cannot have it."""
    if name is None:
        return None
    rule = spec.properties.get(name)
    wrong = None
    if rule is None:
        if spec.additional:
            return name
        if default:
            look.left_out("conversions", f"the {role} {name} of {spec.name}")
            return None
        known = tuple(spec.properties)
        near = _near(name, known) if known else f"{spec.name} has no properties"
        wrong = f"{name!r} is not a property of {spec.name} in plan {look.plan.version} ({look.where}); {near}"
    elif rule.privacy != "plain":
        lands = "lands as a pseudonym" if rule.privacy == "personal" else "never lands"
        wrong = f"{name!r} of {spec.name} is of privacy {rule.privacy} and {lands}, so it cannot be the {role}"
    elif role == "value" and rule.type == "boolean":
        wrong = f"{name!r} of {spec.name} is a boolean; a value is a number"
    elif role == "currency" and rule.type != "string":
        wrong = f"{name!r} of {spec.name} is a {rule.type}; a currency is a text such as EUR"
    if wrong is None:
        return name
    look.problem(key, wrong)
    return None


def _identifier(look: _Look, key: str, name: str | None, spec: EventSpec, default: bool) -> str | None:
    """The property that tells one payment from another: any that lands."""
    if name is None or (name in spec.properties and spec.properties[name].privacy in ("plain", "personal")):
        return name
    if name not in spec.properties:
        if spec.additional:
            return name
        if default:
            return None
        near = _near(name, tuple(spec.properties)) if spec.properties else f"{spec.name} has no properties"
        words = f"{name!r} is not a property of {spec.name} in plan {look.plan.version} ({look.where}); {near}"
    else:
        words = f"{name!r} of {spec.name} never lands, so it cannot tell one payment from another"
    look.problem(key, words)
    return None


def _refunds(look: _Look, key: str, paid: str, given: Refunds | None, default: bool) -> Refunds | None:
    """The refunds of the conversion `paid` under the canonical name of their event; None where a default has none."""
    if given is None or (default and look.plan.resolve(given.event) is None):
        return None
    name = look.event(f"{key}.event", given.event)
    if name is None:
        return None
    if name == paid:
        look.problem(f"{key}.event", f"{given.event!r} is the conversion itself; name the event that takes value back")
        return None
    spec = look.plan.events[name]
    value = _property(look, f"{key}.value", "value", given.value, spec, default)
    of = _identifier(look, f"{key}.of", given.of, spec, default)
    if value is None or of is None:
        return None
    return Refunds(name, value, _property(look, f"{key}.currency", "currency", given.currency, spec, default), of)


def _where(
    look: _Look, key: str, given: dict[str, str | bool | float], spec: EventSpec
) -> dict[str, str | bool | float]:
    """The conditions as given; a problem for each property that its event cannot have, or whose value never lands as it is."""
    for name in given:
        rule = spec.properties.get(name)
        if rule is None and not spec.additional:
            near = _near(name, tuple(spec.properties)) if spec.properties else f"{spec.name} has no properties"
            words = f"{name!r} is not a property of {spec.name} in plan {look.plan.version} ({look.where}); {near}"
            look.problem(f"{key}.{name}", words)
        elif rule is not None and rule.privacy != "plain":
            look.problem(
                f"{key}.{name}",
                f"{name!r} of {spec.name} is of privacy {rule.privacy}; its values are not stored as sent",
            )
    return given


def _stages(settings: Settings, look: _Look, default: bool) -> tuple[str, ...]:
    found = []
    for index, given in enumerate(settings.attribution.stages):
        if default and look.plan.resolve(given) is None:
            continue  # only models that a window names read them
        found.append(look.event(f"attribution.stages[{index}]", given))
    return tuple(dict.fromkeys(name for name in found if name))


def _steps(settings: Settings, look: _Look, default: bool) -> tuple[FunnelStep, ...]:
    steps = []
    for index, step in enumerate(settings.funnel.steps):
        names = []
        for number, given in enumerate(step.events):
            if default and look.plan.resolve(given) is None:
                look.left_out("funnel.steps", f"{step.stage} ({given})")
            else:
                names.append(look.event(f"funnel.steps[{index}].events[{number}]", given))
        known = tuple(dict.fromkeys(name for name in names if name))
        if known:
            steps.append(replace(step, events=known))
    return tuple(steps)


def _guards(settings: Settings, plan: Plan, look: _Look) -> tuple[tuple[Guard, ...], tuple[str, ...]]:
    """Each guard on its own: a bad one becomes a message, and the others stay."""
    good: dict[str, Guard] = {}
    errors: list[str] = []
    for key, guard in _numbered(settings, look.origin):
        name = plan.resolve(guard.conversion)
        place = look.origin.place(f"{key}.conversion")
        if name is None:
            errors.append(f"{key}.conversion: {_unknown_event(plan, look.where, guard.conversion)}{place}")
            continue
        metrics, wrong = metrics_in_plan(guard.metrics, plan, lambda event: _unknown_event(plan, look.where, event))
        if wrong:
            errors += [f"{key}.{part}: {words}{look.origin.place(f'{key}.{part}')}" for part, words in wrong]
            continue
        fitted = replace(guard, conversion=name, metrics=metrics)
        if fitted.key in good:
            errors.append(f"{key}: {fitted.key} is guarded already; name it once{place}")
        else:
            good[fitted.key] = fitted
    return tuple(good.values()), tuple(errors)


def _numbered(settings: Settings, origin: Origin) -> Iterator[tuple[str, Guard]]:
    places = origin.guard_places or range(len(settings.guards))
    for place, guard in zip(places, settings.guards, strict=True):
        yield f"guards[{place}]", guard
