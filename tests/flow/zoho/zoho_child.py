"""Processes of their own that ask for a token: `python zoho_child.py FOLDER LEASE COUNT`. Each prints the generations it got in a line.

They start when the key `go` is in Redis, so that many are cold at the same moment. They are forked off the first one before anything
is opened: they share what was imported, which takes long, and nothing else.
"""

from __future__ import annotations

import os
import sys
import time

from receiver.ledger.connect import connect
from receiver.settings import Settings
from receiver.zoho.tokens import Tokens
from receiver.zoho.vault import Vault


def main(folder: str, lease: str, count: str) -> None:
    """One process for each of the count; the first waits for the others."""
    others = []
    for _ in range(int(count) - 1):
        if not (other := os.fork()):
            others.clear()
            break
        others.append(other)
    ask(folder, lease)
    ended = [os.waitpid(other, 0)[1] for other in others]
    sys.exit(any(ended))


def ask(folder: str, lease: str) -> None:
    """Waits for the word, and asks once, or goes on asking where the key `stay` is in Redis."""
    settings = Settings.load(folder)
    redis = connect(settings)
    tokens = Tokens(redis, settings, Vault.open_or_make(settings), lease=float(lease), confirm=0.05)
    redis.incr("ready")
    while not redis.exists("go"):
        time.sleep(0.002)
    got = [generation := tokens.get("acme").generation]
    if redis.exists("stay"):  # asks on and on, until the token has been replaced under its feet
        redis.incr("staying")
        while (now := tokens.get("acme").generation) == generation:
            time.sleep(0.01)
        got.append(now)
    os.write(1, f"{' '.join(map(str, got))}\n".encode())  # whole: all of them write into one pipe
    redis.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
