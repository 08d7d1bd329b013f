"""The flag file: what is written into it, and that no crash, race or clock leaves clients with the new flow."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from lateness import Lateness

from gtm_dagster.rollout.providers import Conflict, FlagState, ProviderError, writer_for
from gtm_dagster.rollout.providers.base.flag_file import Document, FlagFile, Snapshot
from gtm_dagster.rollout.providers.flagd import Flagd, set_split
from gtm_dagster.settings import FlagProvider

FLAG = "checkout-v2"
UNITS = [f"u{n}" for n in range(2_000)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "flags.json"


def off(path: Path, expected: FlagState | None = None, flag: str = FLAG) -> None:
    Flagd(path).turn_off(flag, "production", comment="", expected=expected)


def state(path: Path, flag: str = FLAG) -> FlagState:
    return Flagd(path).read_back(flag, "production")


def served(path: Path, flag: str = FLAG) -> float:
    values = Flagd(path).evaluate(flag, "production", UNITS)
    return sum(values) / len(values)


def write(path: Path, rule: dict[str, Any], **more: Any) -> None:
    path.write_text(json.dumps({"flags": {FLAG: rule}, **more}))


BOTH = {"on": True, "off": False}


def test_a_split_is_created_changed_and_turned_off(path: Path) -> None:
    set_split(path, FLAG, 0.5, epoch=3)
    assert served(path) == pytest.approx(0.5, abs=0.04)
    before = state(path)
    assert (before.enabled, before.share) == (True, 0.5)
    off(path, before)
    assert served(path) == 0
    after = state(path)
    assert (after.enabled, after.share) == (False, None) and after.fingerprint != before.fingerprint
    rule = json.loads(path.read_text())["flags"][FLAG]
    assert rule == {"variants": BOTH, "state": "ENABLED", "defaultVariant": "off", "metadata": {"epoch": 3}}


def test_a_growing_share_keeps_every_treated_unit_treated(path: Path) -> None:
    treated: set[str] = set()
    for share in (0.0, 0.0125, 0.1, 0.5, 1.0):
        set_split(path, FLAG, share)
        now = {unit for unit, on in zip(UNITS, Flagd(path).evaluate(FLAG, "", UNITS), strict=True) if on}
        assert treated <= now
        assert len(now) / len(UNITS) == pytest.approx(share, abs=0.03)
        treated = now
    assert len(treated) == len(UNITS)


@pytest.mark.parametrize("share", [-0.1, 1.01, float("nan")])
def test_a_share_outside_0_to_1_is_refused(path: Path, share: float) -> None:
    with pytest.raises(ProviderError, match="is not a share"):
        set_split(path, FLAG, share)
    assert not path.exists()


def test_a_second_off_does_not_touch_the_file(path: Path) -> None:
    set_split(path, FLAG, 0.5)
    before = state(path)
    off(path, before)
    first = path.stat()
    off(path, before)
    off(path)
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == (first.st_mtime_ns, first.st_ino)


def test_other_flags_and_unknown_keys_stay(path: Path) -> None:
    other = {"state": "ENABLED", "variants": {"a": "x"}, "defaultVariant": "a", "targeting": {"if": [True, "a"]}}
    document = {
        "$schema": "s", "metadata": {"owner": "growth"}, "$evaluators": {"x": {"==": [1, 1]}}, "later": [1, {"ä": None}],
        "flags": {"other": other, FLAG: {"state": "ENABLED", "variants": BOTH, "defaultVariant": "on", "description": "d"}},
    }  # fmt: skip
    path.write_text(json.dumps(document))
    off(path)
    after = json.loads(path.read_text())
    assert after["flags"].pop(FLAG) == {
        "state": "ENABLED",
        "variants": BOTH,
        "defaultVariant": "off",
        "description": "d",
    }
    del document["flags"][FLAG]  # type: ignore[attr-defined]
    assert after == document


STATES: list[tuple[str, dict[str, Any], bool, float | None]] = [
    ("everybody", {"state": "ENABLED", "variants": BOTH, "defaultVariant": "on"}, True, 1.0),
    ("nobody", {"state": "ENABLED", "variants": BOTH, "defaultVariant": "off"}, False, None),
    ("disabled: the caller's default", {"state": "DISABLED", "variants": BOTH, "defaultVariant": "on"}, False, None),
    (
        "variants under other names",
        {"state": "ENABLED", "variants": {"new": True, "old": False}, "defaultVariant": "new"},
        True,
        1.0,
    ),
    (
        "a split by another key",
        {
            "state": "ENABLED",
            "variants": BOTH,
            "defaultVariant": "off",
            "targeting": {"fractional": [{"var": "email"}, ["on", 25], ["off", 75]]},
        },
        True,
        0.25,
    ),
    (
        "a split with equal weights left out",
        {
            "state": "ENABLED",
            "variants": BOTH,
            "defaultVariant": "off",
            "targeting": {"fractional": [["on"], ["off"]]},
        },
        True,
        0.5,
    ),
    (
        "a rule on attributes",
        {
            "state": "ENABLED",
            "variants": BOTH,
            "defaultVariant": "off",
            "targeting": {"if": [{"==": [{"var": "country"}, "DE"]}, "on", "off"]},
        },
        True,
        None,
    ),
    (
        "a split of nothing",
        {
            "state": "ENABLED",
            "variants": BOTH,
            "defaultVariant": "off",
            "targeting": {"fractional": [["on", 0], ["off", 1]]},
        },
        False,
        None,
    ),
    (
        "a split of nothing with the new flow as default",
        {
            "state": "ENABLED",
            "variants": BOTH,
            "defaultVariant": "on",
            "targeting": {"fractional": [["on", 0], ["off", 1]]},
        },
        True,
        0.0,
    ),
    (
        "variants named true and false",
        {"state": "ENABLED", "variants": {"true": True, "false": False}, "defaultVariant": True},
        True,
        1.0,
    ),
]


@pytest.mark.parametrize(("rule", "enabled", "share"), [row[1:] for row in STATES], ids=[row[0] for row in STATES])
def test_states_read_back_and_turned_off(path: Path, rule: dict[str, Any], enabled: bool, share: float | None) -> None:
    write(path, rule)
    assert (state(path).enabled, state(path).share) == (enabled, share)
    off(path)
    assert not state(path).enabled and served(path) == 0
    assert json.loads(path.read_text())["flags"][FLAG]["state"] == "ENABLED", "off is written, not left to the caller"


def test_the_fingerprint_follows_what_decides_and_nothing_else(path: Path) -> None:
    rule = {"state": "ENABLED", "variants": BOTH, "defaultVariant": "off", "targeting": {"$ref": "half"}}
    write(path, rule, **{"$evaluators": {"half": {"fractional": [["on", 1], ["off", 1]]}}})
    first = state(path).fingerprint
    write(path, {**rule, "description": "words"}, **{"$evaluators": {"half": {"fractional": [["on", 1], ["off", 1]]}}})
    assert state(path).fingerprint == first
    write(path, rule, **{"$evaluators": {"half": {"fractional": [["on", 9], ["off", 1]]}}})
    assert state(path).fingerprint != first
    assert served(path) == pytest.approx(0.9, abs=0.03)


BROKEN: list[tuple[str, bytes | None, str]] = [
    ("absent", None, "there is none; clients keep what they loaded last"),
    ("empty", b"", "torn or invalid"),
    ("torn", b'{"flags": {"checkout-v2": {"state"', "torn or invalid"),
    ("not text", b"\xff\xfe\x00", "torn or invalid"),
    ("a list", b"[]", "list at the top"),
    ("no flags", b"{}", "no flag 'checkout-v2' (there are: none)"),
    ("another flag", b'{"flags": {"chekout": {}}}', "there are: chekout"),
    ("no variant for off", b'{"flags": {"checkout-v2": {"variants": {"on": true}}}}', "no variant has the value false"),
]


@pytest.mark.parametrize(("content", "words"), [row[1:] for row in BROKEN], ids=[row[0] for row in BROKEN])
def test_a_file_that_cannot_be_turned_off_is_reported_and_kept(path: Path, content: bytes | None, words: str) -> None:
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ProviderError) as caught:
        off(path)
    assert words in str(caught.value) and str(path) in str(caught.value) and not caught.value.retry
    (problem,) = Flagd(path).preflight(FLAG, "production")
    assert words in problem
    assert (path.read_bytes() if path.exists() else None) == content


@pytest.mark.parametrize(
    "rule",
    [
        {"state": "ON", "variants": BOTH, "defaultVariant": "off"},
        {"state": "ENABLED", "variants": BOTH, "defaultVariant": "off", "surprise": 1},
        {"state": "ENABLED", "variants": BOTH, "defaultVariant": "off", "targeting": {"if": [True, "maybe"]}},
        {"state": "ENABLED", "variants": BOTH, "defaultVariant": "off", "targeting": {"nonsense": [1]}},
        {"state": "ENABLED", "variants": BOTH, "defaultVariant": "gone"},
    ],
    ids=["unknown state", "unknown key", "unknown variant", "unknown operator", "default is no variant"],
)
def test_a_rule_that_clients_cannot_evaluate_is_reported(path: Path, rule: dict[str, Any]) -> None:
    write(path, rule)
    with pytest.raises(ProviderError, match="clients cannot evaluate it"):
        Flagd(path).evaluate(FLAG, "production", ["u1"])
    (problem,) = Flagd(path).preflight(FLAG, "production")
    assert "clients cannot evaluate it" in problem


def test_preflight_of_a_good_file_finds_nothing_and_writes_nothing(path: Path) -> None:
    set_split(path, FLAG, 0.5)
    before = path.stat()
    assert Flagd(path).preflight(FLAG, "production") == []
    assert path.stat().st_mtime_ns == before.st_mtime_ns


def test_the_embedded_provider_is_built_from_its_declaration(path: Path) -> None:
    set_split(path, FLAG, 1.0)
    writer = writer_for(FlagProvider("flagd", "flagd", file=path), {})
    assert writer.kind == "flagd" and writer.read_back(FLAG, "production").share == 1.0


def test_a_change_since_expected_is_a_conflict(path: Path) -> None:
    set_split(path, FLAG, 0.1)
    seen = state(path)
    set_split(path, FLAG, 0.5)
    with pytest.raises(Conflict, match="somebody changed the flag"):
        off(path, seen)
    assert state(path).share == 0.5


def test_an_edit_by_hand_in_the_middle_is_kept(path: Path) -> None:
    set_split(path, FLAG, 0.5)
    edits = ["b", "a"]

    def change(snapshot: Snapshot) -> Document:
        if edits:  # an editor that knows no lock saves between our reading and our renaming
            document = json.loads(path.read_text())
            document["flags"][edits.pop()] = {}
            path.write_text(json.dumps(document))
        snapshot.document["flags"]["ours"] = {}
        return snapshot.document

    assert FlagFile(path).rewrite(change)
    assert set(json.loads(path.read_text())["flags"]) == {FLAG, "a", "b", "ours"}


def test_a_file_that_never_rests_is_a_conflict_to_try_again(path: Path) -> None:
    set_split(path, FLAG, 0.5)

    def change(snapshot: Snapshot) -> Document:
        path.write_text(path.read_text() + " ")
        return snapshot.document

    with pytest.raises(Conflict, match="changed 5 times") as caught:
        FlagFile(path).rewrite(change)
    assert caught.value.retry
    assert not list(path.parent.glob(".flags.json.*.part"))


def test_a_taken_lock_is_an_error_after_two_seconds(path: Path) -> None:
    set_split(path, FLAG, 0.5)
    with FlagFile(path)._locked():
        began = time.monotonic()
        with Lateness() as late, pytest.raises(ProviderError, match="another process has been writing it") as caught:
            off(path)
    assert caught.value.retry and 1.9 < time.monotonic() - began < 3 + late.lost


def test_the_mtime_is_newer_than_any_before(path: Path) -> None:
    set_split(path, FLAG, 0.5)
    ahead = time.time_ns() + 3_600 * 10**9  # a machine whose clock was an hour ahead
    os.utime(path, ns=(ahead, ahead))
    off(path)
    assert path.stat().st_mtime_ns > ahead
    assert path.stat().st_mtime_ns < ahead + 10**9, "an edit by hand a second later must be newer still"


def test_an_off_file_with_an_older_mtime_is_off_on_disk_only(path: Path) -> None:
    set_split(path, FLAG, 0.5)
    off(path)
    copy = path.read_bytes()
    set_split(path, FLAG, 0.5)
    loaded = path.stat().st_mtime_ns
    path.write_bytes(copy)  # restored with its old time, as `cp -p` does
    os.utime(path, ns=(loaded - 10**9, loaded - 10**9))
    (problem,) = Flagd(path).preflight(FLAG, "production")
    assert "older than the one written last" in problem
    off(path)
    assert path.stat().st_mtime_ns > loaded
    assert Flagd(path).preflight(FLAG, "production") == []


def test_mode_and_link_of_the_file_stay(tmp_path: Path) -> None:
    real = tmp_path / "mounted" / "flags.json"
    real.parent.mkdir()
    link = tmp_path / "flags.json"
    set_split(real, FLAG, 0.5)
    real.chmod(0o640)
    link.symlink_to(real)
    off(link)
    assert link.is_symlink() and real.stat().st_mode & 0o777 == 0o640 and not state(real).enabled


def test_yaml_keeps_variations_named_on_and_off(tmp_path: Path) -> None:
    path = tmp_path / "flags.yaml"
    text = "checkout-v2:\n  variations: {on: true, off: false}\n  defaultRule: {variation: on}  # everybody\n"
    path.write_text(text)
    snapshot = FlagFile(path).read()
    rule = {"variations": BOTH, "defaultRule": {"variation": "on"}}
    assert snapshot.document == {FLAG: rule}
    assert FlagFile(path).rewrite(lambda before: {**before.document, "other": {"disable": True}})
    assert FlagFile(path).read().document == {FLAG: rule, "other": {"disable": True}}


def test_no_folder_to_write_into_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ProviderError, match="no lock file can be created"):
        set_split(tmp_path / "file" / "flags.json", FLAG, 0.5)


WRITER = """
import sys
from pathlib import Path
from gtm_dagster.rollout.providers.base.writer import ProviderError
from gtm_dagster.rollout.providers.flagd import set_split
path, flag = Path(sys.argv[1]), sys.argv[2]
print("ready", flush=True)
sys.stdin.readline()
for epoch in range(1, int(sys.argv[3]) + 1):
    while True:
        try:
            set_split(path, flag, 0.5, epoch=epoch)
            break
        except ProviderError as error:  # the other one took the lock again and again, for two seconds
            if not error.retry: raise
