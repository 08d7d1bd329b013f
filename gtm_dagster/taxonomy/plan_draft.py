"""A plan written from events that were seen: the YAML of each event, and the aliases of names that are not snake_case."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

import yaml

from gtm_dagster.taxonomy.plan import DEFAULT_MAX_LENGTH, Plan, load_plan
from gtm_dagster.taxonomy.plan_yaml import compose, read_yaml
from gtm_dagster.taxonomy.seen_events import SeenEvent, SeenEvents, SeenProperty, joined

PRODUCT_EVENTS = ("user_identified", "consent_updated", "flag_exposed", "guard_drill_converted")
"""Events that the gate, the drill and the joining of identities need; every plan that is begun here has them."""
STARTER_EVENTS = ("page_viewed", "signup_completed", "payment_completed")
ENOUGH = 20
"""So many events, and a few distinct texts are worth a comment."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}\Z")
_PLAIN_KEY = re.compile(
    r"(?!(?:y|n|yes|no|on|off|true|false|null)\Z)[A-Za-z][A-Za-z0-9_]*(?: [A-Za-z0-9_]+)*\Z", re.IGNORECASE
)
_SHOWABLE = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff\ud800-\udfff]+\Z")
_MONEY = re.compile(r"(?:.*_)?(?:amount|price|total|subtotal|value|revenue|cost|tax|discount|fee|sum)s?(?:_.*)?\Z")
_PERSONAL = re.compile(
    r"(?:.*_)?(?:e_?mail|phone|mobile|first_?name|last_?name|full_?name|address|street|ip|birth_?date|date_of_birth)\Z"
)
_SECRET = re.compile(r"(?:.*_)?(?:password|passwd|token|secret|ssn|iban|card_?number)\Z")
_FREE = re.compile(r"(?:.*_)?(?:message|comment|notes?|query|search_?term|free_?text)\Z")


@dataclass
class Draft:
    """Blocks of YAML by event name, aliases (name that is sent -> event), and how often each event was seen."""

    blocks: dict[str, str] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)


def draft(seen: SeenEvents, existing: Plan | None = None) -> Draft:
    """The events that `seen` adds to `existing` (None: a plan that begins), in the order in which they were seen.

    What was seen fits the plan that is drafted: types, lengths and required properties are those of all its events.
    """
    packaged, raw = load_plan(), read_yaml(_packaged_text())
    found = Draft()
    names: dict[str, list[str]] = {}
    for sent in seen.events:
        name = _name(sent, packaged, existing, names)
        names.setdefault(name, []).append(sent)
        if sent != name and (existing is None or existing.resolve(sent) is None):
            found.aliases[sent] = name
    for name, spellings in names.items():
        event = joined([seen.events[sent] for sent in spellings])
        found.counts[name] = event.count
        if existing is None or name not in existing.events:
            found.blocks[name] = _block(name, spellings, event, raw["events"].get(name, {}))
    return found


def snake_case(name: str) -> str:
    """`Order Completed` and `orderCompleted` as order_completed; "" when nothing of it is a Latin letter or a digit."""
    parted = re.sub(r"([a-z0-9])([A-Z])|([A-Z]+)(?=[A-Z][a-z])", r"\1\3_\2", name)
    latin = unicodedata.normalize("NFKD", parted).encode("ascii", "ignore").decode()
    joined_up = re.sub(r"[^a-z0-9]+", "_", latin.lower()).strip("_")
    if joined_up and not joined_up[0].isalpha():
        joined_up = f"event_{joined_up}"
    return joined_up[:64].rstrip("_")


def packaged_blocks(*names: str) -> dict[str, str]:
    """The YAML of these events as the packaged plan writes it, comments and all."""
    lines = _packaged_text().splitlines()
    events = next(value for key, value in compose(_packaged_text()).value if key.value == "events")
    starts = {key.value: key.start_mark.line for key, _ in events.value}
    ends = dict(zip(starts, [*list(starts.values())[1:], len(lines)], strict=True))
    return {name: "\n".join(lines[starts[name] : ends[name]]).rstrip() for name in names}


def times(n: int) -> str:
    """`once`, `2 times`."""
    return "once" if n == 1 else f"{n:,} times"


def yaml_key(name: str) -> str:
    """`name` as a key of YAML, quoted where it has to be."""
    if _PLAIN_KEY.match(name):
        return name
    return yaml.safe_dump(name, default_style='"', allow_unicode=True, width=1_000_000).strip()


def _packaged_text() -> str:
    return (resources.files("gtm_dagster.taxonomy") / "plan.yaml").read_text("utf-8")


