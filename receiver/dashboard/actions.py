"""What changes something: signing in and out, retries, reruns, routing again. All behind the guard; each ends in See Other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from receiver import logs
from receiver.dashboard import access
from receiver.dashboard.house import back, form, house, page, session
from receiver.routing import replays

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from receiver.ledger import runs

log = logs.get("dashboard")
SHOWN_MOST = 500
"""Jobs that one form may name."""

_WRONG = {
    "wrong": (403, "That is not the password."),
    "later": (429, "Too many wrong passwords in the last minute. Wait a minute and try again."),
}


def sign_in_page(request: Request) -> Response:
    """The form that asks for the password; whoever is signed in goes on."""
    to = _local(request.query_params.get("to", "/"))
    return back(to) if session(request) else page(request, "sign_in.html", to=to, trouble="")


def sign_in(request: Request) -> Response:
    """Take a password. There is no CSRF token before there is a session: the guard has compared the Origin."""
    here = house(request)
    to = _local(_field(request, "to") or "/")
    address = request.client.host if request.client else ""
    found = access.sign_in(here.redis, here.settings, _field(request, "password"), address)
    if isinstance(found, str):
        status, words = _WRONG[found]
        log.warning("sign_in.failed", remote=address, why=found)
        return page(request, "sign_in.html", status, to=to, trouble=words)
    log.info("sign_in", remote=address, role=found.role)
    name, answer = access.cookie(here.settings), back(to)
    answer.set_cookie(
        name,
        found.token,
        max_age=access.LIFE,
        path="/",
        httponly=True,
        samesite="lax",
        secure=name.startswith("__Host-"),
    )
    return answer


def sign_out(request: Request) -> Response:
    """End the session."""
    here, found = house(request), session(request)
    if found:
        access.sign_out(here.redis, found)
    name, answer = access.cookie(here.settings), back("/sign-in")
    answer.delete_cookie(name, path="/", httponly=True, samesite="lax", secure=name.startswith("__Host-"))
    return answer


def run_jobs(request: Request) -> Response:
    """Retry or rerun the jobs that the form names, at once."""
    mode: runs.Mode = "rerun" if _field(request, "mode") == "rerun" else "retry"
    here = house(request)
    jobs = form(request).get("job", [])[:SHOWN_MOST]
    words = replays.at_once(here.redis, mode, jobs, here.settings.worker.again, by=_by(request))
    log.info("replay", jobs=jobs, mode=mode, answers=words)
    return back(_local(_field(request, "back")), *_said(words, "rerun" if mode == "rerun" else "retried"))


def route_again(request: Request) -> Response:
    """Ask the router once more which handlers want an event."""
    here, event = house(request), request.path_params["id"]
    again = here.settings.worker.again
    [word] = replays.at_once(here.redis, "retry", [event], again, by=_by(request), kind="e")
    log.info("event.routed_again", event_id=event, answer=word)
    return back(f"/events/{event}" if word != "gone" else "/events", "routed" if word == "ok" else word)


def _by(request: Request) -> str:
    known = session(request)
    return f"dashboard, {known.role}" if known else "dashboard"


def _said(words: list[str], good: str) -> tuple[str, int]:
    if len(words) == 1:
        return (f"{good}1", 1) if words[0] == "ok" else (words[0], 0)
    done = words.count("ok")
    return (good, done) if done else ("none", 0)


def _field(request: Request, name: str) -> str:
    return form(request).get(name, [""])[0]


def _local(path: str) -> str:
    """A page of ours to go to. Anything else would let a link to the sign-in lead out of the house."""
    plain = path.startswith("/") and not path.startswith("//") and "\\" not in path
    return path if plain and all(" " < letter < "\x7f" for letter in path) else "/"
