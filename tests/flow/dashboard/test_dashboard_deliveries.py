"""Kept deliveries on their pages: found by source and reason, and verified again, one at a click or all that are shown."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, Any

import pytest
from dashboard_kit import VIEWER

from receiver import keys
from receiver.dashboard import deliveries
from receiver.event import Delivery, now_ms
from receiver.ledger import read
from receiver.ledger.accept import Record, accept

if TYPE_CHECKING:
    from collections.abc import Callable

    from dashboard_kit import Seed, Visitor
    from redis import Redis

SECRET = "books-secret-0001"
INVOICE = b'{"invoice": {"invoice_id": "77"}}'
Keep = Any


@pytest.fixture
def keep(redis: Redis) -> Callable[..., str]:
    """Keeps a delivery of Books as refused, though it is signed right; its id."""

    def one(
        body: bytes = INVOICE, verdict: str = "rejected", reason: str = "the secret was another", secret: str = SECRET, source: str = "books", at: int = 0
    ) -> str:  # fmt: skip
        signed = hmac.new(secret.encode(), b"eventinvoice.paid" + body, hashlib.sha256).hexdigest()
        delivery = Delivery.arrive(
            source, body, query=b"event=invoice.paid", headers={"X-Zoho-Webhook-Signature": signed}, received=at or now_ms()
        )  # fmt: skip
        accept(redis, [Record(delivery, verdict, reason)], cap=10_000)  # type: ignore[arg-type]
        return delivery.id

    return one


def said(visitor: Visitor, answer: Any) -> str:
    """What the page says that an action leads to."""
    assert answer.status_code == 303, answer.text
    return visitor.get(answer.headers["location"]).text


def test_one_is_verified_again_at_a_click(operator: Visitor, redis: Redis, keep: Keep) -> None:
    """From its own page: it is accepted, its event waits for its handlers, and its page links to it."""
    kept = keep()
    assert f'action="/deliveries/{kept}/verify"' in operator.get(f"/deliveries/{kept}").text
    assert f'action="/deliveries/{kept}/verify"' in operator.get("/deliveries").text
    page = said(operator, operator.post(f"/deliveries/{kept}/verify"))
    assert "It proves itself now" in page
    (event,) = read.page(redis).rows
    assert f"/events/{event.event.id}" in page
    assert redis.zscore(keys.due(), f"e:{event.event.id}")
    assert "/verify" not in page
    assert "no such thing" in said(operator, operator.post(f"/deliveries/{kept}/verify"))
    assert redis.zcard(keys.events()) == 1


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"secret": "another-secret-01"}, "refused as before"),
        ({"body": b"{"}, "in quarantine"),
        ({"source": "gone"}, "refused as before"),
    ],
)
def test_the_answer_says_what_it_is_now(operator: Visitor, redis: Redis, keep: Keep, given: dict[str, Any], words: str) -> None:  # fmt: skip
    """Refused again, unreadable, or of a source that is gone: told in words, and nothing runs."""
    assert words in said(operator, operator.post(f"/deliveries/{keep(**given)}/verify"))
    assert redis.zcard(keys.events()) == 0


def test_a_repetition_is_told_as_one(operator: Visitor, redis: Redis, keep: Keep) -> None:
    """Accepted twice within its minute, the second is the same as the first."""
    first, second = keep(), keep()
    operator.post(f"/deliveries/{first}/verify")
    assert "had come in before" in said(operator, operator.post(f"/deliveries/{second}/verify"))
    assert redis.zcard(keys.events()) == 1


def test_all_that_pass_the_filters_are_verified(operator: Visitor, redis: Redis, keep: Keep) -> None:
    """By verdict, source and a part of the reason; what does not pass stays, and the page says how many hold now."""
    for number in range(3):
        keep(b'{"invoice": {"invoice_id": "%d"}}' % number)
    other = keep(b'{"invoice": {"invoice_id": "9"}}', reason="too large")
    keep(secret="another-secret-01")
    page = operator.get("/deliveries?verdict=rejected&source=books&reason=SECRET+was").text
    assert 'name="reason" value="SECRET was"' in page
    assert page.count("/verify") == 4
    assert other not in page
    assert "None fits" in operator.get("/deliveries?verdict=rejected&source=crm").text
    form = {"verdict": "rejected", "source": "books", "reason": "SECRET was"}
    page = said(operator, operator.post("/deliveries", form))
    assert "3 of the deliveries prove themselves now" in page
    assert redis.zcard(keys.events()) == 3
    assert redis.zscore(keys.deliveries("rejected"), other)
    assert "None of them is accepted" in said(operator, operator.post("/deliveries", form))


def test_a_click_has_an_end(
    operator: Visitor, redis: Redis, keep: Keep, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So many and so long, oldest first; the next click goes on."""
    ids = [
        keep(b'{"invoice": {"invoice_id": "%d"}}' % number, at=now_ms() - 1000 + number)
        for number in range(5)
    ]
    monkeypatch.setattr(deliveries, "VERIFY_MOST", 3)
    operator.post("/deliveries", {"verdict": "rejected"})
    assert [row.id for row in read.deliveries(redis, "rejected")] == sorted(ids)[:2:-1]
    monkeypatch.setattr(deliveries, "VERIFY_LONGEST", -1)
    assert "None of them" in said(operator, operator.post("/deliveries", {"verdict": "rejected"}))


def test_a_viewer_sees_and_cannot_verify(visitor: Any, redis: Redis, keep: Keep) -> None:
    """No button for who may only look, and no way around it."""
    kept = keep()
    guest = visitor().sign_in(VIEWER)
    for path in ("/deliveries", f"/deliveries/{kept}"):
        assert "Verify" not in guest.get(path).text
    assert guest.post(f"/deliveries/{kept}/verify").status_code == 403
    assert guest.post("/deliveries", {"verdict": "rejected"}).status_code == 403
    assert redis.zcard(keys.events()) == 0


@pytest.mark.parametrize("verdict", ["duplicate", "accepted", "nothing"])
def test_only_what_was_refused_can_be_verified(operator: Visitor, verdict: str) -> None:
    """Any other verdict is no such page."""
    assert operator.post("/deliveries", {"verdict": verdict}).status_code == 404


def test_a_long_search_says_how_far_it_came(operator: Visitor, redis: Redis, seed: Seed, keep: Keep, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    """Over its bound it shows what it has, and a link to go on from there; page by page every one is met once."""
    for number in range(120):
        seed.refuse(reason="dull")
        if number % 40 == 0:
            keep(b"%d" % number)
    monkeypatch.setattr(deliveries, "BATCH", 20)
    monkeypatch.setattr(deliveries, "MOST", 20)
    filters, cursor, rows = deliveries.Filters("rejected", reason="secret"), "", []
    for _ in range(20):
        found = deliveries.search(redis, filters, cursor)
        rows += found.rows
        cursor = found.cursor
        if not cursor:
            break
        assert found.back_to
    assert len(rows) == len({row.id for row in rows}) == 3
    assert "Searched back to" in operator.get("/deliveries?verdict=rejected&reason=secret").text


def test_full_pages_follow_each_other(redis: Redis, seed: Seed) -> None:
    """Fifty at a time, none twice and none left out."""
    ids = {seed.refuse() for _ in range(125)}
    seen, cursor, sizes = list[str](), "", []
    while True:
        found = deliveries.search(redis, deliveries.Filters("rejected"), cursor)
        seen += [row.id for row in found.rows]
        sizes.append(len(found.rows))
        if not (cursor := found.cursor):
            break
    assert sizes == [50, 50, 25]
    assert set(seen) == ids
    assert len(seen) == 125
