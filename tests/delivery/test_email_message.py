"""E-mail: the address comes from the product and is kept nowhere; 4xx is tried again, 5xx is the end, lost answers are unknown."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from hostile_servers import Receiver, answering, in_turn, own_certificate
from message_cases import LOOPBACK, SECOND, SECRET, START, Bench, bench, message, put, rows, statuses
from smtp_server import MailServer

from gtm_dagster.delivery import http_exchange
from gtm_dagster.delivery.signatures import signature, signing_keys
from gtm_dagster.settings.destinations import Destination

ADDRESS = "ann.secret@customer.example"


@dataclass
class Post:
    """A product that knows addresses, a mail server, and a worker between them."""

    work: Bench
    mail: MailServer
    product: Receiver
    path: Path


@contextmanager
def post(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, implicit: bool = True, starttls: bool = True, contact=None, **given) -> Iterator[Post]:  # fmt: skip
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "mail.j2").write_text(
        "Subject: Ünder way\n\n.Hello, **go on** with {{ properties.plan }}.\n"
    )
    with own_certificate(tmp_path, "mail.example") as (context, certificate):
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
        http_exchange.tls_context.cache_clear()
        with MailServer(context, implicit=implicit, starttls=starttls) as mail:
            with Receiver(contact or answering(200, json.dumps({"email": ADDRESS}).encode())) as product:
                declared = Destination(
                    name="mail", kind="email", url_env="SMTP", secret_env="SECRET", allow=LOOPBACK, timeout_seconds=3.0,
                    sender="Acme <hello@acme.example>", contact_url=f"{product.url}?tenant=1", **given,
                )  # fmt: skip
                path = tmp_path / "triggers.db"
                put(path, message("a1", channel="email", target="mail.j2", purpose="marketing"))
                environ = {"SECRET": SECRET, "SMTP": mail.url}
                with bench(path, [declared], environ=environ, resolver=lambda host, port: ["127.0.0.1"]) as work:
                    yield Post(work, mail, product, path)
    http_exchange.tls_context.cache_clear()


@pytest.mark.parametrize("implicit", [True, False], ids=["smtps", "STARTTLS"])
def test_a_mail_goes_to_the_address_the_product_says_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, implicit: bool
) -> None:
    with post(tmp_path, monkeypatch, implicit=implicit) as there:
        there.work.round()
        ((sender, recipient, mail),) = there.mail.mails
        assert (sender, recipient, there.mail.logins) == ("hello@acme.example", ADDRESS, [":user:w@rd"])
        assert mail["Message-ID"] == "<a1@acme.example>" and mail["Subject"] == "Ünder way"
        assert (mail["From"], mail["To"]) == ("Acme <hello@acme.example>", ADDRESS)
        plain, html = (part.get_content() for part in mail.iter_parts())
        assert plain == ".Hello, **go on** with pro.\r\n" and "<strong>go on</strong>" in html
        (place, headers, _) = there.product.requests[0]
        query = urlsplit(place).query
        assert parse_qs(query) == {"tenant": ["1"], "person": ["p1"]}
        stamp = int(headers["webhook-timestamp"])
        assert headers["webhook-signature"] == signature(signing_keys(SECRET), "a1", stamp, query.encode())
    assert statuses(there.path)["a1"] == ("delivered", 1, None)
    for file in tmp_path.glob("triggers.db*"):
        assert ADDRESS.encode() not in file.read_bytes(), "an address is asked for and forgotten"


@pytest.mark.parametrize(
    ("verb", "answer", "expected"),
    [
        ("RCPT", b"550 no such user ann.secret@customer.example", ("dead", 1, "the recipient was refused with 550")),
        ("RCPT", b"450 greylisted", ("due", 1, "the recipient was refused with 450")),
        (".", b"554 spam", ("dead", 1, "the mail was refused with 554")),
        (".", b"451 later", ("due", 1, "the mail was refused with 451")),
        ("DATA", b"452 full", ("due", 1, "the mail was refused with 452")),
        ("AUTH", b"535 wrong", ("due", 1, "user and password were refused with 535")),
        ("MAIL", b"550 not you", ("due", 1, "the sender was refused with 550")),
        ("connect", b"421 busy", ("due", 1, "the connection was refused with 421")),
        ("connect", b"", ("due", 1, "not reached (SMTPServerDisconnected)")),
        (".", b"", ("dead", 1, "no answer after the mail was sent (SMTPServerDisconnected)")),
    ],
)  # fmt: skip
def test_what_a_mail_server_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str, answer: bytes, expected
) -> None:
    with post(tmp_path, monkeypatch) as there:
        there.mail.answers[verb] = answer
        there.work.round()
    assert statuses(there.path)["a1"] == expected
    assert "secret" not in str(rows(there.path, "SELECT error FROM attempts"))


def test_a_mail_whose_answer_was_lost_is_sent_again_where_that_is_wanted_under_its_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with post(tmp_path, monkeypatch, repeat="at_least_once") as there:
        there.mail.answers["."] = b""
        there.work.round()
        assert rows(there.path, "SELECT outcome FROM attempts") == [("unknown",)]
        there.mail.answers.clear()
        there.work.run_to(START + 60 * SECOND)
        assert [mail["Message-ID"] for _, _, mail in there.mail.mails] == ["<a1@acme.example>"] * 2


def test_a_server_without_tls_gets_neither_password_nor_mail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with post(tmp_path, monkeypatch, implicit=False, starttls=False) as there:
        there.work.round()
        assert there.mail.logins == there.mail.mails == []
    assert statuses(there.path)["a1"][2] == "the server offers no STARTTLS; give smtps://, or another server"


def test_a_wrong_certificate_gets_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with post(tmp_path, monkeypatch) as there:
        monkeypatch.delenv("REQUESTS_CA_BUNDLE")
        http_exchange.tls_context.cache_clear()
        there.work.round()
        assert there.mail.logins == there.mail.mails == []
    assert statuses(there.path)["a1"] == ("due", 1, "not reached (SSLCertVerificationError)")


def test_a_server_that_hangs_is_left_at_the_deadline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stop = threading.Event()
    with post(tmp_path, monkeypatch) as there:
        original = there.mail.answers

        class Hanging(dict):
            def get(self, verb, success):
                if verb == "RCPT":
                    stop.wait(20)
                return success

        there.mail.answers = Hanging(original)
        there.work.round()
        stop.set()
    assert statuses(there.path)["a1"] == ("due", 1, "not reached (TimeoutError)")


@pytest.mark.parametrize(
    ("contact", "expected"),
    [
        (answering(404), ("suppressed", 1, "no_address")),
        (answering(200, b'{"email": null}'), ("suppressed", 1, "no_address")),
        (answering(200, b'{"email": "ann@x.example, bob@x.example"}'), ("dead", 1, "contact_url answered with no e-mail address")),
        (answering(200, b'{"email": "a@x.example\\r\\nBcc: b@x.example"}'), ("dead", 1, "contact_url answered with no e-mail address")),
        (answering(200, b"hello"), ("due", 1, 'contact_url answered something else than {"email": ...}')),
        (answering(500), ("due", 1, "contact_url answered 500")),
        (answering(401), ("due", 1, "contact_url answered 401")),
        (answering(410), ("due", 1, "contact_url answered 410")),
    ],
)  # fmt: skip
def test_what_the_product_says_of_an_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, contact, expected
) -> None:
    with post(tmp_path, monkeypatch, contact=contact) as there:
        there.work.round()
        assert there.mail.mails == [] and there.work.alerts == []
    assert statuses(there.path)["a1"] == expected


def test_the_address_is_asked_for_at_each_attempt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new = answering(200, b'{"email": "new@customer.example"}')
    with post(
        tmp_path, monkeypatch, contact=in_turn(answering(200, b'{"email": "old@customer.example"}'), new)
    ) as there:
        there.mail.answers["RCPT"] = b"450 later"
        there.work.round()
        there.mail.answers.clear()
        there.work.run_to(START + 60 * SECOND)
        assert [recipient for _, recipient, _ in there.mail.mails] == ["new@customer.example"]
