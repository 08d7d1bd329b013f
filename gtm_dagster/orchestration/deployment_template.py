"""The files of a fresh deployment, and what a later version of them changes in one that was written before."""

from __future__ import annotations

import difflib
import json
import re
from dataclasses import dataclass
from pathlib import Path

from gtm_dagster import __version__
from gtm_dagster.settings.deployment_folder import template_folder
from gtm_dagster.settings.stage_presets import PRESETS, Stage
from gtm_dagster.storage.atomic_write import write_whole

RECORD = ".gtm-template.json"
"""Of a deployment: the template's files as they were when they were written, with the version they are of."""
_FORMAT = 1
_COPIED = ("workspace.yaml", "dagster.yaml")
_IGNORED = ".gtm/\n.gtm-demo/\n__pycache__/\n"


class TemplateError(Exception):
    """A deployment that cannot be written or compared; the message says which file, and the way out."""


@dataclass(frozen=True)
class Change:
    """A file that the template has changed since it was written: its texts then (None: there was none), now (None: it is
    gone), and in the deployment (None: it was removed there)."""

    path: str
    before: str | None
    now: str | None
    own: str | None

    @property
    def is_own(self) -> bool:
        """Whether the deployment has changed the file as well, so that a person has to bring the two together."""
        return self.own not in (self.before, self.now)

    def diff(self) -> str:
        """What the template changed, as a unified diff."""
        before, now = ((text or "").splitlines(keepends=True) for text in (self.before, self.now))
        return "".join(difflib.unified_diff(list(before), list(now), f"{self.path} (before)", f"{self.path} (now)"))


def template(stage: Stage | None) -> dict[str, str]:
    """Path below the deployment's folder -> text, of this version."""
    folder = template_folder()
    files = {name: (folder / name).read_text() for name in _COPIED}
    for package in ("assets", "sensors"):
        files |= {f"{package}/{path.name}": path.read_text() for path in sorted((folder / package).glob("*.py"))}
    files["gtm.toml"] = _settings((folder / "gtm.toml").read_text(), stage)
    files["plan.yaml"] = (Path(__file__).parents[1] / "taxonomy" / "plan.yaml").read_text()
    files["README.md"] = (Path(__file__).parent / "deployment_readme.md").read_text()
    files[".gitignore"] = _IGNORED
    return files


def write_deployment(folder: Path, stage: Stage | None) -> list[str]:
    """Write a deployment into `folder`; the paths of its files. Raises TemplateError, and writes nothing, where one is there."""
    files = template(stage)
    there = [path for path in (*files, RECORD) if (folder / path).exists()]
    if there:
        more = f" and {len(there) - 1} more" if len(there) > 1 else ""
        raise TemplateError(
            f"{folder}: {there[0]}{more} is there already, and nothing was written; name another folder "
            "(what a newer version changed: `gtm init --diff`)"
        )
    written: list[Path] = []
    try:
        for path, text in files.items():
            _write(folder / path, text)
            written.append(folder / path)
        _record(folder, files, stage)
    except OSError as error:
        for each in written:
            each.unlink()
        raise TemplateError(f"{folder}: cannot be written ({error.strerror}); nothing is left of it") from error
    return list(files)


def changes(folder: Path) -> list[Change]:
    """What the template of this version changed since the deployment was written. Raises TemplateError without its record."""
    before, stage = _recorded(folder)
    now = template(stage)
    return [
        Change(path, before.get(path), now.get(path), _text(folder / path))
        for path in dict.fromkeys([*now, *before])
        if before.get(path) != now.get(path)
    ]


def upgrade(folder: Path) -> tuple[list[Change], list[Change]]:
    """Take over the template's changes; (taken, left): files that the deployment changed itself are left as they are.

    The record keeps what a left file was, so that its diff is shown until a person has brought the two together.
    """
    before, stage = _recorded(folder)
    found = changes(folder)
    left = [change for change in found if change.is_own]
    taken = [change for change in found if not change.is_own]
    for change in taken:
        if change.now is None:
            (folder / change.path).unlink(missing_ok=True)
        elif change.own != change.now:
            _write(folder / change.path, change.now)
    kept = {change.path: change.before for change in left}
    files = {path: text for path, text in {**before, **template(stage), **kept}.items() if text is not None}
    gone = {change.path for change in taken if change.now is None}
    _record(folder, {path: text for path, text in files.items() if path not in gone}, stage)
    return taken, left


def _settings(text: str, stage: Stage | None) -> str:
    """The commented gtm.toml with the deployment's own plan, and with its stage in place of the windows that stand there."""
    text = re.sub(r"^# (plan_file = .*)", r"\1", text, count=1, flags=re.M)
    if stage is None:
        return text
    text = re.sub(r'^# stage = "\w+" *', f'stage = "{stage}"'.ljust(34), text, count=1, flags=re.M)
    return re.sub(
        r"^windows = \[\n.*?^\]", lambda m: re.sub("^", "# ", m.group(), flags=re.M), text, count=1, flags=re.M | re.S
    )


def _record(folder: Path, files: dict[str, str], stage: Stage | None) -> None:
    document = {"format": _FORMAT, "version": __version__, "stage": stage, "files": files}
    _write(folder / RECORD, json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def _recorded(folder: Path) -> tuple[dict[str, str], Stage | None]:
    text = _text(folder / RECORD)
    if text is None:
        raise TemplateError(
            f"{folder}: no {RECORD}, so it is not known what was written; `gtm init DIR` writes a deployment"
        )
    try:
        document = json.loads(text)
        files, stage, format = document["files"], document["stage"], document["format"]
    except (ValueError, KeyError, TypeError):
        raise TemplateError(f"{folder / RECORD}: cannot be read; restore it from version control") from None
    if format > _FORMAT or stage not in (None, *PRESETS):
        raise TemplateError(f"{folder / RECORD}: was written by a newer version of gtm-dagster; install that one")
    return files, stage


def _text(path: Path) -> str | None:
    return path.read_text() if path.is_file() else None


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, text.encode(), durable=False)
