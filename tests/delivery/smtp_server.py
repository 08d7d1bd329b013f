"""A mail server on loopback, as small as a real conversation allows: EHLO, STARTTLS, AUTH, MAIL, RCPT, DATA."""

from __future__ import annotations

import base64
import email
import socketserver
import ssl
import threading
from email.message import EmailMessage
from email.policy import default
from typing import Any


class MailServer:
    """`answers`: what a verb is answered in place of its success, such as {"RCPT": b"550 no such user"}; b"" drops the connection.

    After the mail itself the verb is `.`.
    """

    def __init__(self, context: ssl.SSLContext, *, implicit: bool = True, starttls: bool = True) -> None:
        self.answers: dict[str, bytes] = {}
        self.mails: list[tuple[str, str, EmailMessage]] = []
        self.logins: list[str] = []
        self.conversations = 0
        server = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                server.conversations += 1
                try:
                    if implicit:
                        self._secure()
                    self._converse()
                except OSError:
                    return

            def _secure(self) -> None:
                self.request = context.wrap_socket(self.request, server_side=True)
                self.rfile, self.wfile = self.request.makefile("rb"), self.request.makefile("wb", 0)

            def _say(self, verb: str, success: bytes) -> bool:
                answer = server.answers.get(verb, success)
                if answer:
                    self.wfile.write(answer + b"\r\n")
                return bool(answer)

            def _converse(self) -> None:
                sender = recipient = ""
                if not self._say("connect", b"220 mail.example"):
                    return
                while line := self.rfile.readline():
                    verb, _, rest = line.decode().strip().partition(" ")
                    verb = verb.upper()
                    if verb == "EHLO":
                        offers = [b"mail.example", b"AUTH PLAIN", *([b"STARTTLS"] if starttls and not implicit else [])]
                        heads = [b"250-"] * (len(offers) - 1) + [b"250 "]
                        self.wfile.write(
                            b"".join(head + offer + b"\r\n" for head, offer in zip(heads, offers, strict=True))
                        )
                    elif verb == "STARTTLS":
                        self.wfile.write(b"220 go\r\n")
                        self._secure()
                    elif verb == "AUTH":
                        server.logins.append(base64.b64decode(rest.split()[1]).replace(b"\0", b":").decode())
                        self._say(verb, b"235 ok")
                    elif verb == "MAIL":
                        sender = rest.partition("<")[2].partition(">")[0]
                        self._say(verb, b"250 ok")
                    elif verb == "RCPT":
                        recipient = rest.partition("<")[2].partition(">")[0]
                        self._say(verb, b"250 ok")
                    elif verb == "DATA":
                        if not self._say(verb, b"354 go"):
                            return
                        lines = []
                        while (part := self.rfile.readline()) != b".\r\n":
                            if not part:  # the client left in the middle of its mail
                                return
                            lines.append(part[1:] if part.startswith(b"..") else part)
                        mail = email.message_from_bytes(b"".join(lines), policy=default)
                        server.mails.append((sender, recipient, mail))
                        if not self._say(".", b"250 queued"):
                            return
                    elif verb == "QUIT":
                        self.wfile.write(b"221 bye\r\n")
                        return

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address, daemon_threads = True, True

            def handle_error(self, *_: Any) -> None: ...

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"{'smtps' if implicit else 'smtp'}://user:w%40rd@mail.example:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    def __enter__(self) -> MailServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
