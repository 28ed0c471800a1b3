"""One refresh by the process that holds the lock: ask Zoho, confirm what is grave, store what was learnt,
give the lock back.
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from receiver import logs
from receiver.zoho.accounts import Accounts, entry
from receiver.zoho.scopes import needed_scopes
from receiver.zoho.token_answers import Answer
from receiver.zoho.token_rows import Learnt, Rows

if TYPE_CHECKING:
    from receiver.zoho.token_row import Row
    from receiver.zoho.vault import Vault

COOLDOWN = 600.0
"""Seconds without a token call after a throttle: the length of Zoho's window."""
RECHECK = 600.0
"""Seconds after which a configuration that Zoho refused is tried again, should nothing have changed."""


class Refresh:
    """The refresh_token grant (https://www.zoho.com/accounts/protocol/oauth/web-apps/refresh-token.html)."""

    def __init__(self, rows: Rows, accounts: Accounts, vault: Vault, confirm: float, pause: float) -> None:
        self._rows = rows
        self._accounts = accounts
        self._vault = vault
        self._confirm = confirm
        self._pause = pause

    def run(self, row: Row, fence: str) -> Row:
        """The row afterwards, renewed or not. The caller holds the lock under `fence`, and has it no more
        then.
        """
        began = time.monotonic()
        answer = Answer("transient", "not_asked", "the refresh could not be prepared")
        try:
            answer, asked = self._ask(row, fence)
        finally:
            if answer.code == "not_asked":
                self._rows.settle(
                    row.connection, fence, row.generation, self._learnt(row, answer, began, began)
                )
        return self._rows.settle(
            row.connection, fence, row.generation, self._learnt(row, answer, began, asked)
        )

    def trial(self, row: Row, fence: str, secret: str) -> Answer:
        """The answer to one call with a secret that is not in use yet. A token that comes of it is stored; what Zoho
        says against the secret is not, for the old one may be good.
        """
        began = time.monotonic()
        centre = self._accounts.centre(row.connection, row.dc)
        answer = self._accounts.ask(row.connection, centre, secret, self._form(row))
        learnt = self._learnt(row, answer, began, began)
        if answer.kind not in {"ok", "throttled"}:
            learnt = Learnt(learnt.entry, {})
        self._rows.settle(row.connection, fence, row.generation, learnt)
        return answer

    def _ask(self, row: Row, fence: str) -> tuple[Answer, float]:
        """The answer, and when the call that got it began. A second call, with its own place in the budget,
        is made where the first says that the refresh token is dead, and where a second client secret is at
        hand.
        """
        centre = self._accounts.centre(row.connection, row.dc)
        secrets = self._accounts.secrets(row.connection, centre.name)
        form = self._form(row)
        asked = time.monotonic()
        answer = self._accounts.ask(row.connection, centre, secrets[0], form)
        if (
            answer.code == "invalid_client_secret"
            and len(secrets) > 1
            and self._rows.again(row.connection, fence)
        ):
            asked = time.monotonic()
            answer = self._accounts.ask(row.connection, centre, secrets[1], form)
        if answer.kind != "revoked":
            return answer, asked
        time.sleep(self._confirm)
        if not self._rows.again(row.connection, fence):
            return Answer(
                "transient", answer.code, "Zoho says that the consent is gone; not confirmed yet"
            ), asked
        asked = time.monotonic()
        return self._accounts.ask(row.connection, centre, secrets[0], form), asked

    def _form(self, row: Row) -> dict[str, str]:
        """https://www.zoho.com/accounts/protocol/oauth/self-client/client-credentials-flow.html has no refresh token: each token is
        asked for by the client itself.
        """
        known = self._accounts.settings_of(row.connection)
        if known.client != "credentials":
            token = self._vault.open(f"{row.connection} refresh", row.refresh)
            logs.hide(token)
            return {"grant_type": "refresh_token", "refresh_token": token}
        scopes = row.scopes or needed_scopes(self._accounts.settings, self._accounts.of(row.connection)[0])
        soid = self._accounts.soid(row.connection)
        return {"grant_type": "client_credentials", "scope": ",".join(scopes), "soid": soid}

    def _learnt(self, row: Row, answer: Answer, began: float, asked: float) -> Learnt:
        own = self._accounts.settings_of(row.connection).client == "credentials"
        line = entry("client_credentials" if own else "refresh_token", answer, began, row.generation)
        told: dict[str, str | int] = {"outcome": answer.kind, "why": answer.message}
        if answer.kind == "ok":
            told |= {"state": "ok", "access": self._vault.seal(f"{row.connection} access", answer.access)}
            told |= {"life": answer.life}
            if answer.scopes:
                told["scopes"] = " ".join(answer.scopes)
            return Learnt(line, told, age=time.monotonic() - asked, life=answer.life, refreshed=True)
        if answer.kind == "throttled":
            return Learnt(line, told, cooldown=COOLDOWN + random.uniform(0, 60))  # noqa: S311 - spreads load, guards nothing
        if answer.kind == "revoked":
            return Learnt(line, told | {"state": "revoked"})
        if answer.kind == "misconfigured":
            client = self._accounts.fingerprint(row.connection)
            return Learnt(line, told | {"state": "misconfigured", "client": client}, pause=RECHECK)
        return Learnt(line, told, pause=self._pause)
