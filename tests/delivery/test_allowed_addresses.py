"""Which addresses a message may go to: every kind that is not the public internet is refused, in every way to write it."""

from __future__ import annotations

import time
from ipaddress import ip_address, ip_network

import pytest

from gtm_dagster.delivery.allowed_addresses import kind_of, refusal
from gtm_dagster.delivery.target_address import AddressRefused, checked_addresses, parsed

PUBLIC = [
    "1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0",
    "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.0.1.0", "192.167.255.255", "192.169.0.0",
    "198.17.255.255", "198.20.0.0", "223.255.255.255", "168.63.129.15", "2606:4700:4700::1111", "2a00:1450:4001:81c::200e",
    "2001:4860:4860::8888", "2001:200::1", "2003::1",
]  # fmt: skip
REFUSED = {
    "0.0.0.0": "this host", "0.1.2.3": "this host", "10.0.0.0": "private", "10.255.255.255": "private",
    "100.64.0.1": "CGNAT", "100.100.100.200": "CGNAT", "100.127.255.255": "CGNAT", "127.0.0.1": "loopback",
    "127.255.255.255": "loopback", "168.63.129.16": "metadata", "169.254.169.254": "metadata", "169.254.0.1": "link-local",
    "172.16.0.0": "private", "172.31.255.255": "private", "192.0.0.8": "protocols", "192.0.0.192": "protocols",
    "192.0.2.1": "documentation", "192.88.99.1": "6to4", "192.168.0.1": "private", "198.18.0.1": "benchmarks",
    "198.19.255.255": "benchmarks", "198.51.100.7": "documentation", "203.0.113.9": "documentation",
    "224.0.0.1": "multicast", "239.255.255.255": "multicast", "240.0.0.1": "reserved", "255.255.255.255": "reserved",
    "::": "no address", "::1": "loopback", "::ffff:127.0.0.1": "IPv4", "::ffff:8.8.8.8": "IPv4", "::127.0.0.1": "IPv4",
    "64:ff9b::a9fe:a9fe": "NAT64", "64:ff9b:1::1": "NAT64", "100::1": "discarding", "2001::1": "Teredo",
    "2001:0:7f00:1::": "Teredo", "2001:10::1": "protocols", "2001:db8::1": "documentation", "2002:7f00:1::": "6to4",
    "3fff::1": "documentation", "5f00::1": "segment routing", "fc00::1": "private", "fd00:ec2::254": "private",
    "fe80::1": "link-local", "febf::1": "link-local", "fec0::1": "site-local", "ff02::1": "multicast", "4000::1": "given out",
    "fe80::1%eth0": "link-local",
}  # fmt: skip


@pytest.mark.parametrize("text", PUBLIC)
def test_an_address_of_the_public_internet_is_allowed(text: str) -> None:
    assert kind_of(ip_address(text)) is None


@pytest.mark.parametrize(("text", "kind"), REFUSED.items())
def test_any_other_is_refused_with_its_kind_and_the_way_out(text: str, kind: str) -> None:
    address = ip_address(text)
    reason = refusal(address, ())
    assert reason is not None and str(address) in reason and kind in reason and "allow" in reason


@pytest.mark.parametrize(
    ("text", "allow", "allowed"),
    [
        ("10.1.2.3", "10.0.0.0/8", True),
        ("11.1.2.3", "10.0.0.0/8", True),
        ("172.16.0.1", "10.0.0.0/8", False),
        ("::ffff:10.1.2.3", "10.0.0.0/8", False),
        ("::ffff:10.1.2.3", "::ffff:10.0.0.0/104", True),
        ("fd00::1", "fd00::/8", True),
        ("169.254.169.254", "0.0.0.0/0", True),
    ],
)
def test_a_destination_allows_what_it_names_in_the_form_it_names(text: str, allow: str, allowed: bool) -> None:
    assert (refusal(ip_address(text), (ip_network(allow),)) is None) is allowed


def addresses(url: str, *resolved: str) -> list[str]:
    def resolver(host: str, port: int) -> list[str]:
        return list(resolved)

    return [str(each) for each in checked_addresses(parsed(url), (), time.monotonic() + 5, resolver)]


def test_one_address_that_is_not_allowed_refuses_the_name() -> None:
    assert addresses("https://good.example/x", "8.8.8.8", "2606:4700::1") == ["8.8.8.8", "2606:4700::1"]
    with pytest.raises(AddressRefused, match=r"good\.example resolves to an address not allowed: fd00::1 is private"):
        addresses("https://good.example/x", "8.8.8.8", "fd00::1")


@pytest.mark.parametrize("resolved", [[], ["nonsense"], ["8.8.8.8", ""]], ids=["nothing", "no address", "an empty one"])
def test_an_answer_that_makes_no_sense_is_a_refusal(resolved: list[str]) -> None:
    with pytest.raises(AddressRefused, match="resolves to"):
        addresses("https://good.example/x", *resolved)


def test_a_resolver_that_fails_or_hangs_is_a_refusal() -> None:
    def failing(host: str, port: int) -> list[str]:
        raise RuntimeError("secret")

    with pytest.raises(AddressRefused, match=r"cannot be resolved \(RuntimeError\)"):
        checked_addresses(parsed("https://x.example"), (), time.monotonic() + 5, failing)

    def hanging(host: str, port: int) -> list[str]:
        time.sleep(1)
        return ["8.8.8.8"]

    with pytest.raises(AddressRefused, match="was not resolved in time"):
        checked_addresses(parsed("https://x.example"), (), time.monotonic() + 0.05, hanging)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("file:///etc/passwd", "file: only http and https"),
        ("gopher://8.8.8.8/x", "gopher: only http and https"),
        ("//8.8.8.8/x", "no scheme"),
        ("http://u:p@8.8.8.8", "a user or password"),
        ("http://user@8.8.8.8", "a user or password"),
        ("http://8.8.8.8:22/", "port 22"),
        ("http://8.8.8.8:6379/", "port 6379"),
        ("http://8.8.8.8:0/", "port 0"),
        ("http://8.8.8.8:99999/", "cannot be taken apart"),
        ("http://8.8.8.8\\@127.0.0.1/", "backslash"),
        ("http://8.8.8.8/a b", "a blank"),
        ("http://8.8.8.8/\r\nX: y", "control character"),
        ("http:///x", "no host"),
        ("http://[fe80::1%25eth0]/", "no host, or an odd one"),
        ("http://[::1/", "cannot be taken apart"),
    ],
)
def test_an_odd_address_is_refused_unread(url: str, reason: str) -> None:
    with pytest.raises(AddressRefused, match=reason) as refused:
        parsed(url)
    assert "passwd" not in str(refused.value) and "u:p" not in str(refused.value)


def test_a_name_of_other_scripts_is_sent_as_dns_has_it() -> None:
    target = parsed("https://Bücher.example:8443/ä?q=ü")
    assert (target.host, target.authority, target.path) == (
        "xn--bcher-kva.example", "xn--bcher-kva.example:8443", "/%C3%A4?q=%C3%BC",
    )  # fmt: skip
    assert parsed("http://①②⑦.⓪.⓪.①/").host == "127.0.0.1"
