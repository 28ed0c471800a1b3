"""What is kept of a delivery's secrets: nothing where it was accepted, else an encrypted copy, for it may be verified again.

Nobody who reads Redis, the spool's file or a page can use what came; whoever has the project's key gets the delivery as it came.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import orjson

from receiver import logs
from receiver.intake.secrecy import Names, Piece, cover, uncover
from receiver.zoho.vault import PUT_BACK

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from receiver.event import Delivery
    from receiver.intake.keyring import Lock
    from receiver.ledger.accept import Record
    from receiver.ledger.rows import DeliveryRow
    from receiver.zoho.vault import Vault


class Seals:
    """Takes the secrets out of what is kept. `known`: all secrets of the house, looked for in what was refused."""

    def __init__(self, vault: Vault, known: Iterable[str]) -> None:
        self._vault = vault
        self._known = tuple(form.encode("utf-8", "surrogatepass") for form in logs.forms(known))

    def close(self, record: Record, lock: Lock | None) -> Record:
        """The record as it may be kept. Of an accepted delivery the proof is dropped, for it has served; of any other, whatever
        may be a secret is encrypted and bound to the delivery's id.
        """
        proofs = lock.proofs if lock else Names()
        if record.verdict == "accepted" and not record.reason:
            covered, pieces = cover(record.delivery, proofs)
            if not pieces:
                return record
            # An old receiver wants it as it came, so the proof is kept, encrypted, until it has been relayed.
            sealed = self._sealed(covered, pieces) if record.forward else ""
            return replace(record, delivery=covered, sealed=sealed)
        covered, pieces = cover(record.delivery, proofs.widened(self._known))
        sealed = self._sealed(covered, pieces)
        # No source's proof is in its path, but a secret may be taken for a source's name.
        covered = replace(covered, path=logs.mask(covered.path))
        return replace(record, delivery=covered, reason=logs.mask(record.reason), sealed=sealed)

    def _sealed(self, covered: Delivery, pieces: Sequence[Piece]) -> str:
        return self._vault.seal(_context(covered.id), orjson.dumps(pieces).decode()) if pieces else ""

    def whole(self, row: DeliveryRow) -> Delivery:
        """A kept delivery as it came, for verifying it again. Raises SettingsError where its key is gone.

        Of an accepted one the proof is not there, unless it waits to be relayed.
        """
        kept = row.delivery()
        if not row.sealed:
            return kept
        return uncover(kept, orjson.loads(self._vault.open(_context(row.id), row.sealed, PUT_BACK)))


def _context(delivery_id: str) -> str:
    return f"delivery {delivery_id}"