"""


def start(source: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", source, *map(str, arguments)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3],
    )  # fmt: skip


def test_two_processes_lose_nothing_of_each_other(path: Path) -> None:
    writers = [start(WRITER, path, flag, 100) for flag in ("a", "b")]
    for writer in writers:
        assert writer.stdout and writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin
        writer.stdin.write("go\n")
        writer.stdin.flush()
    seen = 0
    while any(writer.poll() is None for writer in writers):
        if path.exists():
            json.loads(path.read_bytes())  # never torn
            seen += 1
    for writer in writers:
        writer.communicate()
        assert writer.returncode == 0
    flags = json.loads(path.read_text())["flags"]
    assert {name: rule["metadata"]["epoch"] for name, rule in flags.items()} == {"a": 100, "b": 100}
    assert seen > 0


DYING = """
import os, signal, sys
from pathlib import Path
from gtm_dagster.rollout.providers.base import flag_file
from gtm_dagster.rollout.providers.flagd import Flagd
path, moment = Path(sys.argv[1]), sys.argv[2]
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
if moment == "half written":
    def half(descriptor, before_ns):
        os.ftruncate(descriptor, 20)
        die()
    flag_file._make_newer = half
elif moment == "before the rename":
    Path.replace = die
else:
    replace = Path.replace
    Path.replace = lambda self, target: (replace(self, target), die())
Flagd(path).turn_off("checkout-v2", "production", comment="", expected=None)
"""


@pytest.mark.parametrize(
    ("moment", "enabled"), [("half written", True), ("before the rename", True), ("after the rename", False)]
)
def test_kill_9_leaves_the_old_file_or_the_new_one(path: Path, moment: str, enabled: bool) -> None:
    set_split(path, FLAG, 0.5)
    dying = start(DYING, path, moment)
    dying.communicate()
    assert dying.returncode == -signal.SIGKILL
    assert state(path).enabled is enabled
    off(path)
    assert not state(path).enabled
    assert sorted(one.name for one in path.parent.iterdir()) == [".flags.json.lock", "flags.json"]
