"""A process of its own that asks for a token: `python zoho_child.py FOLDER LEASE`. Prints the generation it got.

Starts when the key `go` is in Redis, so that many are cold at the same moment.
"""

from __future__ import annotations

import sys
import time

from receiver.ledger.connect import connect
from receiver.settings import Settings
from receiver.zoho.tokens import Tokens
from receiver.zoho.vault import Vault


def main(folder: str, lease: str) -> None:
    """Waits for the word, and asks once, or goes on asking where the key `stay` is in Redis."""
    settings = Settings.load(folder)
    redis = connect(settings)
    tokens = Tokens(redis, settings, Vault.open_or_make(settings), lease=float(lease), confirm=0.05)
    redis.incr("ready")
    while not redis.exists("go"):
        time.sleep(0.002)
    generation = tokens.get("acme").generation
    print(generation, flush=True)
    if redis.exists("stay"):  # asks on and on, until the token has been replaced under its feet
        redis.incr("staying")
        while (now := tokens.get("acme").generation) == generation:
            time.sleep(0.01)
        print(now, flush=True)
    redis.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
