"""`triggers.yaml` -> rules, with every error at once: its line, rule and field, what is allowed, the nearest names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from gtm_dagster.taxonomy.misfits import misfits
from gtm_dagster.taxonomy.plan import Plan
from gtm_dagster.taxonomy.plan_yaml import YamlError, line_numbers, read_yaml
from gtm_dagster.triggers.compiled_rule import Rule, compiled
from gtm_dagster.triggers.rule_form import RuleForm, RulesForm
from gtm_dagster.triggers.rule_lint import problems_of_rule

MOST_RULES = 1000


class TriggerError(ValueError):
    """Rules that cannot be used; each problem names the file, the line, the rule, the field and the way out."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def load_rules(path: Path, plan: Plan) -> tuple[Rule, ...]:
    """The rules of a file, by name. Raises TriggerError."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TriggerError(f"triggers_file {path}: cannot be read ({error})") from error
    return parse_rules(text, plan, str(path))


def parse_rules(text: str, plan: Plan, where: str = "triggers.yaml") -> tuple[Rule, ...]:
    """The rules of YAML `text`, by name, which fit `plan`; `where` names the file in errors. Raises TriggerError."""
    try:
        raw = _with_on(read_yaml(text))
    except YamlError as error:
        raise TriggerError(*(f"{where} line {line}: {words}" for line, words in error.problems)) from error
    found = list(misfits(raw, RulesForm))
    forms = _forms(raw, [path for path, _ in found])
    for name, form in forms.items():
        found += [(("rules", name, *path), words) for path, words in problems_of_rule(name, form, plan)]
    if len(forms) > MOST_RULES:
        found.append((("rules",), f"{len(forms)} rules are more than {MOST_RULES}; split the deployment"))
    if found:
        lines = line_numbers(text)
        ordered = sorted(dict.fromkeys((_line(lines, path), _subject(path) + words) for path, words in found))
        raise TriggerError(*(f"{where}{f' line {line}' if line else ''}: {words}" for line, words in ordered))
    canonical = {name: plan.resolve(name) or name for name in (*plan.events, *plan.aliases)}
    return tuple(compiled(name, forms[name], canonical) for name in sorted(forms))


def _with_on(raw: Any) -> Any:
    """YAML 1.1 reads the key `on` as true; it is the name of a field here."""
    rules = raw.get("rules") if isinstance(raw, dict) else None
    if not isinstance(rules, dict):
        return raw
    named = {
        name: {"on" if key is True else key: value for key, value in body.items()} if isinstance(body, dict) else body
        for name, body in rules.items()
    }
    return {**raw, "rules": named}


def _forms(raw: Any, wrong: Iterable[tuple[str, ...]]) -> dict[str, RuleForm]:
    """The rules, each without what does not fit its type, so that the rest is looked at all the same."""
    rules = raw.get("rules") if isinstance(raw, dict) else None
    forms: dict[str, RuleForm] = {}
    for name, body in rules.items() if isinstance(rules, dict) else ():
        paths = [path[2:] for path in wrong if path[:2] == ("rules", name) and len(path) > 2]
        for rest in (body, _without(body, paths), _without(body, [path[:1] for path in paths])):
            try:
                forms[str(name)] = msgspec.convert(rest, RuleForm)
                break
            except msgspec.ValidationError:
                continue
    return forms


def _without(body: Any, paths: Sequence[tuple[str, ...]]) -> Any:
    if not isinstance(body, dict):
        return body
    kept = {key: value for key, value in body.items() if (key,) not in paths}
    return {
        key: _without(value, [path[1:] for path in paths if path[0] == key and path[1:]]) for key, value in kept.items()
    }


def _line(lines: dict[tuple[str, ...], int], path: tuple[str, ...]) -> int:
    """The line of the key at `path`, or of what holds it; 0 for the whole document."""
    return next((lines[path[:end]] for end in range(len(path), 0, -1) if path[:end] in lines), 0)


def _subject(path: tuple[str, ...]) -> str:
    """`rule nudge, absent.within: ` of a path."""
    if path[:1] != ("rules",) or len(path) < 2:
        return f"{'.'.join(path)}: " if path else ""
    parts = [f"rule {path[1]}", *([".".join(path[2:])] if path[2:] else [])]
    return ", ".join(parts) + ": "
