"""Templates of messages: Jinja2 in a sandbox, where an unknown name is an error, and values cannot write markup.

A template is a file of the folder `templates` beside the rules. Above its first blank line stand headers: `Subject` of an
e-mail; `Title`, and `Link` if there is one, of an in-app message; a Slack message has none. The rest is Markdown, of Slack
its own mrkdwn.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import FileSystemLoader, StrictUndefined, TemplateError, meta, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markdown_it import MarkdownIt
from markupsafe import Markup

NAMES = ("rule", "person", "key", "due_at", "event", "properties")
"""What a template may name; `event` has id, name and at."""
HEADERS = {"email": ("Subject",), "in_app": ("Title",), "slack": ()}
"""The headers a template of a channel needs."""
_OPTIONAL = {"in_app": ("Link",)}
_HEADER = re.compile(r"([A-Z][A-Za-z-]*):[ \t]*(.*)\Z")
_PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")
_LINK = re.compile(r"(https?://|/(?!/))[^\s\"'<>\\]*\Z")


class MessageTemplateError(ValueError):
    """A template that cannot be used for this message; the message names the file, the line and the way out."""


@dataclass(frozen=True)
class Rendered:
    """A message as it is sent: headers, plain text, and the text as HTML in which no value is markup."""

    headers: Mapping[str, str] = field(default_factory=dict)
    text: str = ""
    html: str = ""


def _plain(value: Any) -> Any:
    """Text of a value on one line, so that it ends no header and begins none."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return Markup(" ".join(value.split()))  # noqa: S704 - plain text has no markup to escape


def _markdown(value: Any) -> Any:
    """Text of a value inside Markdown: every mark of it is only a mark."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return Markup(_PUNCTUATION.sub(r"\\\1", " ".join(value.split())))  # noqa: S704


def _mrkdwn(value: Any) -> Any:
    """Text of a value inside a message of Slack, which escapes three characters (docs.slack.dev)."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    escaped = value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return Markup(" ".join(escaped.split()))  # noqa: S704


class MessageTemplates:
    """The templates of a folder; a file that changes is read anew."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._by_form = {
            form: _environment(folder, finalize)
            for form, finalize in (("text", _plain), ("markdown", _markdown), ("slack", _mrkdwn))
        }
        self._to_html = MarkdownIt("commonmark", {"html": False}).enable("table")

    def render(self, channel: str, name: str, values: Mapping[str, Any]) -> Rendered:
        """A message of a channel (email, slack, in_app). Raises MessageTemplateError."""
        if channel == "slack":
            return Rendered(text=self._filled("slack", name, values).strip())
        headers, text = _parts(self._filled("text", name, values))
        self._check_headers(channel, name, headers)
        _, marked = _parts(self._filled("markdown", name, values))
        return Rendered(headers, text.strip() + "\n", self._to_html.render(marked))

    def problems(
        self, channel: str, name: str, known: Mapping[str, Any] | None, samples: Mapping[str, Any]
    ) -> list[str]:
        """What is wrong with a template, whatever the event: syntax, headers, names. `known`: the properties of the start by
        name, None where the plan lets others through; `samples`: what is filled in to try it.
        """
        try:
            tree = self._tree(name)
        except MessageTemplateError as error:
            return [str(error)]
        found = [
            f"templates/{name}: {each!r} is not known here; a template may name {', '.join(NAMES)}"
            for each in sorted(meta.find_undeclared_variables(tree) - set(NAMES))
        ]
        if known is not None:
            found += [
                f"templates/{name} line {line}: properties.{each} is not a property of the event that starts the rule; "
                f"known: {', '.join(known) or 'none'}"
                for line, each in _properties(tree)
                if each not in known
            ]
        if not found:
            try:
                self.render(channel, name, samples)
            except MessageTemplateError as error:
                found.append(str(error))
        return found

    def _tree(self, name: str) -> nodes.Template:
        environment = self._by_form["text"]
        try:
            source, _, _ = environment.loader.get_source(environment, name)  # type: ignore[union-attr]
            return environment.parse(source, name)
        except (TemplateError, OSError, UnicodeDecodeError) as error:
            raise MessageTemplateError(self._named(name, error)) from None

    def _filled(self, form: str, name: str, values: Mapping[str, Any]) -> str:
        try:
            return self._by_form[form].get_template(name).render(values)
        except Exception as error:  # noqa: BLE001 - a template may raise anything; it is a fault of the template
            raise MessageTemplateError(self._named(name, error)) from None

    def _named(self, name: str, error: Exception) -> str:
        if type(error).__name__ == "TemplateNotFound":
            return f"templates/{name}: there is no such file in {self.folder}"
        line = getattr(error, "lineno", None)
        return f"templates/{name}{f' line {line}' if line else ''}: {type(error).__name__}: {error}"

    def _check_headers(self, channel: str, name: str, headers: Mapping[str, str]) -> None:
        needed = HEADERS[channel]
        for each in needed:
            if not headers.get(each):
                raise MessageTemplateError(
                    f"templates/{name}: has no {each}; begin it with `{each}: ...` and a blank line"
                )
        for each in headers:
            if each not in (*needed, *_OPTIONAL.get(channel, ())):
                raise MessageTemplateError(f"templates/{name}: {each} is not a header of {channel}; known: {', '.join((*needed, *_OPTIONAL.get(channel, ())))}")  # fmt: skip
        if "Link" in headers and not _LINK.match(headers["Link"]):
            raise MessageTemplateError(f"templates/{name}: Link is neither http(s) nor a path of your product")


def _environment(folder: Path, finalize: Callable[[Any], Any]) -> ImmutableSandboxedEnvironment:
    return ImmutableSandboxedEnvironment(
        loader=FileSystemLoader(folder), undefined=StrictUndefined, autoescape=True, finalize=finalize, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip


def _parts(text: str) -> tuple[dict[str, str], str]:
    """The headers and the rest; a text without headers is all rest."""
    headers: dict[str, str] = {}
    lines = text.lstrip("\n").split("\n")
    for place, line in enumerate(lines):
        found = _HEADER.match(line)
        if found is None:
            return headers, "\n".join(lines[place:] if headers else lines)
        headers[found[1]] = " ".join(found[2].split())
    return headers, ""


def _properties(tree: nodes.Template) -> list[tuple[int, str]]:
    """Line and name of every `properties.NAME` and `properties["NAME"]`."""
    found = []
    for node in tree.find_all((nodes.Getattr, nodes.Getitem)):
        if isinstance(node.node, nodes.Name) and node.node.name == "properties":  # type: ignore[attr-defined]
            if isinstance(node, nodes.Getattr):
                found.append((node.lineno, node.attr))
            elif isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const):
                found.append((node.lineno, str(node.arg.value)))
    return found
