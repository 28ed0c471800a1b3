"""The `zoho-crm-connector` of GrowthPath against the simulator: users, pages, COQL, an upsert and a deletion. One JSON line last."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import requests
from zoho_crm_connector import Zoho_crm


class Elsewhere(requests.adapters.HTTPAdapter):
    """Sends what is meant for Zoho's accounts host, which this client has written in, to the simulator."""

    def __init__(self, base: str) -> None:
        super().__init__()
        self.base = base

    def send(self, request: Any, **given: Any) -> Any:
        request.url = request.url.replace("https://accounts.zoho.com", self.base)
        given.pop("verify", None)
        return super().send(request, **given)


def main() -> None:
    """What a job of such a client does."""
    said = json.loads(os.environ["SIMULATOR"])
    session = requests.Session
    first = session.__init__

    def opened(self: Any) -> None:
        first(self)
        self.mount("https://accounts.zoho.com", Elsewhere(said["accounts"]))

    session.__init__ = opened  # type: ignore[method-assign]
    zoho = Zoho_crm(
        said["refresh_token"], said["client_id"], said["client_secret"], Path(tempfile.mkdtemp()),
        base_url=f"{said['api']}/crm/v8/", hosting=".COM", default_zoho_user_name="Mara Lindqvist",
    )  # fmt: skip
    assert any(user["full_name"] == "Mara Lindqvist" for user in zoho.get_users()["users"])
    lead = {"data": [{"Last_Name": "Outside", "Company": "Witness Ltd", "Email": "outside@witness.example"}]}
    done, _ = zoho.upsert_zoho_module("Leads", lead)
    assert done
    pages = zoho.yield_page_from_module("Leads", parameters={"fields": "Last_Name,Email"})
    found = [row for page in pages for row in page if row["Email"] == "outside@witness.example"]
    assert len(found) == 1
    rows = zoho.get_records_through_coql_query(
        "select Last_Name from Leads where Email = 'outside@witness.example'"
    )
    assert rows[0]["Last_Name"] == "Outside"
    assert zoho.delete_from_module("Leads", found[0]["id"])[0]
    print(json.dumps({"client": "zoho-crm-connector", "steps": 5}))


if __name__ == "__main__":
    sys.exit(main())
