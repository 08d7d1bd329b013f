"""What pages say in words: names from right to left, a model that waits, and over the demo its own commands."""

from __future__ import annotations

import html
import re
from pathlib import Path

import pytest
from asgi_client import AsgiClient
from dashboard_cases import dashboard, publish, settings_in, small

from gtm_dagster.dashboard.screen import screens
from gtm_dagster.reports.names_in_text import isolated
from gtm_dagster.settings.demo_folder import MEMORY


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("brand", "brand"),
        ("été ✨", "été ✨"),
        ("מבצע", "\u2068מבצע\u2069"),
        ("عرض 5", "\u2068عرض 5\u2069"),
        ("a\u202egpj", "a\\u202egpj"),
        ("\u2069מ", "\u2068\\u2069מ\u2069"),
        ("a\tb\0", "a\\tb\\x00"),
    ],
    ids=[
        "plain",
        "letters with marks",
        "Hebrew",
        "Arabic",
        "an override",
        "the end of an isolate",
        "control characters",
    ],
)
def test_a_name_turns_no_word_around_it(name: str, shown: str) -> None:
    assert isolated(name) == shown


def test_a_message_isolates_the_names_in_it(tmp_path: Path) -> None:
    cells = small(
        names={
            "Referral": ("חדשות", "referral", "מבצע"),
            "Email": ("a\u202eb", "email", None),
            "Direct": ("x", "y", None),
        }
    )
    settings = settings_in(tmp_path)
    publish(settings.serving_path, cells)
    with dashboard(settings) as client:
        for address, words in (
            (
                "/?source=שלום",
                "source: \u2068'שלום'\u2069 is not there; there are (not set), a\\u202eb, x, \u2068חדשות\u2069",
            ),
            ("/data?table=שלום", "there is no table \u2068שלום\u2069; there"),
            ("/rollouts/שלום", "no guard \u2068שלום\u2069 is declared; there is none"),
        ):
            assert words in html.unescape(client.get(address).text), address


def test_a_model_that_waits_for_history_says_so_to_a_saved_link(client: AsgiClient) -> None:
    answer = client.get("/attribution?model=time_decay")
    assert answer.status_code == 400
    assert (
        "time_decay, 7 days is not computed: 12 of 30 full days of history; there are last_touch, linear" in answer.text
    )


@pytest.mark.parametrize("is_there", [True, False], ids=["published", "nothing yet"])
def test_over_the_demo_every_command_is_one_of_the_demo(tmp_path: Path, is_there: bool) -> None:
    (tmp_path / ".gtm-demo" / "demo").mkdir(parents=True)
    (tmp_path / ".gtm-demo" / MEMORY).touch()
    settings = settings_in(tmp_path / ".gtm-demo")
    if is_there:
        publish(settings.serving_path, small())
    with dashboard(settings) as client:
        pages = {screen.path: client.get(screen.path).text for screen in screens() if not screen.has_path_values}
        plain = client.get("/chart/funnel_stages.csv").text if not is_there else "gtm refresh --demo"
    assert "gtm refresh --demo" in plain
    commands = {html.unescape(line) for text in pages.values() for line in re.findall(r"<code>(gtm .*?)</code>", text)}
    assert "gtm query --demo" in commands or not is_there
    assert {line for line in commands if "--demo" not in line} <= {"gtm demo"}


def test_a_deployment_whose_directory_has_a_name_like_the_demos_has_commands_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "shop-demo").mkdir()
    with dashboard(settings_in(tmp_path / "shop-demo")) as client:
        text = client.get("/").text
    assert "<code>gtm refresh</code>" in text and "refresh --demo" not in text
