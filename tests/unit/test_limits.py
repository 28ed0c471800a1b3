"""Who asks, and how often without proof."""

from __future__ import annotations

from receiver.intake.limits import Buckets, Proxies, subject
from receiver.settings import WebSettings


def test_the_bucket_of_a_source_is_for_those_who_failed_before() -> None:
    """An address that failed once shares the source's bucket; fresh and proved ones do not; time fills it up again."""
    now = [0.0]
    buckets = Buckets(10, 20, clock=lambda: now[0])
    for number in range(20):
        buckets.failed(f"a{number}", "books")
    assert not buckets.admits("a1", "books")
    assert buckets.admits("a1", "sign")
    assert buckets.admits("fresh", "books")
    buckets.proved("a1", "books")
    assert buckets.admits("a1", "books")
    assert not buckets.admits("a2", "books")
    now[0] = 0.11
    assert buckets.admits("a2", "books")
    now[0] = 3601
    for number in range(20):
        buckets.failed(f"b{number}", "books")
    buckets.failed("a1", "books")
    assert not buckets.admits("a1", "books")


def test_many_slow_addresses_share_the_bucket_of_the_source() -> None:
    """An address fills its own bucket up between two requests; it is one that failed lately all the same."""
    now = [0.0]
    buckets = Buckets(50, 200, clock=lambda: now[0])
    admitted = 0
    for round_number in range(200):  # five seconds of 100 addresses with 40 requests a second each
        for number in range(100):
            now[0] = round_number / 40 + number / 4000
            if buckets.admits(f"a{number}", "books"):
                admitted += 1
                buckets.failed(f"a{number}", "books")
    assert 400 <= admitted <= 460
    assert buckets.admits("fresh", "books")
    now[0] += 61
    assert buckets.admits("a1", "books")


def test_whom_a_forwarded_header_names() -> None:
    """The right-most address that is no trusted proxy's; what cannot be read ends the search."""
    proxies = Proxies(WebSettings(trusted_proxies=("10.0.0.0/8", "::1")).trusted_proxies)
    assert proxies.client("10.0.0.1", [b"6.6.6.6, 7.7.7.7", b"10.2.2.2"]) == "7.7.7.7"
    assert proxies.client("10.0.0.1", [b"[2001:db8::1]:80"]) == "2001:db8::1"
    assert proxies.client("10.0.0.1", [b"6.6.6.6, unknown"]) == "10.0.0.1"
    assert proxies.client("10.0.0.1", []) == "10.0.0.1"
    assert proxies.trusts("::ffff:10.0.0.1")
    assert not proxies.trusts("")
    assert subject("2001:db8::1") == subject("2001:db8::2") != subject("2001:db8:1::1")
    assert subject("::ffff:10.0.0.1") == "10.0.0.1"
