"""Zoho's own Python SDK against the simulator: a record made, read, changed, listed, found and deleted. One JSON line last."""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import time

began = time.perf_counter()
from zohocrmsdk.src.com.zoho.api.authenticator.oauth_token import OAuthToken  # noqa: E402 - its import is timed
from zohocrmsdk.src.com.zoho.api.authenticator.store.file_store import FileStore  # noqa: E402
from zohocrmsdk.src.com.zoho.crm.api import HeaderMap, ParameterMap  # noqa: E402
from zohocrmsdk.src.com.zoho.crm.api.dc.data_center import DataCenter  # noqa: E402
from zohocrmsdk.src.com.zoho.crm.api.initializer import Initializer  # noqa: E402
from zohocrmsdk.src.com.zoho.crm.api.record import (  # noqa: E402
    APIException,
    BodyWrapper,
    DeleteRecordParam,
    Field,
    GetRecordsParam,
    Record,
    RecordOperations,
    SuccessResponse,
)
from zohocrmsdk.src.com.zoho.crm.api.sdk_config import SDKConfig  # noqa: E402

imported = time.perf_counter() - began


def body(**fields: object) -> BodyWrapper:
    """A request with one lead."""
    record = Record()
    record.add_field_value(Field.Leads.last_name(), fields.pop("last_name"))
    for name, value in fields.items():
        record.add_key_value(name, value)
    wrapper = BodyWrapper()
    wrapper.set_data([record])
    wrapper.set_trigger([])
    return wrapper


def only(answer: object, kind: type) -> object:
    """The one entry of an answer, which must be of that kind."""
    inner = answer.get_object()  # type: ignore[attr-defined]
    if isinstance(inner, APIException):
        raise SystemExit(f"{inner.get_code().get_value()}: {inner.get_message()}")
    (entry,) = inner.get_data()
    assert isinstance(entry, kind), entry
    return entry


def leads_of() -> RecordOperations:
    """The leads of the simulator that SIMULATOR tells of, as the SDK is meant to be set up."""
    said = json.loads(os.environ["SIMULATOR"])
    folder = tempfile.mkdtemp()
    environment = DataCenter.Environment(said["api"], f"{said['accounts']}/oauth/v2/token", said["api"])
    token = OAuthToken(
        client_id=said["client_id"], client_secret=said["client_secret"], refresh_token=said["refresh_token"]
    )
    Initializer.initialize(
        environment=environment, token=token, store=FileStore(f"{folder}/tokens.csv"),
        sdk_config=SDKConfig(auto_refresh_fields=False, pick_list_validation=False), resource_path=folder,
    )  # fmt: skip
    return RecordOperations("Leads")


def main() -> None:
    """One life of a lead."""
    leads = leads_of()
    made = only(
        leads.create_records(body(last_name="Outside", Company="Witness Ltd"), HeaderMap()), SuccessResponse
    )
    ident = int(str(made.get_details()["id"]))  # type: ignore[attr-defined]
    read = only(leads.get_record(ident, ParameterMap(), HeaderMap()), Record)
    assert read.get_key_value("Company") == "Witness Ltd"  # type: ignore[attr-defined]
    only(leads.update_record(ident, body(last_name="Changed"), HeaderMap()), SuccessResponse)
    listed = ParameterMap()
    listed.add(GetRecordsParam.fields, "Last_Name")
    listed.add(GetRecordsParam.per_page, 5)
    rows = leads.get_records(listed, HeaderMap()).get_object().get_data()
    assert any(row.get_id() == ident and row.get_key_value("Last_Name") == "Changed" for row in rows)
    gone = ParameterMap()
    gone.add(DeleteRecordParam.wf_trigger, False)
    only(leads.delete_record(ident, gone, HeaderMap()), SuccessResponse)
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(
        json.dumps(
            {"client": "zohocrmsdk8-0", "import_ms": round(imported * 1000), "rss_mib": rss, "steps": 5}
        )
    )


if __name__ == "__main__":
    sys.exit(main())
