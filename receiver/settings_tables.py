"""The tables of zohook.toml: those that have grown, and what all of them share."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from receiver import addresses

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_SIZES = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "B": 1}


def seconds(value: object) -> float:
    """A length of time in seconds, from a number or from words such as "3d", "90s", "1h 30m"."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if re.fullmatch(r"\d+(\.\d+)?", str(value).strip()):  # the environment has no numbers
        return float(str(value))
    parts = re.findall(r"(\d+(?:\.\d+)?)\s*([smhdw])", str(value))
    if not parts or re.sub(r"(\d+(?:\.\d+)?)\s*[smhdw]|\s", "", str(value)):
        raise ValueError(
            f'{value!r} is no length of time; write a number of seconds, or "90s", "15m", "6h", "3d"'
        )
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def octets(value: object) -> int:
    """A size in bytes, from a number or from words such as "4GB", "512MiB"."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMG]?i?B|)", str(value).strip(), re.IGNORECASE)
    if not match:
        raise ValueError(f'{value!r} is no size; write a number of bytes, or "512MB", "4GB"')
    return int(float(match[1]) * _SIZES[match[2].upper() or "B"])


def _named(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9_]+", value):
        raise ValueError(f"{value!r} is no name; use small letters, digits and _ only")
    return value


def _several(value: object) -> object:
    return (value,) if isinstance(value, str) else value


Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False), BeforeValidator(seconds)]
Octets = Annotated[int, BeforeValidator(octets)]
Name = Annotated[str, AfterValidator(_named)]
Organisations = dict[str, str]
ClientType = Literal["self", "server", "credentials", "device", "mobile", "browser"]


def _organisations(value: object) -> object:
    return {"": str(value)} if isinstance(value, str | int) else value


class Table(BaseModel):
    """A table of zohook.toml: an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class CallLimits(Table):
    """`[connections.NAME.limits.PRODUCT]`: what may be called, instead of the least that every edition allows; 0 is no limit."""

    in_flight: int | None = Field(default=None, ge=0)
    per_minute: int | None = Field(default=None, ge=0)
    window: float | None = Field(default=None, gt=0, le=3600)
    """Seconds that `per_minute` counts over, where it is no minute."""
    credits: int | None = Field(default=None, ge=0)
    """In 24 hours: CRM's and Desk's credits, the calls a day of the others."""


class ConnectionSettings(Table):
    """`[connections.NAME]`: one consent at Zoho and the organisations that it serves."""

    dc: str = "us"
    client: ClientType = "self"
    """The type of the client in Zoho's API console; it decides how a consent is had."""
    client_id: str = ""
    redirect_uri: str = ""
    scopes: tuple[str, ...] = ()
    environment: Literal["production", "sandbox", "developer"] = "production"
    """Which CRM the consent was given for: a sandbox and a developer edition have hosts of their own."""
    soid: str = ""
    """Client credentials: the organisation, as `ZohoCRM.ID` or `ZohoDesk.ID`; made of the configured ids where it is left out."""
    customers: bool = False
    """Each customer consents for himself, by a link of his own; he becomes a connection called after this one."""
    crm: Annotated[Organisations, BeforeValidator(_organisations)] = {}
    books: Annotated[Organisations, BeforeValidator(_organisations)] = {}
    inventory: Annotated[Organisations, BeforeValidator(_organisations)] = {}
    invoice: Annotated[Organisations, BeforeValidator(_organisations)] = {}
    billing: Annotated[Organisations, BeforeValidator(_organisations)] = {}
    expense: Annotated[Organisations, BeforeValidator(_organisations)] = {}
    desk: Annotated[Organisations, BeforeValidator(_organisations)] = {}
    mail: Annotated[Organisations, BeforeValidator(_organisations)] = {}
    """Ids of mail accounts."""
    projects: Annotated[Organisations, BeforeValidator(_organisations)] = {}
    """Ids of portals."""
    trigger: tuple[str, ...] | None = None
    edition: Literal["free", "standard", "professional", "enterprise", "ultimate"] = "standard"
    """CRM's: how many calls may be in flight, two fewer than Zoho lets in."""
    limits: dict[str, CallLimits] = {}

    @classmethod
    def products(cls) -> tuple[str, ...]:
        """The products that have organisation ids."""
        return tuple(name for name, field in cls.model_fields.items() if field.annotation == Organisations)

    def organisation(self, product: str, name: str = "") -> str:
        """The organisation id of a product under this consent, or "" where none is configured."""
        known: Organisations = getattr(self, product, {}) or {}
        if name in known:
            return known[name]
        return next(iter(known.values()), "") if not name else ""


