"""The transport: one call to a Zoho API with a token, from the first try to the last. Knows no product's
paths.

Renews the token once where a product says that it is dead; repeats what is safe to repeat, for a few seconds;
whatever is to wait longer is raised with `retry_after`, for the job can wait better than a thread.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

import orjson

from receiver.errors import (
    ConnectionMisconfigured,
    NotFound,
    PermissionDenied,
    RateLimited,
    Unavailable,
    ZohoError,
)
from receiver.zoho.ask import Answer, Ask, check, request_of
from receiver.zoho.call_lines import call_of, status_of
from receiver.zoho.failures import error_of, pause
from receiver.zoho.files import form, framed
from receiver.zoho.limits import LONG, Limits, Place, place_of
from receiver.zoho.outcomes import Verdict, judge
from receiver.zoho.wire import NETWORK, NoReply, Opened, Reply, Wire, no_reply, shared

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager

    from redis import Redis

    from receiver.zoho.token_row import Token
    from receiver.zoho.tokens import Tokens

PATIENCE = 4.0
"""Seconds of waiting between tries, in total: a job that waits gives its thread back."""
TRIES = 4


def _no_fence() -> None:
    """Nothing fences a call that belongs to no job."""


class Transport:
    """Sends calls for all connections; safe from many threads."""

    def __init__(
        self, tokens: Tokens, redis: Redis, http: Wire | None = None, *, patience: float = PATIENCE
    ) -> None:
        self._tokens = tokens
        self._limits = Limits(redis)
        self._http = http
        self._patience = patience

    def send(
        self,
        connection: str,
        ask: Ask,
        *,
        organisation: str = "",
        behind: bool = False,
        job: str = "",
        fence: Callable[[], None] | None = None,
        calls: list[dict[str, Any]] | None = None,
    ) -> Answer:
        """The answer, or a ZohoError that says what it was. Each try is appended to `calls`; `fence` runs
        before each and may raise Fenced. `behind`: live events go before this call.
        """
        check(ask)
        record = calls if calls is not None else []
        place = place_of(connection, ask, organisation, self._tokens.accounts.settings_of(connection))
        waited, renewed = 0.0, False
        for number in range(TRIES):
            (fence or _no_fence)()
            token = self._tokens.get(connection)
            began = time.monotonic()
            patience = self._patience - waited
            lease = self._limits.enter(place, ask, patience=patience, behind=behind, fence=fence or _no_fence)
            waited += time.monotonic() - began
            reply, verdict = self._try(connection, ask, token, number > 0, record, place, lease, job)
            if verdict.error is None and isinstance(reply, Reply):
                return Answer(reply.status, verdict.data, reply.headers)
            if verdict.dead:
                if not renewed and self._tokens.invalidate(
                    connection, token.generation, _reason(ask, verdict)
                ):
                    if (
                        ask.file is not None
                    ):  # its bytes are gone; the job comes again with a token that lives
                        raise Unavailable(
                            f"{ask.product} {ask.method} {ask.path}: the token had ended",
                            code="token_renewed",
                        )
                    renewed = True
                    continue
                self._refused(connection, ask, token, verdict, renewed=renewed)
            wait = pause(ask, reply, verdict, number)
            if wait is None or waited + wait > self._patience or number == TRIES - 1:
                raise self._error(connection, ask, token, verdict, status_of(reply), place)
            waited += wait
            time.sleep(wait)
        raise Unavailable(f"{ask.method} {ask.path}: no good answer", request=request_of(ask, ask.path))

    def flush(self) -> None:
        """Tell the ledger now of all calls that are over."""
        self._limits.flush()

    @contextmanager
    def open(
        self,
        connection: str,
        ask: Ask,
        *,
        organisation: str = "",
        behind: bool = False,
        job: str = "",
        fence: Callable[[], None] | None = None,
        calls: list[dict[str, Any]] | None = None,
    ) -> Iterator[Opened]:
        """The answer with its body still to come, for files; the place at Zoho is kept until the block ends. Raises as `send`."""
        check(ask)
        record = calls if calls is not None else []
        place = place_of(connection, ask, organisation, self._tokens.accounts.settings_of(connection))
        for renewed in (False, True):
            (fence or _no_fence)()
            token = self._tokens.get(connection)
            lease = self._limits.enter(
                place, ask, patience=self._patience, behind=behind, fence=fence or _no_fence
            )
            began, verdict, opened = (
                time.monotonic(),
                Verdict(Unavailable, "cut", "it was not read to its end"),
                None,
            )
            try:
                with self._open(connection, ask, token) as opened:
                    verdict = _verdict(ask, opened)
                    if verdict.error is None and isinstance(opened, Opened):
                        yield opened
                        return
            except NETWORK as error:
                verdict = Verdict(
                    Unavailable, "cut", f"the file was cut: {str(error) or type(error).__name__}"
                )
                raise self._error(connection, ask, token, verdict, 0, place) from error
            finally:
                self._leave(place, lease, ask, opened, verdict, began, renewed, record, job)
            if not verdict.dead:
                raise self._error(connection, ask, token, verdict, status_of(opened), place)
            if renewed or not self._tokens.invalidate(connection, token.generation, _reason(ask, verdict)):
                self._refused(connection, ask, token, verdict, renewed=renewed)

    def _try(
        self,
        connection: str,
        ask: Ask,
        token: Token,
        repeated: bool,
        record: list[dict[str, Any]],
        place: Place,
        lease: str,
        job: str,
    ) -> tuple[Reply | NoReply, Verdict]:
        began = time.monotonic()
        with self._open(connection, ask, token) as opened:
            reply = _whole(ask, opened)
        if isinstance(reply, NoReply):
            verdict = Verdict(Unavailable, reply.why, reply.message)
        else:
            verdict = judge(ask.product, reply.status, reply.headers, reply.body)
        self._leave(place, lease, ask, reply, verdict, began, repeated, record, job)
        return reply, verdict

    def _open(self, connection: str, ask: Ask, token: Token) -> AbstractContextManager[Opened | NoReply]:
        headers = {**ask.headers, "Authorization": f"Zoho-oauthtoken {token.value}"}
        body: bytes | Iterable[bytes] | None = None
        if ask.file is not None:
            framing, body = framed(ask.file)
            headers.update(framing)
        elif ask.form is not None:
            framing, body = form(ask.form)
            headers.update(framing)
        elif ask.json is not None:
            body = orjson.dumps(ask.json)
            headers["Content-Type"] = "application/json"
        return (self._http or shared()).open(
            ask.method,
            _url(self._tokens, token, connection, ask),
            params=ask.params or None,
            headers=headers,
            body=body,
            deadline=ask.deadline,
        )

    def _leave(
        self,
        place: Place,
        lease: str,
        ask: Ask,
        reply: Reply | Opened | NoReply | None,
        verdict: Verdict,
        began: float,
        repeated: bool,
        record: list[dict[str, Any]],
        job: str,
    ) -> None:
        line = call_of(ask, reply, verdict, began, repeated)
        self._limits.leave(place, lease, ask, verdict, {**line, "job": job} if job else line)
        record.append(line)

    def _error(
        self, connection: str, ask: Ask, token: Token, verdict: Verdict, status: int, place: Place
    ) -> ZohoError:
        error = error_of(ask, verdict, _url(self._tokens, token, connection, ask), status)
        if isinstance(error, RateLimited) and (verdict.retry_after or 0) >= LONG:
            error.hold = place.name
        return error

    def _refused(
        self, connection: str, ask: Ask, token: Token, verdict: Verdict, *, renewed: bool
    ) -> NoReturn:
        """A token that was just made is refused as well, so it is not the token."""
        if renewed:
            self._tokens.clear(connection, token.generation, _reason(ask, verdict))
        request = request_of(ask, _url(self._tokens, token, connection, ask))
        if verdict.ambiguous:
            raise PermissionDenied(
                f"{ask.product}: {verdict.message}: the user or the consent may not do this",
                code=verdict.code,
                status=401,
                request=request,
            )
        raise ConnectionMisconfigured(
            f"{ask.product} refuses a token that was just made ({verdict.code}): is dc the data centre where "
            "the organisation lives?",
            connection=connection,
            code=verdict.code,
            status=401,
            request=request,
        )


def _whole(ask: Ask, opened: Opened | NoReply) -> Reply | NoReply:
    if isinstance(opened, NoReply):
        return opened
    try:
        return opened.whole()
    except NETWORK as error:
        return no_reply(error, ask.deadline)


def _verdict(ask: Ask, opened: Opened | NoReply) -> Verdict:
    """What an answer means whose body, where it is a file, is not read here."""
    if (
        isinstance(opened, Opened)
        and opened.status == 200
        and "json" not in opened.headers.get("content-type", "")
    ):
        return Verdict()
    reply = _whole(ask, opened)
    if isinstance(reply, NoReply):
        return Verdict(Unavailable, reply.why, reply.message)
    found = judge(ask.product, reply.status, reply.headers, reply.body)
    if found.error is None:
        return Verdict(NotFound, "no_file", "there is no file")
    return found


def _reason(ask: Ask, verdict: Verdict) -> str:
    return f"{ask.product}:{verdict.code}"


def _url(tokens: Tokens, token: Token, connection: str, ask: Ask) -> str:
    environment = tokens.accounts.settings_of(connection).environment
    return tokens.centre(token, connection).base(ask.product, environment) + ask.path
