"""Clients that we did not write, against our simulator: what it plays must be Zoho enough for them.

    python tests/outside/run.py

They are installed into an environment of their own below ~/.cache/zohook-outside. Zoho's own Python SDK and one other public client
each make, read, change, list and delete a record; one JSON line last says how it went. Status 1 where one of them failed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

from receiver.simulator import Simulator

HERE = Path(__file__).parent
CACHE = Path.home() / ".cache" / "zohook-outside"
CLIENTS = {"official_sdk.py": "zohocrmsdk8-0", "connector.py": "zoho-crm-connector"}


def python() -> Path:
    """The interpreter that has them."""
    found = CACHE / "bin" / "python"
    if not found.exists():
        venv.create(CACHE, with_pip=True)
    subprocess.run([found, "-m", "pip", "install", "-q", *CLIENTS.values()], check=True, stdout=sys.stderr)
    return found


def main() -> int:
    """Run each of them against a fresh Zoho."""
    outside, results = python(), []
    for script, name in CLIENTS.items():
        with Simulator() as zoho:
            zoho.limits.crm_search_lag = 0
            given = {**os.environ, "SIMULATOR": json.dumps(zoho.introduction()), "PYTHONPATH": ""}
            done = subprocess.run(
                [outside, HERE / script], env=given, capture_output=True, text=True, check=False
            )
            sys.stderr.write(done.stderr)
            said = (
                json.loads(done.stdout.splitlines()[-1])
                if done.returncode == 0
                else {"client": name, "failed": done.returncode}
            )
            calls = zoho.journal.calls()
            results.append(
                {**said, "calls": len(calls), "token_calls": sum(call.product == "oauth" for call in calls)}
            )
    print(json.dumps({"outside": results}))
    return int(any("failed" in each for each in results))


if __name__ == "__main__":
    sys.exit(main())
