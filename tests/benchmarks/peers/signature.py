"""The same check of the same signature as our door's, for the peers' doors."""

import hmac
import os

SECRET = os.environ["BENCH_SECRET"].encode()


def fits(given, query, body):
    """Whether this is the hex HMAC of the sorted pairs of the query, then of the body."""
    signed = "".join(name + value for name, value in sorted(query)).encode() + body
    return hmac.compare_digest(hmac.digest(SECRET, signed, "sha256").hex(), given)
