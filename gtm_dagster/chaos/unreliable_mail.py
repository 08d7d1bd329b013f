"""A mail server over TLS that refuses for now, hangs and drops connections at the first attempt of some mails, and notes each."""

from __future__ import annotations

import email
import ipaddress
import random
import socketserver
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from gtm_dagster.chaos.unreliable_receiver import BEHAVIOURS, HANG_SECONDS, WEIGHTS

_REPLIES = {"EHLO": b"250 drill", "MAIL": b"250 ok", "RCPT": b"250 ok", "DATA": b"354 go", "QUIT": b"221 bye"}


@dataclass(frozen=True)
class Mail:
    """A mail that the server took whole. `accepted`: it is in somebody's mailbox, whatever became of the answer."""

    action_id: str
    behaviour: str
    accepted: bool


class UnreliableMailServer:
    """`with UnreliableMailServer(folder, attempts, seed) as server:` listens on loopback, with the certificate
    `server.certificate` of its own. `attempts` as UnreliableReceiver has it.
    """

    def __init__(self, folder: Path, attempts: Callable[[str], int], seed: int) -> None:
        self.mails: list[Mail] = []
        self.certificate = folder / "mail.pem"
        context = _context(self.certificate)
        rng = random.Random(seed)  # noqa: S311 - misbehaviour, not a secret
        server = self

        class Handler(socketserver.StreamRequestHandler):
            timeout = 30.0

            def handle(self) -> None:
                try:
                    self.request = context.wrap_socket(self.request, server_side=True)
                    self.rfile, self.wfile = self.request.makefile("rb"), self.request.makefile("wb", 0)
                    self.wfile.write(b"220 drill\r\n")
                    self._converse()
                except OSError:  # a sender that was killed says no goodbye
                    return

            def _converse(self) -> None:
                while line := self.rfile.readline():
                    verb = line.split()[0].upper().decode()
                    self.wfile.write(_REPLIES.get(verb, b"502 no") + b"\r\n")
                    if verb == "DATA" and not self._take():
                        return

            def _take(self) -> bool:
                lines = []
                while (line := self.rfile.readline()) != b".\r\n":
                    if not line:
                        return False
                    lines.append(line)
                action_id = str(email.message_from_bytes(b"".join(lines))["Message-ID"]).strip("<>").partition("@")[0]
                behaviour = rng.choices(BEHAVIOURS, WEIGHTS)[0] if attempts(action_id) == 1 else "answers"
                server.mails.append(Mail(action_id, behaviour, behaviour != "fails"))
                if behaviour == "hangs":
                    time.sleep(HANG_SECONDS)
                if behaviour in ("hangs", "drops"):
                    return False
                self.wfile.write(b"451 later\r\n" if behaviour == "fails" else b"250 queued\r\n")
                return True

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address, daemon_threads, request_queue_size = True, True, 128

            def handle_error(self, *_: Any) -> None:
                """A sender that was killed takes no answer."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"smtps://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> UnreliableMailServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _context(path: Path) -> ssl.SSLContext:
    """A server's context with a certificate of a day for 127.0.0.1, in a file with its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).add_extension(address, critical=False)
    signed = (
        builder.not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.touch(0o600)
    path.write_bytes(secret + signed.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context
