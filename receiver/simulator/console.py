"""The control plane under /_console, for tests and the demo; nothing at Zoho is like it."""

from __future__ import annotations

import base64
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from receiver.simulator.crm_records import Problem
from receiver.simulator.limits import Limits
from receiver.simulator.outgoing import Hook
from receiver.simulator.wire import Answer, Call, Refused, whole

if TYPE_CHECKING:
    from collections.abc import Callable

    from receiver.simulator.server import Simulator
    from receiver.simulator.wire import Json


class Console:
    """Each path is one method; what a caller gets wrong is a 400 with the reason."""

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator
        self._acts: dict[tuple[str, str], Callable[[Call, Json], Any]] = {
            ("GET", "introduction"): lambda *_: simulator.introduction(),
            ("POST", "self_client_code"): self._self_client_code,
            ("POST", "clients"): self._client,
            ("POST", "redirect_uris"): self._redirect_uri,
            ("POST", "device"): self._device,
            ("GET", "accounts"): lambda *_: simulator.accounts.summary(),
            ("POST", "revoke"): self._revoke,
            ("POST", "kill_access_tokens"): lambda *_: {"killed": simulator.accounts.kill_access_tokens()},
            ("GET", "journal"): self._journal,
            ("DELETE", "journal"): self._clear_journal,
            ("POST", "faults"): lambda _, given: asdict(simulator.faults.add(**given)),
            ("DELETE", "faults"): self._clear_faults,
            ("GET", "limits"): lambda *_: asdict(simulator.limits),
            ("PATCH", "limits"): self._limits,
            ("GET", "records"): self._records,
            ("POST", "records"): self._change,
            ("GET", "webhooks"): self._webhooks,
            ("POST", "webhooks"): self._webhook,
            ("DELETE", "channels"): self._drop_channels,
            ("GET", "tally"): lambda *_: simulator.scene.status()["total"],
            ("POST", "drain"): lambda _, given: {"drained": simulator.drain(float(given.get("timeout", 10)))},
            ("POST", "keys"): lambda _, given: {"kid": simulator.desk.hooks.keys.rotate(**given)},
            ("POST", "acts"): self._act,
            ("POST", "signature"): self._signature,
            ("GET", "public_keys"): self._public_keys,
            ("GET", "scene"): lambda *_: simulator.scene.status(),
            ("POST", "scene"): self._scene,
            ("DELETE", "scene"): self._stop_scene,
        }

    def handle(self, call: Call) -> Answer:
        act = self._acts.get((call.method, "/".join(call.parts[1:])))
        if act is None:
            return Answer(
                404, {"error": "no such console path", "paths": sorted(" ".join(k) for k in self._acts)}
            )
        given = call.json() if call.body else {}
        if not isinstance(given, dict):
            return Answer(400, {"error": "the body is no JSON object"})
        try:
            return Answer(200, act(call, given))
        except Refused as refused:
            return Answer(400, {"error": refused.answer.body})
        except Problem as problem:
            return Answer(400, {"error": problem.entry})
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            return Answer(400, {"error": f"{type(error).__name__}: {error}"})

    def _self_client_code(self, _: Call, given: Json) -> Json:
        return {"code": self.simulator.self_client_code(**given)}

    def _client(self, _: Call, given: Json) -> Json:
        client = self.simulator.accounts.add_client(
            given["kind"], given["name"], given.get("redirect_uris", [])
        )
        return {"client_id": client.id, "client_secret": client.secret, "kind": client.kind}

    def _redirect_uri(self, _: Call, given: Json) -> Json:
        client = self.simulator.accounts.clients[given.get("client_id", self.simulator.client_id)]
        client.redirect_uris.append(given["redirect_uri"])
        return {"redirect_uris": client.redirect_uris}

    def _device(self, _: Call, given: Json) -> Json:
        return {"found": self.simulator.tokens.decide(given["user_code"], given["decision"])}

    def _revoke(self, _: Call, given: Json) -> Json:
        return {"revoked": self.simulator.accounts.revoke(given.get("token", self.simulator.refresh_token))}

    def _journal(self, call: Call, _: Json) -> Json:
        what = call.param("what", "calls")
        if what not in ("calls", "deliveries"):
            raise ValueError("what: calls or deliveries")
        journal = self.simulator.journal
        return {what: journal.dump(what, whole(call.param("last"), 100) or 100), "counts": journal.counts}

    def _clear_journal(self, *_: Any) -> Json:
        self.simulator.journal.clear()
        return {"cleared": True}

    def _clear_faults(self, *_: Any) -> Json:
        self.simulator.faults.clear()
        return {"cleared": True}

    def _limits(self, _: Call, given: Json) -> Json:
        known = {field.name for field in fields(Limits)}
        if set(given) - known:
            raise ValueError(f"no such limit: {', '.join(sorted(set(given) - known))}")
        with self.simulator.world.lock:
            for name, value in given.items():
                setattr(self.simulator.limits, name, value)
        return asdict(self.simulator.limits)

    def _records(self, call: Call, _: Json) -> Json:
        return {"records": self._product(call.param("product")).all(call.param("kind"))}

    def _product(self, name: str) -> Any:
        return {"crm": self.simulator.crm, "books": self.simulator.books, "desk": self.simulator.desk}[name]

    def _change(self, _: Call, given: Json) -> Json:
        """`action` is create, update, delete (CRM), pay (Books) or comment (Desk)."""
        product, action = self._product(given["product"]), given["action"]
        if action == "create":
            return {"record": product.create(given["kind"], given["values"])}
        if action == "update":
            return {"record": product.update(given["kind"], given["id"], given["values"])}
        if action == "delete":
            product.delete(given["kind"], given["id"])
            return {"deleted": given["id"]}
        if action == "pay":
            return {"record": product.pay(given["id"])}
        if action == "comment":
            return {
                "record": product.comment(given["id"], given["content"], public=given.get("public", False))
            }
        raise ValueError("action: create, update, delete, pay or comment")

    def _webhooks(self, *_: Any) -> Json:
        simulator = self.simulator
        with simulator.world.lock:
            return {
                "crm_channels": [asdict(channel) for channel in simulator.crm.watch.live()],
                "crm_webhooks": [asdict(rule) for rule in simulator.crm.workflow.rules],
                "books_webhooks": [asdict(hook) for hook in simulator.books.hooks.hooks],
                "desk_webhooks": [hook.shown() for hook in simulator.desk.hooks.hooks.values()],
                **{
                    f"{name}_webhooks": [asdict(hook) for hook in each.hooks]
                    for name, each in simulator.outgoing.items()
                },
            }

    def _webhook(self, _: Call, given: Json) -> Json:
        """What an administrator sets up in the pages of a product."""
        name = given.pop("product")
        if name in self.simulator.outgoing:  # without the lock: the URL is tried
            return asdict(self.simulator.outgoing[name].add_webhook(**given))
        product = self._product(name)
        with self.simulator.world.lock:
            made: Any = product.add_webhook(**given)
        return asdict(made)

    def _act(self, _: Call, given: Json) -> Json:
        """What people do in a product of which only the webhooks are played: `act`, and its arguments."""
        product, act = self.simulator.outgoing[given.pop("product")], given.pop("act")
        if act not in product.acts:
            raise ValueError(f"act: {', '.join(product.acts)}")
        return {"told": getattr(product, act)(**given)}

    def _signature(self, _: Call, given: Json) -> Json:
        """What SalesIQ or Cliq would prove these bytes (in base64) with, or Desk a delivery to this webhook of this organisation."""
        if given["product"] == "desk":
            keys, now = self.simulator.desk.hooks.keys, self.simulator.world.now()
            return {"proof": keys.token(given["org"], given["webhook"], now)}
        product = {"salesiq": self.simulator.salesiq, "cliq": self.simulator.cliq}[given["product"]]
        (proof,) = product.proof(Hook(id="", url=""), base64.b64decode(given["body"], validate=True)).values()
        return {"proof": proof}

    def _public_keys(self, *_: Any) -> Json:
        return {name: getattr(self.simulator, name).public_keys() for name in ("salesiq", "cliq")}

    def _drop_channels(self, *_: Any) -> Json:
        with self.simulator.world.lock:
            gone = list(self.simulator.crm.watch.channels)
            self.simulator.crm.watch.channels.clear()
        return {"dropped": gone}

    def _scene(self, _: Call, given: Json) -> Json:
        self.simulator.scene.start(**given)
        return self.simulator.scene.status()

    def _stop_scene(self, *_: Any) -> Json:
        self.simulator.scene.stop()
        return self.simulator.scene.status()
