"""Names of undeclared properties as words: which are personal, and which only look it."""

import pytest

from gtm_dagster.privacy.personal_names import holds_personal, name_words

TEXT_GOES = [
    "userPhone",
    "homeAddress",
    "phone_number",
    "tel",
    "dob",
    "card",
    "firstName",
    "e-mail",
    "customerEmailAddress",
    "ipAddress",
    "userIP",
    "IPAddress",
    "EMail",
    "eMail",
    "E-Mail-Adresse",
    "phone2",
    "phone_id",
    "userPhone3",
    "useremail",
    "phonenumber",
    "homephone",
    "USERPHONE",
    "téléphone",
    "straße",
    "d.o.b",
    "first_name",
    "LastName",
    "full.name",
    "user-name",
    "username",
    "customer_name",
    "cardNumber",
    "card_last4",
    "creditCard",
    "cvv",
    "iban",
    "ssn",
    "passport",
    "password",
    "user_password",
    "access_token",
    "auth-token",
    "search_term",
    "searchQuery",
    "query",
    "message",
    "comment",
    "notes",
    "note2",
    "message_text",
    "mobile",
    "mobile_number",
    "userMobile",
    "date_of_birth",
    "birthDate",
    "email_hash",
    "phoneNo",
    "contact.email",
    "$email",
    "user:email",
    "billing_address",
    "address_line_1",
    "houseNumber",
    "secret",
    "api_key",
    "user_agent",
    "X-Forwarded-For",
    "session_id",
    "emailaddress",
    "x_ip",
    "mail",
    "user_mail",
    "remark",
    "feedback",
    "pin",
    "Vorname",
    "Geburtsdatum",
    "Kreditkarte",
]
TEXT_STAYS = {
    "address_changed": "a fact", "message_id": "an id of no person", "search_results": "results, no query", "ip_version": "v4 or v6",
    "shipping": "ip inside a word", "description": "one word lands by the rule of tokens", "card_type": "a kind", "email_status": "a state",
    "email_provider": "a provider", "phone_model": "a model", "tokens_used": "a count", "mobile_os": "a system", "mobile_app": "an app",
    "zip": "an area", "vip": "ip inside a word", "headphones_model": "phone inside a word", "recipe": "ip inside a word",
    "product_name": "the name of a thing", "event_name": "the name of a thing", "page_title": "of a page", "order_id": "of an order",
    "token_type": "a kind", "hotel": "tel inside a word", "cardinal": "card inside a word", "scorecard": "card inside a word",
    "phonetic": "phone inside a word", "pinned": "pin inside a word", "streetwear": "street inside a word", "country": "an area",
    "device_id": "of a device; declare it where it is a person's", "intel": "tel inside a word", "placard": "card inside a word",
}  # fmt: skip
NUMBERS = {
    **dict.fromkeys(["phone", "userPhone", "card_number", "ssn", "tel", "phone_number", "ip", "dob", "cvv", "pin", "otp", "mobile", "card_last4"], True),
    **dict.fromkeys(
        ["notes_count", "tokens_used", "message_id", "tokens", "emails_sent", "card_position", "message_length", "phone_count", "search_results", "comments", "query_ms", "cards_total", "address_count", "shipping", "token_limit"],
        False,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TEXT_GOES)
def test_a_text_under_a_personal_name_goes_whatever_joins_its_words(name: str) -> None:
    assert holds_personal(name, "x")
    assert not holds_personal(name, True) and not holds_personal(name, None)


@pytest.mark.parametrize("name", TEXT_STAYS, ids=lambda name: f"{name}: {TEXT_STAYS[name]}")
def test_a_name_that_only_looks_personal_stays(name: str) -> None:
    assert not holds_personal(name, "x")


@pytest.mark.parametrize(("name", "goes"), NUMBERS.items())
def test_a_number_goes_under_contact_and_card_but_not_as_a_count(name: str, goes: bool) -> None:
    assert holds_personal(name, 12) is goes


def test_words_of_a_name() -> None:
    assert name_words("customerEmailAddress2") == ["customer", "email", "address"]
    assert name_words("HTTPServer-Ünit.x_y") == ["http", "server", "unit", "x", "y"]
