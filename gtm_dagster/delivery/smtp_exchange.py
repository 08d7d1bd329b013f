"""One mail handed to a mail server: over TLS, to an address that was checked, until a deadline.

4xx is tried again. 5xx of the recipient or of the mail itself is the end; before that (login, sender) it is the server's
set-up, which somebody mends. A connection lost after the mail was sent, and before the server answered, is unknown.
"""

from __future__ import annotations

import contextlib
import smtplib
import socket
import threading
import time
from urllib.parse import unquote, urlsplit

from gtm_dagster.delivery.attempt import Attempt
from gtm_dagster.delivery.http_exchange import Route, tls_context
from gtm_dagster.delivery.target_address import AddressRefused, Target, checked_addresses

_PORTS = {"smtps": 465, "smtp": 587}


class _SetUp(Exception):
    """The server refuses before it knows of a recipient."""


def send_mail(url: str, sender: str, recipient: str, mail: bytes, route: Route) -> Attempt:
    """Hand `mail` over. `url`: smtps://USER:PASSWORD@HOST:PORT, or smtp://..., where STARTTLS is needed.

    No error of the attempt quotes what the server said: it may name the recipient.
    """
    began = time.monotonic()
    session = _Session(url, route, began + route.seconds)
    try:
        return session.hand_over(sender, recipient, mail)
    except AddressRefused as error:
        return Attempt("refused", error=str(error), seconds=time.monotonic() - began)
    except _SetUp as error:
        return Attempt("failed", session.code, str(error), time.monotonic() - began)
    except (OSError, smtplib.SMTPException) as error:
        seconds = time.monotonic() - began
        kind = "TimeoutError" if time.monotonic() >= began + route.seconds else type(error).__name__
        if session.mail_sent:
            return Attempt("unknown", session.code, f"no answer after the mail was sent ({kind})", seconds)
        return Attempt("failed", session.code, f"not reached ({kind})", seconds)
    finally:
        session.close()


class _Session:
    """A conversation with a mail server, which ends at the deadline whatever the server does."""

    def __init__(self, url: str, route: Route, until: float) -> None:
        self.code: int | None = None
        self.mail_sent = False
        self._url, self._route, self._until = url, route, until
        self._smtp: smtplib.SMTP | None = None
        self._timer = threading.Timer(max(until - time.monotonic(), 0.01), self._cut)
        self._timer.daemon = True
        self._timer.start()

    def hand_over(self, sender: str, recipient: str, mail: bytes) -> Attempt:
        began = time.monotonic()
        smtp = self._opened()
        self._expect(smtp.mail(sender), 250, "the sender")
        code, _ = smtp.rcpt(recipient)
        if code not in (250, 251):
            return self._refused(code, "the recipient", began)
        code, _ = smtp.docmd("DATA")
        if code != 354:
            return self._refused(code, "the mail", began)
        smtp.send(_dotted(mail))
        self.mail_sent = True
        code, _ = smtp.getreply()
        if code != 250:
            return self._refused(code, "the mail", began)
        with contextlib.suppress(OSError, smtplib.SMTPException):
            smtp.docmd("QUIT")
        return Attempt("delivered", code, seconds=time.monotonic() - began)

    def close(self) -> None:
        """Drop the connection."""
        self._timer.cancel()
        if self._smtp is not None:
            self._smtp.close()

    def _refused(self, code: int, what: str, began: float) -> Attempt:
        """The server's no: for good (5xx), or for now."""
        if code < 400:
            raise smtplib.SMTPServerDisconnected
        final = code >= 500
        return Attempt(
            "failed", code, f"{what} was refused with {code}", time.monotonic() - began, final=final, blamed=not final
        )

    def _opened(self) -> smtplib.SMTP:
        parts = urlsplit(self._url)
        if parts.scheme not in _PORTS or not parts.hostname:
            raise AddressRefused("the address is not one of a mail server; give smtps://HOST or smtp://HOST")
        secure = parts.scheme == "smtps"
        target = Target(secure, parts.hostname, parts.port or _PORTS[parts.scheme], "")
        addresses = checked_addresses(target, self._route.allow, self._until, self._route.resolver)
        left = max(self._until - time.monotonic(), 0.01)
        sock = socket.create_connection((str(addresses[0]), target.port), timeout=left)
        self._smtp = smtp = smtplib.SMTP(timeout=left)
        smtp.sock, smtp._host = sock, target.host  # type: ignore[attr-defined]
        if secure:
            smtp.sock = tls_context().wrap_socket(sock, server_hostname=target.host)
        self._expect(smtp.getreply(), 220, "the connection")
        smtp.ehlo_or_helo_if_needed()
        if not secure:
            if not smtp.has_extn("starttls"):
                raise _SetUp("the server offers no STARTTLS; give smtps://, or another server")
            smtp.starttls(context=tls_context())
            smtp.ehlo_or_helo_if_needed()
        if parts.username:
            try:
                smtp.login(unquote(parts.username), unquote(parts.password or ""))
            except smtplib.SMTPAuthenticationError as error:
                self.code = error.smtp_code
                raise _SetUp(f"user and password were refused with {error.smtp_code}") from None
        return smtp

    def _expect(self, answer: tuple[int, bytes], wanted: int, what: str) -> None:
        self.code = answer[0] if answer[0] > 0 else None
        if answer[0] != wanted:
            raise _SetUp(f"{what} was refused with {answer[0]}")

    def _cut(self) -> None:
        if self._smtp is not None and self._smtp.sock is not None:
            with contextlib.suppress(OSError):
                self._smtp.sock.shutdown(socket.SHUT_RDWR)


def _dotted(mail: bytes) -> bytes:
    """The mail as it follows DATA (RFC 5321, 4.5.2)."""
    lines = mail.replace(b"\r\n", b"\n").split(b"\n")
    if lines and not lines[-1]:
        lines.pop()
    return b"".join((b"." + line if line.startswith(b".") else line) + b"\r\n" for line in lines) + b".\r\n"
