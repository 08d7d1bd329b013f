"""Names of properties that hold personal data, compared as words: userPhone, home-address, phone_number2, e-mail.

Only undeclared properties are judged by their name; for a declared one the plan says what it holds.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from itertools import pairwise
from typing import Any

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_CONTACT = _words(
    """email emails mailaddress phone phones telephone telefon telefono tel fax msisdn imei imsi idfa gaid
    address addresses addr adresse anschrift direccion street strasse ip ips ipaddr mac
    card cards creditcard kreditkarte cardholder cvv cvc iban bic
    ssn passport passwort password passwords passwd pwd passphrase passcode kennwort
    dob bday birthdate birthday birth birthplace geburtsdatum geburtstag
    firstname lastname fullname surname forename prenom vorname nachname apellido apellidos maiden username
    mobilnummer handynummer telefonnummer courriel correo jwt sessionid otp"""
)
"""Personal wherever they stand in a name, unless its last word is a fact about the thing alone."""
_AT_THE_END = _words("mail mails mobile cell handy pin login")
"""Personal as the last word: `mobile` may be a number, `mobile_os` is none."""
_TEXTS = _words(
    """message messages comment comments note notes remark remarks feedback query secret token tokens
    nachricht kommentar notiz bemerkung"""
)
"""A text under such a name is written by a person, or opens a door; a number or an id is not."""
_PAIRS = _words(
    """e.mail first.name last.name full.name given.name family.name middle.name maiden.name sur.name nick.name user.name
    display.name legal.name customer.name contact.name client.name recipient.name sender.name billing.name shipping.name
    holder.name person.name member.name owner.name author.name guest.name patient.name employee.name
    mobile.number cell.number account.number routing.number tax.id national.id social.security driver.license
    driving.licence license.plate house.number credit.card bank.account api.key access.key private.key
    search.term search.terms search.text search.string search.phrase search.query search.keyword free.text user.agent
    remote.addr forwarded.for session.id session.key auth.code"""
)
"""Two words that are personal side by side."""
_ABOUT = _words(
    """count counts total totals size length len type types kind status state version versions model brand os provider
    domain verified valid validated changed updated added removed created deleted sent opened clicked shown used left
    remaining limit seconds minutes hours ms days at rate ratio percent share score index position rank step steps level
    amount price cost format method template campaign category country network client engine results result source
    channel enabled disabled visible required optin optout consent quality age app build platform vendor year"""
)
"""Last words with which a name tells a fact about the thing: email_status, card_type, tokens_used, ip_version."""
_SUFFIXES = _words("number numbers num no nr id ids value line field input text string raw hash sha md clean")
_TEXT_SUFFIXES = _words("value field input text string raw body content")
_OWNERS = "user|customer|client|contact|home|work|business|private|personal|billing|shipping|delivery|my|your|primary|alt|guest|buyer|member|account|sender|recipient|remote|real|street"
_JOINED = re.compile(
    rf"(?:{_OWNERS})*(?:{'|'.join(sorted((word for word in _CONTACT if len(word) > 4), key=len, reverse=True))}|card|ip|mail)"
    r"(?:number|num|no|nr|id|value|text|line|field|address|adresse|adress|hash)*\Z"
)
"""Words written as one: useremail, phonenumber, homeaddress, ipaddress."""


def holds_personal(name: str, value: Any) -> bool:
    """Whether an undeclared property `name` with this value is personal by its name.

    A boolean or null never is. A number is under contact, card and identity words, but for facts: phones_count.
    """
    if value is None or isinstance(value, bool):
        return False
    contact, free_text = _kinds(name)
    return contact or (free_text and isinstance(value, str))


@lru_cache(4096)
def _kinds(name: str) -> tuple[bool, bool]:
    """(personal whatever the value is, personal as a text)."""
    words = name_words(name)
    if not words:
        return False, False
    bare = list(words)
    while len(bare) > 1 and bare[-1] in _SUFFIXES:
        bare.pop()
    pairs = {f"{one}.{other}" for one, other in pairwise(words)}
    if words[-1] in _ABOUT and len(words) > 1:
        return False, False
    joined = "".join(words)
    contact = (
        not _CONTACT.isdisjoint(words)
        or bare[-1] in _AT_THE_END
        or not _PAIRS.isdisjoint(pairs)
        or any(len(word) > 4 and _JOINED.match(word) for word in {*words, joined})
        or joined in _CONTACT
    )
    while len(words) > 1 and words[-1] in _TEXT_SUFFIXES:
        words.pop()
    return contact, words[-1] in _TEXTS


def name_words(name: str) -> list[str]:
    """The words of a name in lower case without accents: `homeAddress2` and `HOME-ADDRESS` are home, address."""
    plain = unicodedata.normalize("NFKD", name.replace("ß", "ss")).encode("ascii", "ignore").decode()
    return [word.lower() for word in _WORD.findall(plain)]
