"""Nothing that came from outside steers a terminal, whichever way a command prints it."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from warehouse_cases import START, event, land, refresh, settings_for

from gtm_dagster.cli import run
from gtm_dagster.commands import output
from gtm_dagster.commands.output import Problem, note, note_whole, progress_bar, say, say_error, say_json, say_prose
from gtm_dagster.commands.table_output import Form, say_table
from gtm_dagster.commands.terminal_text import in_json, on_lines, on_one_line
from gtm_dagster.settings import load_settings
from gtm_dagster.warehouse.serving import query

STEERING = {
    "title of the window": ("\x1b]0;pwned\x07", r"\x1b]0;pwned\x07"),
    "colour": ("\x1b[31mred", r"\x1b[31mred"),
    "one byte of CSI": ("\x9b31mred", r"\x9b31mred"),
    "clipboard": ("\x1b]52;c;cm0gLXJm\x1b\\", r"\x1b]52;c;cm0gLXJm\x1b" + "\\"),
    "a line over the one before": ("ok\rbad", r"ok\rbad"),
    "backspace": ("abc\b\b\bxyz", r"abc\x08\x08\x08xyz"),
    "bell, NUL, DEL": ("\a\0\x7f", r"\x07\x00\x7f"),
    "vertical tab, form feed": ("\v\f", r"\x0b\x0c"),
    "next line": ("a\x85b", r"a\x85b"),
    "right to left": ("abc\u202ecod.exe", r"abc\u202ecod.exe"),
    "isolated": ("\u2066a\u2069", r"\u2066a\u2069"),
    "marks": ("\u200e\u200f\u061c", r"\u200e\u200f\u061c"),
    "line separator": ("a\u2028b\u2029", r"a\u2028b\u2029"),
    "byte order mark": ("\ufeffa", r"\ufeffa"),
    "tags": ("a\U000e0041", r"a\U000e0041"),
    "half a character": ("a\udcff", r"a\udcff"),
}
ORDINARY = ["", "plain", "é 日本 العربية עברית", "🦆 👩‍👩‍👧", "C:\\temp \\x1b", "a|b'\"<>&", "  two  blanks "]


@pytest.mark.parametrize(("text", "shown"), STEERING.values(), ids=STEERING.keys())
def test_what_steers_a_terminal_is_escaped(text, shown):
    assert on_one_line(text) == shown == on_lines(text)
    document = in_json(json.dumps([text], ensure_ascii=False))
    assert json.loads(document) == [text]
    assert not set(text) & set(document) & {*map(chr, range(32)), *map(chr, range(0x7F, 0xA0)), "\u202e", "\udcff"}


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_stays(text):
    assert on_one_line(text) == on_lines(text) == text


@pytest.mark.parametrize(
    ("terminal", "lines"),
    [
        pytest.param(True, ["  landed as", "    import-cb1cd8a74839f08b"], id="a terminal"),
        pytest.param(False, ["  landed as import-cb1cd8a74839f08b"], id="a pipe"),
    ],
)
def test_no_id_is_split_at_the_end_of_a_line(terminal, lines, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "30")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    say_prose("  landed as import-cb1cd8a74839f08b")
    assert capsys.readouterr().out.splitlines() == lines


@pytest.mark.parametrize(
    ("way", "text", "lines"),
    [
        (note, "ready", ["ready"]),
        (note, "nothing is built yet, so run:\n  gtm refresh", ["nothing is built yet, so run:", "  gtm refresh"]),
        (note, "the report is in /tmp/reports/2026-11-01/attribution.html now", ["the report is in", "  /tmp/reports/2026-11-01/attribution.html", "  now"]),
        (note, "not armed: `gtm guard rearm checkout-v2 --reason R`", ["not armed:", "  `gtm guard rearm checkout-v2 --reason R`"]),
        (note_whole, "<script async src=https://events.example.com/gtm.js>", ["<script async src=https://events.example.com/gtm.js>"]),
        (say_error, "no channel of this name: Paid Serch; did you mean Paid Search?", ["gtm: no channel of this name:", "  Paid Serch; did you mean", "  Paid Search?"]),
    ],
    ids=["short", "two lines", "a path", "a command", "a line to paste", "an error"],
)  # fmt: skip
def test_what_is_to_be_copied_from_stderr_stays_whole(way, text, lines, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "30")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    way(text)
    assert capsys.readouterr().err.splitlines() == lines


def test_lines_and_tabs_stay_in_a_text_of_several_lines():
    assert (on_lines("a\tb\nc"), on_one_line("a\tb\nc")) == ("a\tb\nc", r"a\tb\nc")


TEXT = "".join(text for text, _ in STEERING.values())


def _table(form: Form) -> Callable[[], None]:
    return lambda: say_table([TEXT, "n"], [(TEXT, 1)], form)


class AtOnce:
    """A Timer that does not wait."""

    def __init__(self, _: float, function: Callable[[], None]) -> None:
        self.start, self.daemon = function, True

    def cancel(self) -> None:
        """Too late."""

    def join(self) -> None:
        """It is over."""


def _bar() -> None:
    with progress_bar(f"{TEXT} [red]") as tell:
        if tell is not None:
            tell(TEXT)


WAYS = {
    "a line": lambda: say(TEXT),
    "a sentence": lambda: say_prose(TEXT),
    "a note": lambda: note(TEXT),
    "a line to copy": lambda: note_whole(TEXT),
    "an error": lambda: say_error(TEXT),
    "JSON": lambda: say_json({TEXT: [TEXT]}),
    **{f"a table as {form}": _table(form) for form in Form},
    "a progress bar": _bar,
}


@pytest.mark.parametrize("terminal", [False, True], ids=["pipe", "terminal"])
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
def test_no_way_of_printing_lets_it_through(way, terminal, capsys, monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(output, "Timer", AtOnce)
    if way is not _bar:
        monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
        monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    elif terminal:
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    way()
    printed = "".join(capsys.readouterr())
    for text, _ in STEERING.values():
        assert text not in printed
    assert not {"\x9b", "\x07", "\u202e", "\0", "\x7f", "\udcff"} & set(printed)
    assert "\x1b]" not in printed


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["query", "SELECT campaign FROM core.sessions"], r"\x1b]0;pwned\x07"),
        (["query", "--json", "SELECT campaign FROM core.sessions"], r"\u001b]0;pwned\u0007"),
        (["query", 'SELECT 1 AS "\x1b[31m"'], r"\x1b[31m"),
        (["query", "SELECT \x1b[31m"], "syntax error"),
        (["query", "SELECT * FROM core.\"\x1b[31m\""], r"\x1b[31m"),
        (["quarantine", "list"], r"\x1b[31m"),
        (["quarantine", "show", "\x1b[31m"], r"\x1b[31m"),
        (["quarantine", "show", "nobody\x1b[31m"], r"\x1b[31m"),
        (["imports", "list"], "import-1"),
        (["import", "\x1b[31m.csv"], r"\x1b[31m"),
        (["\x1b[31m"], r"\x1b[31m"),
        (["tables", "\x1b[31m"], r"\x1b[31m"),
        (["--config", "\x1b[31m.toml", "doctor"], r"\x1b[31m"),
    ],
    ids=str,
)  # fmt: skip
def test_commands_show_it_escaped(odd_events, arguments, shown, capsys, monkeypatch):
    monkeypatch.setenv("GTM_STATE_DIR", str(odd_events))
    monkeypatch.delenv("GTM_CONFIG", raising=False)
    monkeypatch.chdir(odd_events)
    run(arguments)
    printed = "".join(capsys.readouterr())
    assert "\x1b" not in printed and "\x07" not in printed
    assert shown in printed


@pytest.fixture(scope="module")
def odd_events(tmp_path_factory) -> Path:
    """A deployment with a campaign and a rejected event that try to steer."""
    settings = settings_for(tmp_path_factory.mktemp("odd"))
    errors = json.dumps([{"path": "\x1b[31m", "code": "unknown", "message": "\x1b[31m"}], ensure_ascii=False)
    rejected = {"verdict": "quarantined", "reason_codes": "unknown", "errors": errors, "raw": '"\x1b[31m"'}
    rows = [
        event("e1", START, anonymous_id="a1", campaign="\x1b]0;pwned\x07", source="x", medium="y"),
        {**event("\x1b[31m", START), **rejected},
    ]
    land(settings, rows, "import-1")
    refresh(settings)
    return settings.state_dir


@pytest.mark.parametrize(
    ("arguments", "ids"),
    [
        (["query", "SELECT * FROM core.sessions"], "SELECT session_key FROM core.sessions"),
        (["query", "SELECT * FROM core.sources"], "SELECT channel FROM core.sources"),
        (["quarantine", "list"], "SELECT reason_codes FROM staging.quarantine"),
        (["imports", "list"], "SELECT 'import-1'"),
        (["tables"], "SELECT 'marts.data_driven_attribution'"),
        (["tables", "core.sessions"], "SELECT 'session_start'"),
        (["keys", "list"], "SELECT 'gates_consent'"),
        (["sql"], "SELECT 'credits_by_channel'"),
    ],
    ids=str,
)
def test_at_80_columns_nothing_is_cut(odd_events, arguments, ids, capsys, monkeypatch):
    for name, value in {"GTM_STATE_DIR": str(odd_events), "COLUMNS": "80"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(odd_events)
    wanted = [str(row[0]) for row in query(load_settings(None, {"GTM_STATE_DIR": str(odd_events)}), ids)[1]]
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert run(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(any(each in line for line in lines) for each in wanted)
    as_records = any(line.startswith("─[") for line in lines)
    assert as_records or max(map(len, lines)) <= 80
    assert "…" not in "".join(lines)


def test_a_problem_is_escaped(capsys, monkeypatch):
    def fails(*_: object, **__: object) -> None:
        raise Problem("\x1b[31m", 1, ["\u202e"])

    monkeypatch.setattr(typer.Typer, "__call__", fails)
    assert run(["doctor"]) == 1
    assert capsys.readouterr().err == "gtm: \\x1b[31m\ngtm: \\u202e\n"


@pytest.mark.parametrize(
    ("name", "has_run", "is_demo"),
    [
        pytest.param(".gtm-demo", True, True, id="the demo's"),
        pytest.param("shop-demo", False, False, id="a directory of such a name"),
        pytest.param(".gtm", True, False, id="one's own, where an earlier version put its demo"),
    ],
)
@pytest.mark.parametrize("write", [say_prose, note, say_error])
def test_over_the_demo_a_sentence_names_commands_of_the_demo(  # type: ignore[no-untyped-def]
    tmp_path, monkeypatch, capsys, write, name, has_run, is_demo
) -> None:
    state = tmp_path / name
    (state / "demo").mkdir(parents=True)
    if has_run:
        (state / "demo" / "demo.json").touch()
    monkeypatch.setenv("GTM_STATE_DIR", str(state))
    write("nothing is built yet: `gtm refresh`")
    output = capsys.readouterr()
    assert ("`gtm refresh --demo`" in output.out + output.err) is is_demo
