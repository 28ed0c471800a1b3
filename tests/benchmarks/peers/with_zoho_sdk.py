"""One record read again and again with Zoho's own Python SDK. Ends with one JSON line: ms of its import, of each call, and its memory."""

from __future__ import annotations

import json
import os
import resource
import statistics
import sys
import tempfile
import time

began = time.perf_counter()
from zohocrmsdk.src.com.zoho.api.authenticator.oauth_token import OAuthToken  # noqa: E402 - its import is timed
from zohocrmsdk.src.com.zoho.api.authenticator.store.file_store import FileStore  # noqa: E402
from zohocrmsdk.src.com.zoho.crm.api import HeaderMap, ParameterMap  # noqa: E402
from zohocrmsdk.src.com.zoho.crm.api.dc.data_center import DataCenter  # noqa: E402
from zohocrmsdk.src.com.zoho.crm.api.initializer import Initializer  # noqa: E402
from zohocrmsdk.src.com.zoho.crm.api.record import RecordOperations  # noqa: E402
from zohocrmsdk.src.com.zoho.crm.api.sdk_config import SDKConfig  # noqa: E402

imported = time.perf_counter() - began


def main() -> None:
    """Read it so many times, after a few that pay for the token and the connection."""
    said, record, count = json.loads(os.environ["SIMULATOR"]), int(sys.argv[1]), int(sys.argv[2])
    folder = tempfile.mkdtemp()
    environment = DataCenter.Environment(said["api"], f"{said['accounts']}/oauth/v2/token", said["api"])
    token = OAuthToken(
        client_id=said["client_id"], client_secret=said["client_secret"], refresh_token=said["refresh_token"]
    )
    Initializer.initialize(
        environment=environment, token=token, store=FileStore(f"{folder}/tokens.csv"),
        sdk_config=SDKConfig(auto_refresh_fields=False, pick_list_validation=False), resource_path=folder,
    )  # fmt: skip
    leads = RecordOperations("Leads")
    took = []
    for number in range(count + 5):
        at = time.perf_counter()
        leads.get_record(record, ParameterMap(), HeaderMap()).get_object().get_data()
        if number >= 5:
            took.append((time.perf_counter() - at) * 1000)
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"import_ms": imported * 1000, "call_ms": statistics.median(took), "rss_mib": rss}))


if __name__ == "__main__":
    main()
