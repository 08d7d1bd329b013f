"""Safe YAML that refuses a key declared twice; YAML itself keeps the last one and drops the other in silence."""

from __future__ import annotations

from typing import Any

import yaml

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
Path = tuple[str, ...]


class YamlError(ValueError):
    """Text that is not YAML, or declares keys twice; `problems` are (line from 1, what is wrong)."""

    def __init__(self, problems: list[tuple[int, str]]) -> None:
        super().__init__("\n".join(f"line {line}: {words}" for line, words in problems))
        self.problems = problems


class _UniqueKeyLoader(_LOADER):  # type: ignore[misc]
    """The safe loader with unique keys."""


def _mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    keys = [loader.construct_object(key) for key, _ in node.value]
    if len(set(keys)) < len(keys):
        raise YamlError(_twice(node))
    return loader.construct_mapping(node, deep=True)


_UniqueKeyLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def read_yaml(text: str) -> Any:
    """The document of `text`. Raises YamlError when it is not YAML or declares a key twice, naming every such key."""
    try:
        return yaml.load(text, Loader=_UniqueKeyLoader)  # noqa: S506  (a SafeLoader)
    except YamlError:
        raise YamlError(_twice(compose(text))) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        reason = getattr(error, "problem", None) or " ".join(str(error).split())
        line = min(mark.line + 1, max(len(text.splitlines()), 1)) if mark else 1
        raise YamlError([(line, f"not YAML ({reason})")]) from error
    except TypeError:  # a mapping or a list as a key
        raise YamlError([(1, "not YAML of a plan (a key is not a name)")]) from None
    except RecursionError:
        raise YamlError([(1, "nested too deeply")]) from None
    except ValueError as error:  # a date that there is not, a number of thousands of digits
        raise YamlError([(1, f"a value is none ({error})")]) from None


def compose(text: str) -> Any:
    """The nodes of `text`, which is YAML, with their lines and columns."""
    return yaml.compose(text, Loader=_LOADER)


def line_numbers(text: str) -> dict[Path, int]:
    """The line (from 1) of every key of the mappings in `text`, which is YAML, by its path."""
    found: dict[Path, int] = {}

    def visit(node: yaml.Node | None, path: Path) -> None:
        for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
            inner = (*path, str(key.value))
            found[inner] = key.start_mark.line + 1
            visit(value, inner)

    visit(compose(text), ())
    return found


def _twice(node: yaml.Node | None) -> list[tuple[int, str]]:
    """Every key that a mapping declares again."""
    found: list[tuple[int, str]] = []
    seen: set[str] = set()
    for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
        if key.value in seen:
            found.append((key.start_mark.line + 1, f"{key.value!r} is declared twice; keep one"))
        seen.add(key.value)
        found += _twice(value)
    return found
