"""User agents: programs by their name, browsers of people, also those inside of apps, and what a request alone says."""

import re

import pytest

from gtm_dagster.channels.bots import PERSON, _found, bot_reason
from gtm_dagster.channels.public_lists import BOTS, rows_of

CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36"
)
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)"
PEOPLE = {
    "chrome": CHROME,
    "edge": f"{CHROME} Edg/131.0.0.0",
    "safari": "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.6 Safari/605.1.15",
    "firefox": "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0",
    "a phone called Cubot": "Mozilla/5.0 (Linux; Android 12; CUBOT X50) AppleWebKit/537.36 Chrome/110.0.0.0 Mobile Safari/537.36",
    "instagram": f"{IPHONE} Mobile/19B74 Instagram 211.0.0.17.110 (iPhone13,3; iOS 15_1; en_US)",
    "facebook": f"{IPHONE} Mobile/15E148 [FBAN/FBIOS;FBAV/467.1.0.41.103;FBBV/602060281]",
    "viber": f"{IPHONE} Mobile/15E148 Viber/21.0",
    "daum": f"{IPHONE} Mobile/15E148 DaumApps/3.4.1",
    "google app": f"{IPHONE} GSA/284.0.5 Mobile/15E148 Safari/604.1",
    "internet explorer": "Mozilla/5.0 (compatible; MSIE 10.0; Windows NT 6.2; Trident/6.0)",
    "an app": "MyApp/3.2 CFNetwork/1494.0.7 Darwin/23.4.0",
    "an app on Android": "Dalvik/2.1.0 (Linux; U; Android 14; Pixel 8 Build/UQ1A.240105.004)",
    "a build id that the list takes for a bot": "Mozilla/5.0 (Linux; Android 15; CPH2557 Build/AP3A.240617.008; wv) Chrome/142.0 Mobile Safari/537.36",
}  # fmt: skip
PROGRAMS = {
    "Googlebot": "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "bingbot": "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
    "GPTBot": "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)",
    "HeadlessChrome": CHROME.replace("Chrome/", "HeadlessChrome/"),
    "Chrome-Lighthouse": f"{CHROME} Chrome-Lighthouse",
    "curl": "curl/8.7.1",
    "python-requests": "python-requests/2.32.3",
    "okhttp": "okhttp/4.12.0",
    "WhatsApp": "WhatsApp/2.23.20.0 A",
}


@pytest.mark.parametrize("agent", PEOPLE.values(), ids=PEOPLE)
def test_people_are_no_bots(agent):
    assert bot_reason(agent) == PERSON


@pytest.mark.parametrize(("name", "agent"), PROGRAMS.items())
def test_a_program_is_called_by_its_name(name, agent):
    assert bot_reason(agent) == name


@pytest.mark.parametrize("agent", [None, "", "  ", 7, ["curl"], {}], ids=repr)
def test_no_agent_is_no_bot_and_no_person(agent):
    assert bot_reason(agent) is None


@pytest.mark.parametrize(
    ("agent", "reason"),
    [
        pytest.param("okhttp/4.12.0", PERSON, id="an app of people sends by a library"),
        pytest.param("axios/1.7.2", PERSON, id="another one"),
        pytest.param("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "Googlebot", id="a crawler"),
        pytest.param("GTmetrix okhttp/4.12", "GTmetrix", id="a monitor by a library"),
    ],
)  # fmt: skip
def test_the_agent_of_a_request_says_nothing_when_it_is_a_library(agent, reason):
    assert bot_reason(agent, of_request=True) == reason


@pytest.mark.parametrize(
    "agent",
    [
        pytest.param(f"{IPHONE} Mobile/15E148 [FBAN/FBIOS] facebookexternalhit/1.1", id="a preview that calls itself an app"),
        pytest.param(f"{IPHONE} Twitter for iPhone BrandVerity/1.0 (http://www.brandverity.com/why)", id="with an address"),
        pytest.param("WhatsApp/2.23 Instagram 1", id="not as browsers begin"),
    ],
)  # fmt: skip
def test_a_program_that_names_an_app_is_a_program(agent):
    assert bot_reason(agent)


def test_the_quick_look_up_finds_what_every_pattern_finds():
    shapes = [re.compile(pattern) for _, pattern, _ in rows_of(BOTS)]
    agents = [
        *PEOPLE.values(),
        *PROGRAMS.values(),
        *(f"x {name}/1.0 y" for name, _, _ in rows_of(BOTS)),
        "Y!J-ASR/0.1",
        "BW/1",
        "ds9",
        "",
    ]
    for agent in agents[::3] + agents[-4:]:
        found = {place for place, shape in enumerate(shapes) if shape.search(agent)}
        assert {bot.place for bot in _found(agent)} == found, agent


def test_most_names_of_the_list_find_themselves():
    names = [name for name, _, _ in rows_of(BOTS)]
    assert sum(bool(bot_reason(f"{name}/1.0")) for name in names) / len(names) > 0.97


def test_a_long_agent_is_looked_at_in_part():
    assert bot_reason("x" * 400 + " Googlebot/2.1") == "Googlebot"
    assert bot_reason("x" * 4000 + " Googlebot/2.1") == PERSON
