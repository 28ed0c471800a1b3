"""Products whose proof is a signature of the raw body in a header of their own: an HMAC, or one that a public key verifies."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from receiver.errors import Unauthenticated
from receiver.sources import rsa, signing
from receiver.sources.product import Product, need_secret
from receiver.sources.source import Verified

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from receiver.event import Delivery
    from receiver.sources.source import Keys, Need, Way


class SignedBody(Product):
    """A product says which header bears the signature, and where in its pages that is switched on."""

    cure: str

    def _given(self, delivery: Delivery) -> str:
        given = delivery.header(self.header)
        if not given:
            raise Unauthenticated(f"no {self.header} came: {self.cure}")
        return given


class HmacBody(SignedBody):
    """HMAC-SHA256 of the body, with the secret's text as the key."""

    spellings: Sequence[Callable[[str], bytes | None]] = (signing.from_base64,)

    def verify(self, delivery: Delivery, way: Way, keys: Keys) -> Verified:
        """The header is the digest of these very bytes under one of the secrets."""
        given = self._given(delivery)
        need_secret(way, keys)
        digests = [spelling(given) for spelling in self.spellings]
        which = signing.which_hmac(next(filter(None, digests), None), keys.secrets, (delivery.body,))
        if which is None:
            raise Unauthenticated(
                f"{self.header} does not fit the body, or does not come of the secret of {way.name}"
            )
        return Verified("hmac", which)

    def sign(self, delivery: Delivery, way: Way, secret: str) -> Delivery:  # noqa: ARG002
        """The signature of the body, in base64."""
        digest = signing.hmac_sha256(secret, delivery.body)
        return signing.bearing(delivery, self.header, base64.b64encode(digest).decode())


class RsaBody(SignedBody):
    """RSA with SHA-256 over the body, in base64; the public keys are those of the settings, and no other is ever looked for."""

    needs: Need = "public"

    def verify(self, delivery: Delivery, way: Way, keys: Keys) -> Verified:
        """The header is a signature of these very bytes that one of the keys verifies."""
        which = rsa.which_rsa(self._given(delivery), keys.public, delivery.body)
        if which is None:
            raise Unauthenticated(
                f"{self.header} does not fit the body, or is not made with a key of [sources.{way.name}] public_keys"
            )
        return Verified("rsa", which)

    def sign(self, delivery: Delivery, way: Way, secret: str) -> Delivery:  # noqa: ARG002
        """The signature in its header. `secret` is the signature: nobody but Zoho, or the simulator, can make one."""
        return signing.bearing(delivery, self.header, secret)
