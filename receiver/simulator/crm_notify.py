"""What a channel's delivery says and to whom it goes, for the changes of one write."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

import orjson

from receiver.simulator.crm_watch import selected
from receiver.simulator.deliver import Parcel

if TYPE_CHECKING:
    from receiver.simulator.crm_records import Change
    from receiver.simulator.crm_watch import Channel, Watch
    from receiver.simulator.deliver import Sender
    from receiver.simulator.wire import Json

WORDS = {"insert": "create", "update": "edit", "delete": "delete"}
MOST_IDS = 100


class Notify:
    """Turns changes into deliveries; a write of several records goes out as one with several ids."""

    def __init__(self, watch: Watch, sender: Sender) -> None:
        self.watch = watch
        self.sender = sender

    def publish(self, changes: list[Change]) -> None:
        told = [c for c in changes if c.op != "update" or c.fields]
        for (module, op), group in groupby(told, key=lambda c: (c.record.module, c.op)):
            together = list(group)
            for channel in self.watch.live():
                if not {f"{module}.{WORDS[op]}", f"{module}.all"} & set(channel.events):
                    continue
                wanted = [change for change in together if self._wants(channel, change)]
                for at in range(0, len(wanted), MOST_IDS):
                    self._send(channel, module, op, wanted[at : at + MOST_IDS])

    def _wants(self, channel: Channel, change: Change) -> bool:
        """A field selection holds back edits only."""
        if change.op != "update":
            return True
        own = [c for c in channel.condition if c["module"]["api_name"] == change.record.module]
        return not own or any(selected(c["field_selection"], change.fields) for c in own)

    def _send(self, channel: Channel, module: str, op: str, changes: list[Change]) -> None:
        world = self.watch.world
        moment = world.tick()
        edit = op == "update"
        body: Json = {
            "server_time": moment,
            "query_params": dict(parse_qsl(urlsplit(channel.notify_url).query)),
            "module": module,
            "resource_uri": f"{world.base}/crm/v2/{module}",
            "ids": [change.record.id for change in changes],
            "affected_fields": [{change.record.id: change.fields} for change in changes] if edit else [],
            "operation": op,
            "channel_id": channel.id,
        }
        if channel.values and edit:
            body["affected_values"] = [
                {"record_id": c.record.id, "values": {name: c.record.values[name] for name in c.fields}}
                for c in changes
            ]
        if channel.token is not None:
            body["token"] = channel.token
        self.sender.put(
            Parcel(
                product="crm",
                event=f"{module}.{WORDS[op]}",
                url=channel.notify_url,
                body=orjson.dumps(body),
                headers={"content-type": "application/json;charset=UTF-8"},
                facts=tuple(f"crm:{channel.id}:{module}:{op}:{moment}:{c.record.id}" for c in changes),
            )
        )