def _zone(value: str) -> str:
    if value:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(
                f'there is no time zone {value!r}; write a name such as "Europe/Berlin"'
            ) from None
    return value


def _time_format(value: str) -> str:
    if value:
        try:
            datetime.strptime(datetime.now(UTC).strftime(value), value)  # noqa: DTZ007 - whether it is one, no more
        except ValueError as error:
            raise ValueError(
                f'{value!r} is no form of a time ({error}); write one such as "%d/%m/%Y %H:%M:%S"'
            ) from None
    return value


class HmacSettings(Table):
    """`hmac` of a custom source: how its sender signs."""

    header: str = Field(min_length=1)
    hash: Literal["sha256", "sha384", "sha512", "sha1"] = "sha256"
    encoding: Literal["hex", "base64", "base64url"] = "hex"
    prefix: str = ""
    """What stands before the signature, such as "sha256="."""
    signed: str = "{body}"
    """What is signed, of the parts {body}, {timestamp}, {query}, {path}, {method} and {header:NAME}."""
    part: str = ""
    """Where the header holds several parts (`t=1700000000,v1=ab12`): the name of the one that is the signature."""
    timestamp: str = ""
    """The header with the time of signing, or with `part` the name of the part that holds it; held against `tolerance`."""


class SourceSettings(Table):
    """One entry of `[sources]`: a configured way in."""

    product: str
    connection: str = ""
    events: tuple[str, ...] = ()
    id: str = ""
    """JSON pointer to the record's id, for products whose bodies the admin writes."""
    time: str = ""
    """JSON pointer to the record's modified time."""
    type: str = ""
    """JSON pointer to what happened, where the body says it and the URL does not."""
    timezone: Annotated[str, AfterValidator(_zone)] = ""
    """The zone of times that come without their offset."""
    time_format: Annotated[str, AfterValidator(_time_format)] = ""
    """The form of times that are written for people, as Python's strptime takes it."""
    organisation: str = ""
    secret_header: str = "x-webhook-token"  # noqa: S105 - a header's name
    secret_parameter: str = ""
    secret_user: str = ""
    """The user of HTTP basic authentication, whose password the secret is."""
    secret_prefix: str = ""
    """What stands before the secret in its header, such as "Bearer "."""
    hmac: HmacSettings | None = None
    audience: tuple[str, ...] = ()
    """Desk: the ids of the webhooks whose JWT is taken; empty takes any of the organisation."""
    dedupe: str | Literal[False] = ""
    """JSON pointers, with commas, whose values identify a fact; `false` switches the check off."""
    dedupe_for: Seconds | None = None
    body_limit: Octets = 2**20
    public_keys: Annotated[tuple[str, ...], BeforeValidator(_several)] = ()
    """SalesIQ and Cliq: the RSA keys that sign, as PEM or as the bare base64 that Zoho shows; both of two while they are rotated."""
    tolerance: Seconds = 300.0
    """Payments, ZeptoMail and `hmac`: how far the time in a signature may be from ours."""
    live_only: bool = False
    """Payments: events of its test mode are put into quarantine."""
    secure: bool = False
    """Commerce: its webhooks are signed as those of Books, and nothing else is taken as proof."""
    signature_base64: bool = False
    """The Books family: a signature may be spelled in base64 too. Zoho's page does not say how it is; hex is what others see."""
    forward: str = ""
    """An old receiver, to which each verified delivery is relayed as it came."""
    forward_allow: Annotated[tuple[str, ...], BeforeValidator(_several)] = ()
    """Hosts, addresses or networks that `forward` may lead to though they are not public; a host named here may do without https."""
    forward_for: Seconds = 86_400.0
    """How long it is tried."""

    @model_validator(mode="after")
    def _leads_somewhere(self) -> Self:
        addresses.check(self.forward, self.forward_allow, "forward")
        return self

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"product": value} if isinstance(value, str) else value
