"""The text of a plan file: one that begins, and one that events are added to, with all its comments."""

from __future__ import annotations

from typing import Any

import yaml

from gtm_dagster.taxonomy.plan import parse_plan
from gtm_dagster.taxonomy.plan_draft import PRODUCT_EVENTS, STARTER_EVENTS, Draft, packaged_blocks, yaml_key
from gtm_dagster.taxonomy.plan_yaml import compose

_HEADER = """\
# {title}
# Every field is described in docs/plan.md; `gtm plan check` says what a change would break. Use it by
# plan_file = "{file}" in gtm.toml.
# version: MODEL-REVISION-ADDITION. Raise MODEL when what was valid is refused, ADDITION for new events and optional properties.
version: 1-0-0
"""
_EXAMPLE = """\
  # order_completed:             # an event of yours: lower case letters, digits and _
  #   description: A customer paid an order.
  #   stage: revenue             # acquisition, activation, retention, revenue, operations (default)
  #   owner: shop
  #   basis: contract            # kept without asking for consent, which is the default; or legitimate_interest
  #   additional: true           # it may carry properties that are not declared here
  #   properties:
  #     order_id: {type: string, required: true, max_length: 64}
  #     total: {type: number, minimum: 0}
  #     currency: {type: string, pattern: "[A-Z]{3}"}
  #     coupon: {type: string, allowed: [spring, summer]}
  #     email: {type: string, privacy: personal}      # lands as a pseudonym; sensitive and free_text never land
"""


def starter(file: str) -> str:
    """A plan of a few packaged events, with an example of one's own as a comment."""
    blocks = packaged_blocks(*STARTER_EVENTS, *PRODUCT_EVENTS)
    own = "\n".join(blocks[name] for name in STARTER_EVENTS)
    needed = "\n".join(blocks[name] for name in PRODUCT_EVENTS)
    aliases = "aliases:                         # other names that are sent -> the event\n  page_view: page_viewed\n"
    text = (
        f"{_HEADER.format(title='A tracking plan to begin with.', file=file)}\n{aliases}\nevents:\n{_EXAMPLE}{own}\n"
        f"  # Needed by the product itself: identities, consent, flags and their drill.\n{needed}\n"
    )
    return _checked(text, file)


def begun(found: Draft, file: str, origin: str) -> str:
    """A plan of the drafted events, and of those the product itself needs."""
    aliases = "".join(f"  {yaml_key(sent)}: {yaml_key(name)}\n" for sent, name in found.aliases.items())
    needed = [name for name in PRODUCT_EVENTS if name not in found.blocks]
    blocks = "\n".join(found.blocks.values())
    text = (
        _HEADER.format(title=f"A tracking plan drafted from {_one_line(origin)}.", file=file)
        + "# Read it through: a property that was always there is required, and what may be personal is a guess by its name.\n"
        + "# An event without `basis: contract` or `legitimate_interest` is kept only with consent (privacy.consent).\n"
        + (f"\naliases:\n{aliases}" if aliases else "")
        + f"\nevents:\n{blocks}\n"
        + "  # Needed by the product itself: identities, consent, flags and their drill.\n"
        + "\n".join(packaged_blocks(*needed).values())
        + "\n"
    )
    return _checked(text, file)


def extended(text: str, found: Draft, file: str) -> str:
    """`text`, a plan, with the drafted events and aliases behind its own, and its version one ADDITION higher."""
    parts = {key.value: (key, value) for key, value in compose(text).value}
    lines = text.splitlines()
    added: list[tuple[int, list[str]]] = []
    column = _column(parts["events"][1])
    blocks = [line for block in found.blocks.values() for line in block.splitlines()]
    if blocks and column is None:
        return _rewritten(text, found, file)
    if blocks:
        shifted = [" " * (column or 0) + line[2:] if line.startswith("  ") else line for line in blocks]
        added.append((_end(lines, parts["events"][1]), shifted))
    if found.aliases:
        if "aliases" not in parts:
            entries = [f"  {yaml_key(sent)}: {yaml_key(name)}" for sent, name in found.aliases.items()]
            added.append((parts["events"][0].start_mark.line, ["aliases:", *entries, ""]))
        else:
            column = _column(parts["aliases"][1])
            if column is None:
                return _rewritten(text, found, file)
            entries = [f"{' ' * column}{yaml_key(sent)}: {yaml_key(name)}" for sent, name in found.aliases.items()]
            added.append((_end(lines, parts["aliases"][1]), entries))
    mark = parts["version"][1]
    row = mark.start_mark.line
    lines[row] = lines[row][: mark.start_mark.column] + _next(mark.value) + lines[row][mark.end_mark.column :]
    for at, more in sorted(added, key=lambda each: -each[0]):
        lines[at:at] = more
    return _checked("\n".join(lines) + "\n", file)


def _rewritten(text: str, found: Draft, file: str) -> str:
    """The plan written anew: one in flow style (`events: {...}`) has no lines to add to, and few comments to lose."""
    plan = yaml.safe_load(text)
    more = yaml.safe_load("\n".join(["events:", *found.blocks.values()])) if found.blocks else {"events": {}}
    plan["version"] = _next(plan["version"])
    plan["aliases"] = {**(plan.get("aliases") or {}), **found.aliases}
    plan["events"] = {**plan["events"], **more["events"]}
    return _checked(yaml.safe_dump(plan, sort_keys=False, allow_unicode=True, width=120), file)


def _column(node: Any) -> int | None:
    """Where the keys of a block mapping begin; None for one in flow style or without keys."""
    if not isinstance(node, yaml.MappingNode) or node.flow_style or not node.value:
        return None
    return int(node.value[0][0].start_mark.column)


def _end(lines: list[str], node: Any) -> int:
    """The line behind the last one of a block mapping: comments and blank lines before the next key are that key's."""
    at = min(int(node.end_mark.line), len(lines))
    if node.end_mark.column:
        at = min(at + 1, len(lines))
    while at and (not lines[at - 1].strip() or lines[at - 1].startswith("#")):
        at -= 1
    return at


def _next(version: str) -> str:
    model, revision, addition = version.split("-")
    return f"{model}-{revision}-{int(addition) + 1}"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _checked(text: str, file: str) -> str:
    """`text`, which is a plan. Raises PlanError when it is not."""
    parse_plan(text, file)
    return text
