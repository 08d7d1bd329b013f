"""A trigger message as an e-mail: the template as plain text and as HTML, its Message-ID made from the action's id."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP as POLICY
from email.utils import format_datetime, parseaddr

from gtm_dagster.delivery.attempt import Attempt, Leased, not_rendered
from gtm_dagster.delivery.contact_lookup import ContactLookup
from gtm_dagster.delivery.http_exchange import Route
from gtm_dagster.delivery.message_templates import MessageTemplateError, MessageTemplates, Rendered
from gtm_dagster.delivery.smtp_exchange import send_mail
from gtm_dagster.settings.destinations import Destination


@dataclass(frozen=True)
class EmailSender:
    """A mail server; addresses come from the product, one look-up an attempt."""

    destination: Destination
    url: str
    keys: tuple[bytes, ...]
    route: Route
    templates: MessageTemplates

    def send(self, messages: Sequence[Leased], at_us: int) -> Attempt:
        """Look the address up, and hand one mail over."""
        (message,) = messages
        try:
            content = self.templates.render("email", message.target.partition("@")[0], message.named())
        except MessageTemplateError as error:
            return not_rendered(str(error))
        contact = ContactLookup(self.destination.contact_url or "", self.keys, self.route)
        address = contact.address(message, at_us)
        if isinstance(address, Attempt):
            return address
        sender = self.destination.sender or ""
        mail = email_of(message, content, sender, address, at_us)
        return send_mail(self.url, parseaddr(sender)[1], address, mail.as_bytes(policy=POLICY), self.route)


def email_of(message: Leased, content: Rendered, sender: str, address: str, at_us: int) -> EmailMessage:
    """The mail of a message: the same Message-ID at every attempt, so that a mailbox can drop a copy."""
    mail = EmailMessage(policy=POLICY)
    mail["From"] = sender
    mail["To"] = address
    mail["Subject"] = content.headers["Subject"]
    mail["Date"] = format_datetime(datetime.fromtimestamp(at_us / 1e6, UTC))
    mail["Message-ID"] = f"<{message.action_id}@{parseaddr(sender)[1].rpartition('@')[2]}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(content.text)
    mail.add_alternative(content.html, subtype="html")
    return mail
