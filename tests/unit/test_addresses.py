"""Where a setting may lead: to public addresses over https, and elsewhere only by name."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from receiver.addresses import Allowed, check, is_public
from receiver.errors import SettingsError

PRIVATE = (
    "127.0.0.1", "10.0.0.5", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "255.255.255.255", "224.0.0.1",  # noqa: S104
    "240.0.0.1", "192.0.2.1", "198.18.0.1", "::1", "::", "fe80::1", "fc00::1", "fd12::1", "ff02::1", "fec0::1", "2001:db8::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.5", "2002:7f00:1::", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2001:0:7f00:1::80ff:fffe",
)  # fmt: skip
PUBLIC = (
    "136.143.188.51",
    "8.8.8.8",
    "2606:4700::1111",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
    "2002:808:808::1",
)


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_inside_is_not_public(address: str) -> None:
    """Nor is one of IPv6 that stands for such an address."""
    assert not is_public(ip_address(address))
    assert not Allowed().address(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_an_address_of_the_internet_is_public(address: str) -> None:
    """In whatever form it is written."""
    assert is_public(ip_address(address))
    assert Allowed().address(address)


def test_what_is_allowed_is_allowed_by_name_or_network() -> None:
    """A host by its name alone, an address or a network wherever a name leads to it."""
    allowed = Allowed.of(["Old.Internal.", "10.0.0.5", "192.168.7.0/24", "[fd00::7]"])
    assert allowed.host("old.internal")
    assert not allowed.host("internal")
    assert allowed.address("10.0.0.5")
    assert allowed.address("::ffff:10.0.0.5")
    assert not allowed.address("10.0.0.6")
    assert allowed.address("192.168.7.200")
    assert allowed.host("192.168.7.200")
    assert allowed.address("fd00::7")
    assert not allowed.host("8.8.8.8")
    assert not allowed.address("no address")


@pytest.mark.parametrize(
    ("url", "allow"),
    [
        ("", ()), ("https://old.example/hook", ()), ("https://old.example:8443/hook?key=1", ()), ("https://8.8.8.8/hook", ()),
        ("http://old.internal/hook", ("old.internal",)), ("http://10.0.0.5:8080/hook", ("10.0.0.0/8",)), ("https://[fd00::7]/", ("fd00::7",)),
    ],
)  # fmt: skip
def test_a_url_that_may_be_called(url: str, allow: tuple[str, ...]) -> None:
    """Public with https, or allowed."""
    check(url, allow, "forward")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://old.example/hook", "use https"), ("https://10.0.0.5/", "no public address"), ("https://[::1]/", "no public address"),
        ("ftp://old.example/", "is no URL"), ("old.example/hook", "is no URL"), ("https://", "is no URL"), ("https://a b/", "is no URL"),
        ("https://old.example:99999/", "is no URL"), ("https://öld.example/", "is no URL"), ("https://u:p@old.example/", "leave user"),
        ("https://old.example/#x", "leave user"), ("https://old.example/\r\nX: y", "is no URL"),
    ],
)  # fmt: skip
def test_a_url_that_may_not_be_called_is_told_why(url: str, words: str) -> None:
    """With what to write instead."""
    with pytest.raises(ValueError, match=words):
        check(url, (), "forward")


def test_zohook_toml_is_held_to_it(settings) -> None:
    """The message names the source and the cure; a sound one stands."""
    line = 'mail = {{ product = "mail", forward = "{}", forward_allow = "{}" }}'
    with pytest.raises(SettingsError, match=r"sources\.mail: forward: use https.*forward_allow"):
        settings("[sources]\n" + line.format("http://10.0.0.5/hook", "10.0.0.6"))
    found = settings("[sources]\n" + line.format("http://10.0.0.5/hook", "10.0.0.5")).sources["mail"]
    assert (found.forward, found.forward_allow, found.forward_for) == (
        "http://10.0.0.5/hook",
        ("10.0.0.5",),
        86_400.0,
    )
