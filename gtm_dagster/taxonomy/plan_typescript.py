"""The plan as a TypeScript module: a type for the properties of each event, and a method that tracks it."""

from __future__ import annotations

import json

from gtm_dagster.taxonomy.envelope import CONTEXT_LIMITS, DEVICE_TYPES, PURPOSES, UTM_FIELDS
from gtm_dagster.taxonomy.plan import EventSpec, Plan, PropertySpec
from gtm_dagster.taxonomy.plan_names import camel, distinct, pascal
from gtm_dagster.taxonomy.plan_page import rules_of

_RESERVED = ("Common", "Context", "Event", "Events", "Options", "Person", "Record", "Send")
_TYPES = {"string": "string", "number": "number", "integer": "number", "boolean": "boolean"}


def to_typescript(plan: Plan) -> str:
    """TypeScript without imports. `new Events(send)` has a method an event; what `send` gets is what a collector takes.

    Types say names, types, allowed values and what is needed; what they cannot say (limits, patterns) is in comments.
    """
    types = distinct(plan.events, pascal, _RESERVED)
    methods = distinct(plan.events, camel, ("constructor",))
    lines = [
        f"// Tracking plan {plan.version}. Written by `gtm plan export --format typescript`: change the plan, not this file.",
        "",
        *_envelope(plan),
    ]
    for name, spec in plan.events.items():
        lines += ["", *_properties(types[name], spec)]
    lines += [
        "",
        "/** The events of the plan: each method makes one and hands it to `send`, which posts it to a collector's /ingest. */",
        "export class Events {",
        "  private readonly send: Send;",
        "",
        "  constructor(send: Send) {",
        "    this.send = send;",
        "  }",
    ]
    for name, spec in plan.events.items():
        lines += ["", *_method(methods[name], types[name], spec)]
    return "\n".join([*lines, "}", ""])


def _envelope(plan: Plan) -> list[str]:
    texts = [*CONTEXT_LIMITS, *UTM_FIELDS, "user_agent"]
    purposes = " ".join(f"{purpose}?: boolean;" for purpose in PURPOSES)
    devices = " | ".join(json.dumps(device) for device in DEVICE_TYPES)
    return [
        "/** Whose event it is: a user's, a visitor's, or that of a visitor who is now known. */",
        "export type Person =",
        "  | { user_id: string; anonymous_id?: string | null }",
        "  | { user_id?: string | null; anonymous_id: string };",
        "",
        "/** Where it happened. */",
        "export interface Context {",
        *(f"  {name}?: string | null;" for name in texts),
        f"  device_type?: {devices} | null;",
        f"  consent?: {{ {purposes} }} | null;",
        "}",
        "",
        "export interface Common {",
        "  session_id?: string | null;",
        "  context?: Context;",
        "  /** RFC 3339 with an offset; without it the time of receipt. */",
        "  timestamp?: string;",
        "  /** The same in a resend: counted once. */",
        "  event_id?: string;",
        "}",
        "",
        "export type Options = Person & Common;",
        "",
        f"export type Event = Options & {{ event_name: {' | '.join(map(json.dumps, plan.events)) or 'string'}; properties: object }};",
        "",
        "export type Send = (event: Event) => void;",
    ]


def _properties(type_name: str, spec: EventSpec) -> list[str]:
    if not spec.properties and not spec.additional:
        return [f"export type {type_name} = Record<string, never>;"]
    lines = [f"export interface {type_name} {{"]
    for name, rule in spec.properties.items():
        lines += _comment("  ", rule.description, rules_of(rule, also_type=True))
        lines.append(f"  {name}{'' if rule.required else '?'}: {_type(rule)}{'' if rule.required else ' | null'};")
    if spec.additional:
        lines += _comment("  ", "The plan allows properties that it does not declare.")
        lines.append("  [undeclared: string]: string | number | boolean | null | undefined;")
    return [*lines, "}"]


def _method(method: str, type_name: str, spec: EventSpec) -> list[str]:
    owner = f"Owner: {spec.owner}." if spec.owner else ""
    needs = "options: Options" if spec.required else f"options: Options, properties: {type_name} = {{}}"
    arguments = f"properties: {type_name}, {needs}" if spec.required else needs
    return [
        *_comment("  ", spec.description, f"Stage: {spec.stage}.", owner),
        f"  {method}({arguments}): void {{",
        f"    this.send({{ ...options, event_name: {json.dumps(spec.name)}, properties }});",
        "  }",
    ]


def _type(rule: PropertySpec) -> str:
    return " | ".join(json.dumps(value) for value in rule.allowed) or _TYPES[rule.type]


def _comment(indent: str, *texts: str) -> list[str]:
    words = " ".join(_sentence(text) for text in texts if text).replace("*/", "* /")
    return [f"{indent}/** {words} */"] if words else []


def _sentence(text: str) -> str:
    words = " ".join(text.split())
    return words if words.endswith((".", "`")) else f"{words}."
