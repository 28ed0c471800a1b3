"""How a product is pointed at a source: what to type into Zoho's screens, and what is fresh in a captured delivery that is sent again."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Whose = Literal["ours", "theirs", "derived", "sent", "public"]
"""Whose the secret is. `ours`: made here and typed into Zoho's screen; `theirs`: shown by Zoho and pasted here; `derived`: from
Zohook's own key; `sent`: it comes with the handshake of a source that is armed; `public`: only Zoho holds the private key."""


@dataclass(frozen=True, slots=True)
class Guide:
    """One product's. Its texts hold marks for what is configured: {url}, {name}, {secret}, {header}, {event}, and of the event
    {module} and {record} (`Deals` and `Deal` of "Deals.won").
    """

    title: str = ""
    """The product as Zoho calls it; where empty it is "Zoho" and the word of the table."""
    proof: str = ""
    """How a delivery proves itself, in half a sentence."""
    screen: str = ""
    """The steps, and what to paste on lines of their own that are indented by seven."""
    whose: Whose = "ours"
    by_event: bool = False
    """Whether nothing in the body says what happened, so that each event has a URL of its own."""
    defaults: tuple[tuple[str, str], ...] = ()
    """Settings that fit the body that is to be pasted: (key, value)."""
    ids: tuple[str, ...] = ()
    """JSON pointers to what identifies a delivery's facts, `*` for any part: new in each delivery that is sent."""
    times: tuple[str, ...] = ()
    """JSON pointers to its times: moved to now."""
    organisations: tuple[str, ...] = ()
    """JSON pointers to the organisation: that of the source, where one is configured."""


_MARK = re.compile(r"\{(url|name|secret|header|event|module|record)\}")


def filled(text: str, **values: str) -> str:
    """The text with its marks replaced. Zoho's own `${...}` and the braces of JSON stay as they are."""
    return _MARK.sub(lambda mark: values.get(mark[1], mark[0]), text)


def words_of(event: str) -> dict[str, str]:
    """What {event}, {module} and {record} stand for: `Deals.won` is of the module Deals, whose record is a Deal."""
    module = event.rpartition(".")[0].rpartition(".")[2] or event or "Deals"
    record = module.removesuffix("s") if not module.endswith("ss") else module
    return {"event": event, "module": module, "record": record}
