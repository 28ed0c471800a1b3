"""The products of which the simulator plays the webhooks only: as strict as their pages, and what they send."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key
from simulator_kit import Sink, Zoho, sinking

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

PRODUCTS = ("sign", "mail", "payments", "commerce", "projects", "cliq", "salesiq")
KEY = "a-key-of-sixteen-letters"


@pytest.fixture
def there() -> Iterator[tuple[Zoho, Sink]]:
    """A simulator and a place that deliveries go to."""
    with sinking() as both:
        yield both


def add(zoho: Zoho, product: str, url: str, **about: Any) -> httpx.Response:
    """Set a webhook up, as an administrator does."""
    if product == "projects":
        about = {"events": ["task.updated"], **about}
    return zoho.post("/_console/webhooks", json={"product": product, "url": url, **about})


def act(zoho: Zoho, product: str, name: str, **about: Any) -> dict[str, Any]:
    """Do what people do in the product."""
    answer = zoho.post("/_console/acts", json={"product": product, "act": name, **about})
    assert answer.status_code == 200, answer.text
    assert zoho.simulator.drain()
    return answer.json()["told"]


@pytest.mark.parametrize("product", PRODUCTS)
def test_the_scene_plays_every_product_that_somebody_listens_to(
    there: tuple[Zoho, Sink], product: str
) -> None:
    """Alone it is all that happens, each delivery a fact of its own."""
    zoho, sink = there
    assert add(zoho, product, f"{sink.url}/x").status_code == 200
    sink.got.clear()
    zoho.post("/_console/scene", json={"rate": 0, "events": 8, "seed": 3})
    assert zoho.simulator.scene.wait(20)
    status = zoho.get("/_console/scene").json()
    assert (status["state"], set(status["did"])) == ("done", {product})
    assert status["facts"] == status["answered_200"] >= 8
    assert len(sink.got) == status["sent"]
    assert all(json.loads(body) for _, _, _, body in sink.got)
    assert zoho.get("/_console/webhooks").json()[f"{product}_webhooks"][0]["url"] == f"{sink.url}/x"


@pytest.mark.parametrize("product", ["mail", "payments", "salesiq", "cliq"])
def test_a_url_that_does_not_answer_200_is_not_saved(there: tuple[Zoho, Sink], product: str) -> None:
    """It is tried before it is used; another status is as bad as nobody there."""
    zoho, sink = there
    sink.status = 302
    assert "answered 302" in add(zoho, product, sink.url).json()["error"]
    assert "cannot be reached" in add(zoho, product, "http://127.0.0.1:9/x").json()["error"]
    assert zoho.simulator.outgoing[product].hooks == []


@pytest.mark.parametrize(
    ("product", "about"),
    [
        *[
            ("sign", {"events": ["RequestSigned"]}),
            ("sign", {"url": "ftp://x"}),
            ("sign", {"url": "nothing"}),
        ],
        *[("projects", {"events": ["task.updated", "task.created"]}), ("projects", {"secret": "short"})],
        *[("mail", {"events": ["calendar"]}), ("commerce", {"events": ["order.sent"]}), ("sign", {"key": 1})],
    ],
)
def test_what_no_page_would_take_is_refused(
    there: tuple[Zoho, Sink], product: str, about: dict[str, Any]
) -> None:
    """400 with the reason, and nothing is set up."""
    zoho, sink = there
    answer = add(zoho, product, **{"url": sink.url, **about})
    assert answer.status_code == 400
    assert answer.json()["error"]


def test_an_account_has_so_many_webhooks(there: tuple[Zoho, Sink]) -> None:
    """Two at Sign, five at Payments, one URL for an extension of Cliq."""
    zoho, sink = there
    for product, most in (("sign", 2), ("payments", 5), ("cliq", 1)):
        for _ in range(most):
            assert add(zoho, product, sink.url).status_code == 200
        assert f"at most {most}" in add(zoho, product, sink.url).json()["error"]


def test_only_what_people_do_can_be_done(there: tuple[Zoho, Sink]) -> None:
    """The console reaches no other method."""
    zoho, _ = there
    answer = zoho.post("/_console/acts", json={"product": "sign", "act": "publish"})
    assert answer.status_code == 400
    assert "request, sign, decline, test_url" in answer.json()["error"]
    for product, name, about in (
        *(("payments", "tell", {"event": "x", "about": {}}), ("salesiq", "tell", {"event": "x"})),
        *(("cliq", "call", {"component": "x", "handler": "y"}), ("projects", "change", {"event": "x"})),
        *(("commerce", "order", {"event": "x"}), ("sign", "sign", {"request_id": "0"})),
    ):
        said = zoho.post("/_console/acts", json={"product": product, "act": name, **about})
        assert said.status_code == 400, (product, name)


def test_a_request_of_sign(there: tuple[Zoho, Sink]) -> None:
    """Sent, signed by each, and completed, each told apart and signed with the key; nothing follows the end."""
    zoho, sink = there
    add(zoho, "sign", sink.url, secret=KEY)
    request = act(zoho, "sign", "request", signers=2)["request_id"]
    for _ in range(2):
        act(zoho, "sign", "sign", request_id=request)
    told = [json.loads(body) for _, _, _, body in sink.got]
    words = ["RequestSubmitted", "RequestSigningSuccess", "RequestSigningSuccess", "RequestCompleted"]
    assert sorted(each["notifications"]["operation_type"] for each in told) == sorted(words)
    for _, _, headers, body in sink.got:
        digest = hmac.new(KEY.encode(), body, hashlib.sha256).digest()
        assert headers["x-zs-webhook-signature"] == base64.b64encode(digest).decode()
    again = zoho.post("/_console/acts", json={"product": "sign", "act": "sign", "request_id": request})
    assert "the request is completed" in again.json()["error"]
    other = act(zoho, "sign", "request")["request_id"]
    assert act(zoho, "sign", "decline", request_id=other)["request_status"] == "declined"


def test_the_button_test_url_signs_nothing(there: tuple[Zoho, Sink]) -> None:
    """Its ids are numbers, and the same every time; a webhook without a key has no signature either."""
    zoho, sink = there
    hook = add(zoho, "sign", sink.url, secret=KEY).json()["id"]
    add(zoho, "sign", f"{sink.url}/bare")
    act(zoho, "sign", "test_url", hook_id=hook)
    assert "x-zs-webhook-signature" not in sink.got[0][2]
    assert json.loads(sink.got[0][3])["requests"]["request_id"] == 1000000102049
    act(zoho, "sign", "request")
    bare = next(headers for _, path, headers, _ in sink.got if path == "/bare")
    assert "x-zs-webhook-signature" not in bare


def test_mail_tells_its_secret_once_and_signs_what_it_escaped(there: tuple[Zoho, Sink]) -> None:
    """The first request has the secret and nothing else; another URL brings another; slashes are escaped in what is signed."""
    zoho, sink = there
    hook = add(zoho, "mail", sink.url, events=["mail"]).json()["id"]
    (_, _, headers, body) = sink.got.pop()
    assert body == b""
    act(zoho, "mail", "receive", subject="Hi", html="<p>Hi</p>")
    act(zoho, "mail", "task")  # nobody listens to tasks
    (_, _, signed, body) = sink.got.pop()
    digest = hmac.new(headers["x-hook-secret"].encode(), body, hashlib.sha256).digest()
    assert signed["x-hook-signature"] == base64.b64encode(digest).decode()
    assert b"<\\/p>" in body
    assert "x-hook-secret" not in signed
    act(zoho, "mail", "change_url", hook_id=hook, url=f"{sink.url}/new")
    assert sink.got[-1][2]["x-hook-secret"] != headers["x-hook-secret"]
    act(zoho, "mail", "receive")
    assert sink.got[-1][1] == "/new"


def test_payments_sign_each_attempt_anew(there: tuple[Zoho, Sink]) -> None:
    """The same event comes again under another time and signature."""
    zoho, sink = there
    key = add(zoho, "payments", sink.url).json()["secret"]
    assert len(key) == 160
    sink.got.clear()
    paid = act(zoho, "payments", "pay", live=False)
    zoho.clock.forward(60)
    act(zoho, "payments", "redeliver", event_id=paid["event_id"])
    act(zoho, "payments", "refund", payment_id=paid["event_object"]["payment"]["payment_id"])
    one, two = (headers["x-zoho-webhook-signature"] for _, _, headers, _ in sink.got[:2])
    assert sink.got[0][3] == sink.got[1][3]
    assert one != two
    stamp, _, digest = two.removeprefix("t=").partition(",v=")
    assert stamp == str(int(zoho.clock.at * 1000))
    text = f"{stamp}.".encode() + sink.got[1][3]
    assert digest == hmac.new(key.encode(), text, hashlib.sha256).hexdigest()


@pytest.mark.parametrize(
    ("product", "name", "header"),
    [("salesiq", "converse", "x-siqsignature"), ("cliq", "say", "x-cliq-signature")],
)
def test_a_public_key_verifies_what_is_sent(
    there: tuple[Zoho, Sink], product: str, name: str, header: str
) -> None:
    """The key that the product shows fits the signature of the very bytes, and the console signs with it too."""
    zoho, sink = there
    add(zoho, product, sink.url)
    sink.got.clear()
    act(zoho, product, name)
    shown = zoho.get("/_console/public_keys").json()[product][0]
    key: Any = load_der_public_key(base64.b64decode(shown))
    (_, _, headers, body) = sink.got.pop()
    key.verify(base64.b64decode(headers[header]), body, PKCS1v15(), SHA256())
    asked = {"product": product, "body": base64.b64encode(b"any bytes").decode()}
    proof = zoho.post("/_console/signature", json=asked).json()["proof"]
    key.verify(base64.b64decode(proof), b"any bytes", PKCS1v15(), SHA256())


def test_keys_of_salesiq_rotate(there: tuple[Zoho, Sink]) -> None:
    """Two at most, of which the oldest signs until it is dropped; the last one stays."""
    zoho, sink = there
    add(zoho, "salesiq", sink.url)
    (first,) = zoho.get("/_console/public_keys").json()["salesiq"]
    second, still = act(zoho, "salesiq", "new_key")["public_keys"]
    assert still == first != second
    assert zoho.post("/_console/acts", json={"product": "salesiq", "act": "new_key"}).status_code == 400
    assert act(zoho, "salesiq", "drop_key")["public_keys"] == [second]
    assert zoho.post("/_console/acts", json={"product": "salesiq", "act": "drop_key"}).status_code == 400


def test_an_execution_that_is_retried_differs_in_its_attempt(there: tuple[Zoho, Sink]) -> None:
    """And in nothing else."""
    zoho, sink = there
    add(zoho, "salesiq", sink.url)
    sink.got.clear()
    about = act(zoho, "salesiq", "converse")["entity_id"]
    act(zoho, "salesiq", "retry", conversation=about)
    one, two = (json.loads(body) for _, _, _, body in sink.got)
    assert two == {**one, "attempt": 2}
    act(zoho, "salesiq", "tell", event="conversation.rated", conversation=about)
    assert len(sink.got) == 3
    assert act(zoho, "salesiq", "zobot")["handler"] == "message"


def test_commerce_names_its_event_in_a_header(there: tuple[Zoho, Sink]) -> None:
    """JSON under a form's Content-Type, unsigned unless the account is one that signs."""
    zoho, sink = there
    add(zoho, "commerce", f"{sink.url}/in/shop?key=x")
    add(zoho, "commerce", f"{sink.url}/signed", secret=KEY)
    act(zoho, "commerce", "order", event="salesorder.shipped")
    got = {path: (headers, body) for _, path, headers, body in sink.got}
    headers, body = got["/in/shop?key=x"]
    assert headers["content-type"] == "application/x-www-form-urlencoded;charset=UTF-8"
    assert headers["x-zoho-event"] == "salesorder.shipped"
    assert "x-zoho-webhook-signature" not in headers
    assert json.loads(body)["salesorder"]["salesorder_id"]
    signature = got["/signed"][0]["x-zoho-webhook-signature"]
    assert signature == hmac.new(KEY.encode(), body, hashlib.sha256).hexdigest()


def test_projects_may_spell_its_signature_either_way(there: tuple[Zoho, Sink]) -> None:
    """And signs nothing where it is not switched on; other rules' webhooks hear nothing."""
    zoho, sink = there
    add(zoho, "projects", f"{sink.url}/a", secret=KEY)
    add(zoho, "projects", f"{sink.url}/b")
    add(zoho, "projects", f"{sink.url}/c", events=["issue.closed"])
    act(zoho, "projects", "change")
    zoho.simulator.projects.spelling = "hex"
    act(zoho, "projects", "change")
    signed = [(headers, body) for _, path, headers, body in sink.got if path == "/a"]
    digests = [hmac.new(KEY.encode(), body, hashlib.sha256).digest() for _, body in signed]
    assert [headers["x-zp-webhook-signature"] for headers, _ in signed] == [
        base64.b64encode(digests[0]).decode(),
        digests[1].hex(),
    ]
    assert {path for _, path, _, _ in sink.got} == {"/a", "/b"}
