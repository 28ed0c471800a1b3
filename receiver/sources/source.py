"""What a source is: how one product's deliveries are told apart, verified and read. Pure, without I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import tzinfo

    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    from receiver.event import Delivery, Event
    from receiver.sources.guide import Guide
    from receiver.sources.recipe import Recipe


Need = Literal["secret", "own", "jwks", "public", "told"]
"""What a proof is checked with: a secret of the settings, one of Zohook's own making, public keys that the product's host
shows, public keys of the settings, or a secret that the product tells at its first request."""


@dataclass(frozen=True, slots=True)
class Way:
    """One configured source: what zohook.toml says of it. The product is configured, never guessed."""

    name: str
    product: str
    connection: str = ""
    events: tuple[str, ...] = ()
    id: str = ""
    time: str = ""
    organisation: str = ""
    secret_header: str = "x-webhook-token"  # noqa: S105 - a name, no secret
    secret_parameter: str = ""
    audience: tuple[str, ...] = ()
    dedupe: str | bool = ""
    dedupe_for: float | None = None
    tolerance: float = 300.0
    live_only: bool = False
    secure: bool = False
    signature_base64: bool = False
    type: str = ""
    zone: tzinfo | None = None
    time_format: str = ""
    secret_prefix: str = ""
    secret_user: str = ""
    hmac: Recipe | None = None


class Listing(Protocol):
    """What zohook.toml says of the events of a source."""

    @property
    def product(self) -> str: ...
    @property
    def events(self) -> tuple[str, ...]: ...
    @property
    def type(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys that a verifier may use, handed to it by the keyring: the verifier itself looks nothing up.

    `secrets` and `public` (RSA keys) are newest first, any of them fits; `jwks` maps key ids to public key objects of
    `cryptography`; `issuer` is the organisation whose tokens are taken, as the token's `iss` says it (`orgId:123`).
    """

    secrets: tuple[str, ...] = ()
    public: tuple[RSAPublicKey, ...] = ()
    jwks: Mapping[str, Any] = field(default_factory=dict)
    issuer: str = ""


class Verified(NamedTuple):
    """How a delivery proved itself: `by` is hmac, rsa, jwt, token or static; `secret` is which secret or key fitted."""

    by: str
    secret: int = 0
    organisation: str = ""


@dataclass(frozen=True, slots=True)
class Offer:
    """A secret that a product tells at its first request; `signed` says whether a delivery comes along with it."""

    secret: str
    signed: bool


@dataclass(slots=True)
class Parsed:
    """The facts of a delivery; `bad` holds a reason for each element that could not be read."""

    events: list[Event] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)


class Source(Protocol):
    """One product's way in. Implementations are stateless."""

    product: str
    methods: frozenset[str]
    """HTTP methods that carry deliveries; handshakes may use others."""
    guide: Guide
    """What to type into Zoho's screens, and what is fresh in a captured delivery that is sent again."""
    proof_members: frozenset[str]
    """Names in a JSON body whose values are proof, and so are not kept in clear."""
    needs: Need
    knows: frozenset[str]
    """Those of the settings for some products only that mean something to this one."""

    def fingerprint(self, delivery: Delivery) -> bool:
        """Whether a delivery looks like this product's, to name the mistake of a wrong source."""
        ...

    def handshake(self, delivery: Delivery, way: Way) -> bool:
        """Whether this is an unsigned probe of the product, to be answered 200 without any effect."""
        ...

    def verify(self, delivery: Delivery, way: Way, keys: Keys) -> Verified:
        """Proof that the product sent these bytes, or Unauthenticated; BadFraming for a doubled header."""
        ...

    def sign(self, delivery: Delivery, way: Way, secret: str) -> Delivery:
        """The delivery with the proof that the product gives it, for `zohook send`: what `verify` takes."""
        ...

    def parse(self, delivery: Delivery, way: Way, verified: Verified) -> Parsed:
        """The events of an authenticated delivery; raises Malformed where it cannot be read at all."""
        ...

    def window(self, way: Way) -> float:
        """For how many seconds a redelivery of a fact is recognised; 0 where the check is off."""
        ...

    def lacks(self, delivery: Delivery, keys: Keys) -> bool:
        """Whether the delivery needs a key that is not among these, so that the keyring should look for newer ones."""
        ...

    def offered(self, delivery: Delivery, keys: Keys) -> Offer | None:
        """The secret that this request tells us, if it does; whether it may be taken is not decided here."""
        ...

    def named(self, word: str, way: Way | None = None) -> str:
        """The event type for a word of `events`: "invoice.paid" of a books source is `books.invoice.paid`."""
        ...

    def guided(self, way: Way) -> Guide:
        """The guide for a source that is configured so."""
        ...

    def settled(self, way: Way) -> Way:
        """The way with what the product itself lays down, whatever zohook.toml says."""
        ...

    def expected(self, way: Way) -> Sequence[str]:
        """Patterns of the event types that this source may give beside those of `types`."""
        ...

    def problems(self, way: Way) -> Sequence[str]:
        """What is wrong with the way, each with its cure, before the first delivery shows it."""
        ...

    def native(self, word: str) -> str | None:
        """Our event pattern for one of the product's own words ("Deals.edit", "Ticket_Add"), or None."""
        ...

    def types(self) -> Sequence[str]:
        """Patterns of the event types that this product is known to give, for "did you mean"."""
        ...
