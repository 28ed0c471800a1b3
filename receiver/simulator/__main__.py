"""The simulator as a command: one JSON line says how to reach it, and it serves until told to end."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from typing import TYPE_CHECKING

import orjson

from receiver.simulator.limits import Limits
from receiver.simulator.server import REDIRECT_URI, Simulator

if TYPE_CHECKING:
    from collections.abc import Sequence


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="simulator", description="A simulated Zoho on one port.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--redirect-uri", action="append", help=f"may be repeated; default {REDIRECT_URI}")
    parser.add_argument(
        "--duplicates", type=float, default=0.0, help="share of deliveries sent twice, 0 to 1"
    )
    parser.add_argument("--token-delay", type=float, default=0.0, help="seconds that each token call takes")
    parser.add_argument("--api-delay", type=float, default=0.0, help="seconds that each API call takes")
    parser.add_argument("--access-life", type=int, default=3600, help="seconds that an access token lives")
    parser.add_argument("--scene-rate", type=float, help="starts the scene with so many actions a second")
    parser.add_argument("--scene-events", type=int, default=0, help="deliveries after which the scene ends")
    parser.add_argument("--scene-seed", type=int, default=1)
    return parser


def run(argv: Sequence[str] | None = None) -> int:
    """Serves until SIGINT or SIGTERM; 0, or 1 where the port could not be had."""
    chosen = _options().parse_args(argv)
    limits = Limits(
        token_delay=chosen.token_delay, api_delay=chosen.api_delay, access_life=chosen.access_life
    )
    simulator = Simulator(
        limits=limits,
        duplicates=chosen.duplicates,
        redirect_uris=chosen.redirect_uri or [REDIRECT_URI],
    )
    ended = threading.Event()
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: ended.set())
    try:
        simulator.start(chosen.host, chosen.port)
    except OSError as error:
        sys.stderr.write(f"cannot listen on {chosen.host}:{chosen.port}: {error.strerror}\n")
        return 1
    line = {**simulator.introduction(), "self_client_code": simulator.self_client_code(minutes=10)}
    sys.stdout.write(orjson.dumps(line).decode() + "\n")
    sys.stdout.flush()
    if chosen.scene_rate is not None:
        simulator.scene.start(rate=chosen.scene_rate, events=chosen.scene_events, seed=chosen.scene_seed)
    ended.wait()
    simulator.stop()
    return 0


if __name__ == "__main__":
    sys.exit(run())