def _name(sent: str, packaged: Plan, existing: Plan | None, taken: dict[str, list[str]]) -> str:
    """The event that a name becomes: that of a plan which knows it, for reports and defaults go by those names."""
    for name in (sent, snake_case(sent)):
        for plan in (existing, packaged):
            known = plan.resolve(name) if plan else None
            if known is not None:
                return known
        if _NAME.match(name):
            return name
    return next(free for n in range(1, len(taken) + 2) if (free := f"event_{n}") not in taken)


def _block(name: str, spellings: list[str], event: SeenEvent, base: dict[str, Any]) -> str:
    seen_as = ", ".join(yaml_key(sent) for sent in spellings if sent != name)
    lines = [f"  {yaml_key(name)}:  # seen {times(event.count)}" + (f", sent as {seen_as}" if seen_as else "")]
    lines += [f"    {key}: {_flow(value)}" for key, value in base.items() if key not in ("properties", "additional")]
    properties, open_names = _properties(event, base.get("properties", {}))
    if base.get("additional") or open_names:
        lines.append("    additional: true")
        lines += [f"    # {line}" for line in open_names]
    if properties:
        lines += ["    properties:", *(f"      {line}" for line in properties)]
    return "\n".join(lines)


def _properties(event: SeenEvent, base: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Lines of the declared properties, and of those that cannot be declared and need `additional: true`."""
    declared: list[str] = []
    undeclared: list[str] = []
    for name, seen in event.properties.items():
        scalars = {kind for kind in seen.kinds if kind not in ("null", "object", "array")}
        if not scalars and seen.present:
            declared.append(f"# {yaml_key(name)}: {_types(seen)}, which no event may carry; send plain values")
        elif not _NAME.match(name):
            undeclared.append(
                f"{yaml_key(name)} ({_types(seen)}) cannot be declared: names are lower case letters, digits and _"
            )
        elif _kind(name, scalars) is None:
            undeclared.append(f"{name} is seen as {_types(seen)}: not declared, so that each may come")
        else:
            declared.append(_line(name, seen, scalars, event.count, base.get(name, {})))
    for name, rule in base.items():
        if name not in event.properties:
            declared.append(
                f"{yaml_key(name)}: {_flow({key: value for key, value in rule.items() if key != 'required'})}  # not seen"
            )
    return declared, undeclared


def _line(name: str, seen: SeenProperty, scalars: set[str], events: int, base: dict[str, Any]) -> str:
    kind = _kind(name, scalars)
    usual = base if base and not seen.misfits else {}
    rule: dict[str, Any] = {"type": usual.get("type", kind)}
    notes = []
    if base and seen.misfits:
        notes.append("not by the rule of the packaged plan")
    if seen.present == events:
        rule["required"] = True
    rule |= {key: value for key, value in usual.items() if key not in ("required", "privacy", "description")}
    if kind == "string" and "max_length" not in rule and seen.longest > DEFAULT_MAX_LENGTH:
        rule["max_length"] = 1 << (seen.longest - 1).bit_length()
    privacy = base.get("privacy") or _privacy(name, kind, seen)
    if privacy == "personal" and kind != "string":
        privacy = "sensitive"
    if privacy != "plain":
        rule["privacy"] = privacy
        if privacy != "personal":
            rule.pop("required", None)
        if "privacy" not in base:
            notes.append("its values look like e-mail addresses" if seen.mails else "a guess by its name")
    if base.get("description"):
        rule["description"] = base["description"]
    if not seen.present:
        notes.append("only null was seen")
    elif kind == "string" and privacy == "plain" and (closed := _closed_set(seen)):
        notes.append(f"seen: {closed}")
    if seen.kinds.keys() & {"object", "array"}:
        notes.append("also objects or lists, which are refused")
    return f"{yaml_key(name)}: {_flow(rule)}" + (f"  # {'; '.join(notes)}" if notes else "")


def _closed_set(seen: SeenProperty) -> str:
    """The few texts of a property that was seen often; empty where there are many."""
    if seen.mails or seen.present < ENOUGH or not all(_SHOWABLE.match(value) for value in seen.values or ()):
        return ""
    return ", ".join(sorted(seen.values or ()))


def _kind(name: str, scalars: set[str]) -> str | None:
    """The type that takes all of these, None when none does."""
    if scalars == {"integer"}:
        return "number" if _MONEY.match(name) else "integer"
    if scalars == {"integer", "number"}:
        return "number"
    if len(scalars) > 1:
        return None
    return next(iter(scalars), "string")


def _privacy(name: str, kind: str | None, seen: SeenProperty) -> str:
    if _SECRET.match(name):
        return "sensitive"
    if _FREE.match(name) and kind == "string":
        return "free_text"
    return "personal" if _PERSONAL.match(name) or seen.mails else "plain"


def _types(seen: SeenProperty) -> str:
    return " and ".join(f"{kind} ({n:,})" for kind, n in seen.kinds.most_common() if kind != "null") or "null"


def _flow(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=1_000_000).removesuffix("\n...\n").strip()  # fmt: skip
