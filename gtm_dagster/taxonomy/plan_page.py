"""The plan as a Markdown page."""

from __future__ import annotations

from gtm_dagster.taxonomy.plan import EventSpec, Plan, PropertySpec


def to_markdown(plan: Plan) -> str:
    """Markdown: a section an event, with its stage, its owner and a table of its properties."""
    lines = [f"# Tracking plan {plan.version}", "", f"{len(plan.events)} events. Fingerprint `{plan.fingerprint}`.", ""]
    for name, spec in plan.events.items():
        lines += _section(spec, [alias for alias, target in plan.aliases.items() if target == name])
    return "\n".join(lines).rstrip() + "\n"


def _section(spec: EventSpec, aliases: list[str]) -> list[str]:
    lines = [f"## {spec.name}", "", *([spec.description, ""] if spec.description else []), f"Stage: {spec.stage}."]
    if spec.owner:
        lines[-1] += f" Owner: {spec.owner}."
    if aliases:
        lines[-1] += " Also sent as " + ", ".join(f"`{alias}`" for alias in aliases) + "."
    if spec.additional:
        lines[-1] += " May carry properties that are not declared here."
    lines.append("")
    if spec.properties:
        lines += ["| property | type | required | rules | privacy | meaning |", "|---|---|---|---|---|---|"]
        lines += [_row(name, rule) for name, rule in spec.properties.items()]
        lines.append("")
    return lines


def _row(name: str, rule: PropertySpec) -> str:
    cells = [f"`{name}`", rule.type, "yes" if rule.required else "", rules_of(rule), rule.privacy, rule.description]
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def rules_of(rule: PropertySpec, *, also_type: bool = False) -> str:
    """The rules of a property in words; `also_type`: and what of its type other languages do not say."""
    rules = ["a whole number"] if also_type and rule.type == "integer" else []
    if rule.allowed:
        rules.append("one of " + ", ".join(f"`{value}`" for value in rule.allowed))
    if rule.minimum is not None:
        rules.append(f"at least {rule.minimum:g}")
    if rule.maximum is not None:
        rules.append(f"at most {rule.maximum:g}")
    if rule.pattern:
        rules.append(f"matches `{rule.pattern}`")
    if rule.type == "string" and not rule.pattern and not rule.allowed:
        rules.append(f"up to {rule.max_length} characters")
    return "; ".join(rules)
