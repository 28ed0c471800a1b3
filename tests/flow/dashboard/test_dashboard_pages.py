"""What the pages show, and that whatever came from outside is shown as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import pytest
from dashboard_hostile import hostile_ledger
from dashboard_kit import HANDLER, WORKER, Seed, Tags, Visitor
from dashboard_scene import scene

from receiver import keys
from receiver.ledger import runs

if TYPE_CHECKING:
    from redis import Redis

HOSTILE = (
    "<zq onzq=1>",
    "\"><zq onzq='1'",
    "'--></title></textarea></script></style></pre><zq>",
    "<script>zq()</script>",
    "<img src=x onerror=zq()>",
    "javascript:zq()",
    "{{7*7}}{% raw %}",
    "${7*7}<svg/onload=zq()>",
    "\u202ezq\u2028\u0000\x1b[31m",
    "<!--zq",
    "&lt;zq&gt;",
    "]]><zq>",
)


def assert_tame(html: str) -> Tags:
    """Nothing of a hostile string became markup."""
    page = Tags(html)
    assert "zq" not in page.tags
    assert not {name for name, _ in page.attributes if name.startswith("on")}
    assert not [
        value
        for name, value in page.attributes
        if name in {"href", "src", "action"} and "javascript:" in (value or "")
    ]
    assert page.tags.count("script") == 1
    assert "img" not in page.tags[page.tags.index("main") :]
    return page


@pytest.mark.parametrize("text", HOSTILE)
def test_whatever_came_from_outside_is_text(text: str, operator: Visitor, seed: Seed) -> None:
    """No field of an event, job, attempt, delivery, worker, handler or token becomes markup on any page."""
    event, delivery = hostile_ledger(seed, text)
    pages = [
        "/",
        "/events",
        f"/events/{event.id}",
        "/dead",
        "/deliveries",
        f"/deliveries/{delivery}",
        "/handlers",
        "/connections",
    ]
    for path in pages:
        answer = operator.get(path)
        assert answer.status_code == 200, path
        assert_tame(answer.text)
    shown = Tags(operator.get(f"/events/{event.id}").text).text
    assert text.replace("\x00", "\ufffd") in shown.replace("\x00", "\ufffd")


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize(
    "path",
    ["/events?type={}", "/events?source={}", "/events?record={}", "/events?state={}", "/events?after={}", "/dead?handler={}",
     "/dead?after={}", "/deliveries?after={}", "/sign-in?to={}"],
)  # fmt: skip
def test_what_an_address_says_is_text(path: str, text: str, operator: Visitor) -> None:
    """No parameter becomes markup, and none breaks the page."""
    name, _, _ = path.rpartition("={}")
    answer = operator.ask("GET", name.partition("?")[0], params={name.partition("?")[2]: text})
    assert answer.status_code in {200, 303}
    if answer.status_code == 200:
        assert_tame(answer.text)


@pytest.mark.parametrize(
    "name",
    ["%00", "..%2f..%2fetc", "%ff%fe", "x" * 5000, "%F0%9F%92%A9", "a:b", "*", "%e2%80%ae", "-1", "9" * 40],
)
def test_an_id_that_is_none_is_a_page_that_says_so(name: str, operator: Visitor) -> None:
    """Any id of an event or delivery that does not exist is 404."""
    for path in (f"/events/{name}", f"/deliveries/{name}"):
        answer = operator.get(path)
        assert answer.status_code == 404
        assert "<h1>Not here</h1>" in answer.text


def test_the_pages_of_an_empty_house(operator: Visitor) -> None:
    """Before the first event every page says what is not there and what to do."""
    for path, words in {
        "/": "No event has come in yet", "/events": "No event has come in yet", "/dead": "Nothing is dead",
        "/deliveries": "There are none", "/handlers": "No living worker", "/connections": "not connected",
    }.items():  # fmt: skip
        answer = operator.get(path)
        assert answer.status_code == 200
        assert words in answer.text
    assert "No worker is running" in operator.get("/").text


def test_the_overview_says_how_things_are(operator: Visitor, redis: Redis) -> None:
    """Rates, open work with its reason, queues, workers, failures and the last events are on the first page."""
    scene(redis)
    text = Tags(operator.get("/").text).text
    for words in ("accepted", "The connection acme waits for a new consent", "zohook", "hooks-1", "pid 2114",
                  "Invalid value passed for Contact ID", "62 ms", "p99 2.6 s", "Campaigns"):  # fmt: skip
        assert words in text


def test_the_page_of_an_event_tells_its_story(operator: Visitor, redis: Redis) -> None:
    """What it said, what changed, where it came from, each attempt with its calls, and what can be done now."""
    ids = scene(redis)
    text = Tags(operator.get(f"/events/{ids['dead']}").text).text
    for words in ("Acme GmbH: 40 seats", "Negotiation", "Closed Won", "Deals.edit", "POST", "/in/crm", "application/json",
                  "deals.invoice_won_deal", "InvalidRequest", "Traceback (most recent call last)", "548 ms", "/books/v3/invoices",
                  "400", "Retry", "Rerun"):  # fmt: skip
        assert words in text, words


def test_a_job_under_way_has_no_buttons(operator: Visitor, seed: Seed) -> None:
    """What is open cannot be run again."""
    event = seed.accept()
    seed.route(event, HANDLER)
    assert "Retry" not in operator.get(f"/events/{event.id}").text
    runs.claim(seed.redis, "j", runs.job_id(event.id, HANDLER), 1, WORKER, 45)
    assert "Retry" not in operator.get(f"/events/{event.id}").text


def test_bodies_are_shown_whatever_they_are(operator: Visitor, seed: Seed) -> None:
    """Text as text, other bytes in hexadecimal, long ones cut, empty ones said to be."""
    for body, words in (
        (b"\xff\xfe\x00", "ff fe 00"),
        (b"", "The body was empty"),
        (b"y" * 300_000, "100,000 more characters"),
    ):
        assert words in operator.get(f"/deliveries/{seed.refuse(body=body)}").text


SECRETS = (
    "books-secret-0001",
    "a-client-secret",
    "1000." + "a" * 32 + "." + "b" * 32,
    "channel-token-in-a-body",
)


def test_no_secret_is_shown(operator: Visitor, seed: Seed) -> None:
    """Secrets of the settings, tokens by their look and by their names, and secret headers are masked on every page."""
    from receiver import logs

    said = {"token": SECRETS[3], "note": f"see {SECRETS[2]}"}
    for each in SECRETS[:2]:
        logs.hide(each)
        said[each[:5]] = f"x {each} y"
    headers = {"x-webhook-token": SECRETS[0], "cookie": SECRETS[3], "x-other": f"Bearer {SECRETS[2]}"}
    event = seed.accept(data=said, headers=headers, body=orjson.dumps(said), previous=said)
    seed.route(event, HANDLER)
    seed.run(
        event,
        state="dead",
        reason=f"no {SECRETS[0]}",
        error={"type": "E", "message": SECRETS[2], "traceback": f"token={SECRETS[3]}"},
    )
    refused = seed.refuse(
        body=orjson.dumps(said), query=f"token={SECRETS[3]}".encode(), reason=f"wrong {SECRETS[1]}"
    )
    for path in (
        "/",
        f"/events/{event.id}",
        f"/deliveries/{event.delivery}",
        f"/deliveries/{refused}",
        "/deliveries",
        "/dead",
    ):
        text = operator.get(path).text
        assert not [each for each in SECRETS if each in text], path


def test_the_token_row_is_shown_without_its_tokens(operator: Visitor, redis: Redis) -> None:
    """A connection shows its state, scopes and calls, and nothing of what is sealed."""
    scene(redis)
    redis.hset(
        keys.token("acme"), mapping={"access": "gAAAA-sealed-access", "refresh": "gAAAA-sealed-refresh"}
    )
    text = operator.get("/connections").text
    assert "ZohoCRM.modules.ALL" in text
    assert "The consent lacks" in text
    assert "sealed" not in text


@pytest.mark.parametrize("value", [b"", b"\xff", b"{}", b"[]", b"null", b"1", b'{"data":1}'])
@pytest.mark.parametrize("name", ["seq", "state", "delivery", "depth", "kept"])
def test_a_damaged_event_breaks_one_page_and_no_process(
    name: str, value: bytes, operator: Visitor, seed: Seed
) -> None:
    """Whatever stands in the ledger, the answer is a page of ours."""
    event = seed.accept()
    if name == "kept":
        seed.redis.set(keys.delivery(event.delivery), value)
        seed.redis.set(keys.fact(event.id), value)
    else:
        seed.redis.hset(keys.event(event.id), name, value)
    for path in ("/events", f"/events/{event.id}"):
        answer = operator.get(path)
        assert answer.status_code in {200, 404, 500}
        assert "</html>" in answer.text


def test_a_strange_attempt_is_shown_as_far_as_it_goes(operator: Visitor, seed: Seed) -> None:
    """Attempts of other versions may lack anything."""
    strange: list[Any] = [
        {},
        {"outcome": "lost", "run": 3, "reason": "its worker died"},
        {"error": "text"},
        {"error": {}, "calls": [{}]},
    ]
    event = seed.accept()
    seed.route(event, HANDLER)
    job = runs.job_id(event.id, HANDLER)
    seed.redis.rpush(keys.attempts(job), *[orjson.dumps(each) for each in strange])
    answer = operator.get(f"/events/{event.id}")
    assert answer.status_code == 200
    assert "its worker died" in answer.text
