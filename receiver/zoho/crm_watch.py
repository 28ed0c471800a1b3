"""CRM's notification channels: who is told of which records, until when.

https://www.zoho.com/crm/developer/docs/api/v8/notifications/enable.html. Zoho may give a channel a shorter
life than was asked (an hour, where the end lies more than a week ahead), and says so in the answer only.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from receiver.errors import NotFound, Unavailable, ZohoError
from receiver.zoho import texts
from receiver.zoho.ask import Ask
from receiver.zoho.crm_lists import BASE, stamp
from receiver.zoho.crm_records import results

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from receiver.zoho import Zoho

PATH = f"{BASE}/actions/watch"
LIMIT = 50


@dataclass(frozen=True, slots=True)
class Watched:
    """What became of one channel. `expires` is the end that Zoho gave, in milliseconds since 1970; `error` is
    None where ok.
    """

    channel_id: str
    ok: bool
    expires: int | None = None
    events: tuple[str, ...] = ()
    error: ZohoError | None = None


class Channels:
    """Makes, renews, lists and ends channels. A channel is a dict in Zoho's words: channel_id (digits),
    events, notify_url, channel_expiry (a datetime with its zone, or ISO 8601), token (at most 50 characters),
    return_affected_field_values, ...
    """

    def __init__(self, zoho: Zoho) -> None:
        self._zoho = zoho

    def watch(self, channels: Sequence[Mapping[str, Any]]) -> list[Watched]:
        """Makes channels; one result for each, in order."""
        return self._put("POST", channels)

    def renew(self, channels: Sequence[Mapping[str, Any]]) -> list[Watched]:
        """Replaces channels; whatever is left out is dropped, so each must be whole. One that lapsed has the
        error code NOT_SUBSCRIBED, and is to be made anew.
        """
        return self._put("PUT", channels)

    def details(self, channel_id: str | None = None) -> Sequence[dict[str, Any]]:
        """The channels of this consent as Zoho has them, or the parts of one."""
        return list(self._pages(channel_id))

    def disable(self, channel_ids: Sequence[str]) -> list[Watched]:
        """Ends channels; one result for each, in order."""
        done: list[Watched] = []
        for ids in (channel_ids[at : at + LIMIT] for at in range(0, len(channel_ids), LIMIT)):
            ask = Ask(
                "crm",
                "DELETE",
                PATH,
                {"channel_ids": ",".join(ids)},
                pretend=_pretended([{"channel_id": one} for one in ids]),
            )
            done += self._read(ask, ids)
        return done

    def _put(self, method: str, channels: Sequence[Mapping[str, Any]]) -> list[Watched]:
        done: list[Watched] = []
        for start in range(0, len(channels), LIMIT):
            part = [
                {name: stamp(value) if name == "channel_expiry" else value for name, value in channel.items()}
                for channel in channels[start : start + LIMIT]
            ]
            # A channel has its own id, so making it twice gives one: safe to repeat.
            ask = Ask("crm", method, PATH, json={"watch": part}, safe=True, pretend=_pretended(part))
            done += self._read(ask, [str(channel.get("channel_id", "")) for channel in part])
        return done

    def _read(self, ask: Ask, ids: Sequence[str]) -> list[Watched]:
        told = results(ask, self._zoho.send(ask), len(ids), "watch")
        return [
            _watched(channel_id, result.error, result.details)
            for channel_id, result in zip(ids, told, strict=True)
        ]

    def _pages(self, channel_id: str | None) -> Iterator[dict[str, Any]]:
        for page in range(1, 100):
            ask = Ask("crm", "GET", PATH, texts({"page": page, "per_page": 200, "channel_id": channel_id}))
            try:
                data = self._zoho.send(ask).data
            except NotFound:
                return
            if data is None:
                return
            rows = data.get("watch") if isinstance(data, dict) else None
            if not isinstance(rows, list):
                raise Unavailable("crm: the answer has no list of channels", code="misfit")
            yield from (row for row in rows if isinstance(row, dict))
            if not (data.get("info") or {}).get("more_records"):
                return


def _watched(channel_id: str, error: ZohoError | None, details: Mapping[str, Any]) -> Watched:
    events = [event for event in details.get("events") or () if isinstance(event, dict)]
    ends = [end for event in events if (end := moment_of(event.get("channel_expiry"))) is not None]
    names = tuple(str(event.get("resource_name", "")) for event in events)
    return Watched(channel_id, error is None, min(ends, default=None), names, error)


def moment_of(text: object) -> int | None:
    """Milliseconds since 1970 of an ISO 8601 time with its offset; None where it is none."""
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return int(moment.timestamp() * 1000) if moment.tzinfo else None


def _pretended(channels: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "watch": [
            {
                "code": "SUCCESS",
                "status": "success",
                "message": "not sent",
                "details": {"events": [{"channel_expiry": channel.get("channel_expiry")}]},
            }
            for channel in channels
        ]
    }
