"""The CRM's descriptions of itself: its fields, modules, organisation and users."""

from __future__ import annotations

from typing import TYPE_CHECKING

from receiver.simulator.crm_write import fault
from receiver.simulator.wire import Answer

if TYPE_CHECKING:
    from receiver.simulator.crm_records import Records
    from receiver.simulator.crm_schema import Module
    from receiver.simulator.wire import Call, Json
    from receiver.simulator.world import User, World


def fields_shown(records: Records, call: Call) -> Answer:
    name = call.param("module")
    if not name:
        missing = {"param_name": "module"}
        raise fault("REQUIRED_PARAM_MISSING", "One of the expected parameter is missing", missing)
    spec = records.modules.get(name)
    if spec is None:
        raise fault("INVALID_MODULE", "the module name given seems to be invalid", {"param_name": "module"})
    return Answer(200, {"fields": _fields(spec)})


def _fields(spec: Module) -> list[Json]:
    return [
        {
            "id": str(int(spec.id) + 300 + number),
            "api_name": known.api_name,
            "field_label": known.label,
            "display_label": known.label,
            "data_type": known.data_type,
            "length": known.length,
            "system_mandatory": known.mandatory,
            "custom_field": known.custom,
            "external": {"show": True, "type": "org"} if known.external else None,
            "read_only": known.read_only,
            "unique": {"casesensitive": False} if known.unique else {},
            "lookup": {"module": {"api_name": known.lookup}} if known.lookup else {},
            "pick_list_values": [{"display_value": pick, "actual_value": pick} for pick in known.picks],
            "json_type": "jsonobject" if known.data_type in ("lookup", "ownerlookup") else "string",
        }
        for number, known in enumerate(spec.fields.values())
    ]


def modules_shown(records: Records) -> Answer:
    shown = [
        {
            "id": spec.id,
            "api_name": spec.api_name,
            "module_name": spec.api_name,
            "plural_label": spec.api_name,
            "singular_label": spec.api_name[:-1],
            "api_supported": True,
            "creatable": True,
            "editable": True,
            "deletable": True,
            "generated_type": "default",
        }
        for spec in records.modules.values()
    ]
    return Answer(200, {"modules": shown})


def org_shown(world: World) -> Answer:
    org = {
        "id": "5725767000000020005",
        "zgid": world.zgid,
        "domain_name": f"org{world.zgid}",
        "company_name": world.company,
        "primary_email": world.admin.email,
        "country_code": "GB",
        "currency": "British Pound - GBP",
        "iso_code": "GBP",
        "time_zone": "Europe/Berlin",
        "license_details": {"paid": True, "paid_type": "enterprise", "users_license_purchased": 3},
    }
    return Answer(200, {"org": [org]})


def users_shown(world: World, call: Call) -> Answer:
    kind = call.param("type", "AllUsers")
    if kind == "CurrentUser":
        users = [call.token.grant.user if call.token else world.admin]
    elif kind in ("AllUsers", "ActiveUsers"):
        users = world.users
    else:
        raise fault("INVALID_DATA", "invalid data", {"param_name": "type"})
    info = {"per_page": 200, "count": len(users), "page": 1, "more_records": False}
    return Answer(200, {"users": [_user(user) for user in users], "info": info})


def _user(user: User) -> Json:
    return {
        "id": user.id,
        "first_name": user.first_name,
        "last_name": user.last_name,
        "full_name": user.name,
        "email": user.email,
        "status": "active",
        "confirm": True,
        "role": {"name": "Manager", "id": "5725767000000026008"},
        "profile": {"name": "Administrator", "id": "5725767000000026011"},
    }
