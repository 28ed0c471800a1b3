"""What the CRM does to records at a word: tags, the conversion of leads, mass updates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from receiver.simulator.crm_records import Problem
from receiver.simulator.crm_write import fault, rows
from receiver.simulator.wire import Answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from receiver.simulator.crm_records import Change, Records
    from receiver.simulator.wire import Call, Json
    from receiver.simulator.world import User


class Actions:
    """`publish` is told of all changes of one call at once."""

    def __init__(self, records: Records, publish: Callable[[list[Change]], None]) -> None:
        self.records = records
        self.publish = publish
        self.tags: dict[tuple[str, str], list[str]] = {}
        self.jobs: dict[str, Json] = {}

    def tags_shown(self, call: Call) -> Answer:
        """https://www.zoho.com/crm/developer/docs/api/v8/get-tag-list.html"""
        module = call.param("module")
        if module not in self.records.modules:
            raise fault(
                "INVALID_MODULE", "the module name given seems to be invalid", {"param_name": "module"}
            )
        names = sorted({name for (of, _), found in self.tags.items() if of == module for name in found})
        if not names:
            return Answer(204)
        return Answer(
            200,
            {
                "tags": [
                    {"name": name, "id": str(index), "color_code": None} for index, name in enumerate(names)
                ]
            },
        )

    def tag(self, module: str, action: str, call: Call, by: User) -> Answer:
        """https://www.zoho.com/crm/developer/docs/api/v8/add-tags.html"""
        del by
        body = call.json()
        idents = body.get("ids") if isinstance(body, dict) else None
        named = [str(each.get("name") or "") for each in rows(call, "tags", 50)]
        if not isinstance(idents, list) or not 1 <= len(idents) <= 100 or not all(named):
            raise fault("INVALID_DATA", "invalid data", {"api_name": "ids", "maximum_length": 100})
        entries = [
            self._tagged(module, str(ident), action, named, over=bool(body.get("over_write")))
            for ident in idents
        ]
        bad = sum(entry["status"] == "error" for entry in entries)
        return Answer(200 if not bad else 207 if bad < len(entries) else 400, {"data": entries})

    def _tagged(self, module: str, ident: str, action: str, names: list[str], *, over: bool) -> Json:
        if ident not in self.records.table(module):
            return Problem("INVALID_DATA", "the id given seems to be invalid", {"id": ident}).entry
        had = self.tags.get((module, ident), [])
        if action == "add_tags":
            kept = list(dict.fromkeys([*([] if over else had), *names]))
        else:
            kept = [name for name in had if name not in names]
        self.tags[module, ident] = kept
        return {
            "code": "SUCCESS",
            "details": {"id": ident, "tags": kept},
            "message": "tags updated successfully",
            "status": "success",
        }

    def convert(self, module: str, ident: str, call: Call, by: User) -> Answer:
        """https://www.zoho.com/crm/developer/docs/api/v8/convert-lead.html"""
        if module != "Leads":
            raise fault("NOT_SUPPORTED", "only leads are converted")
        (given,) = rows(call, most=1)
        lead = self.records.table("Leads").get(ident)
        if lead is None:
            raise fault("INVALID_DATA", "the id given seems to be invalid", {"resource_path_index": 1})
        values = lead.values
        try:
            account = self.records.create(
                "Accounts", {"Account_Name": values.get("Company") or values["Last_Name"]}, by
            )
            person = {name: values.get(name) for name in ("First_Name", "Last_Name", "Email", "Phone")}
            contact = self.records.create(
                "Contacts", {**person, "Account_Name": {"id": account.record.id}}, by
            )
            made = [account, contact]
            if given.get("Deals"):
                links = {"Account_Name": {"id": account.record.id}, "Contact_Name": {"id": contact.record.id}}
                made.append(self.records.create("Deals", {**given["Deals"], **links}, by))
        except Problem as problem:
            return Answer(400, {"data": [problem.entry]})
        made.append(self.records.delete("Leads", ident, by))
        self.publish(made)
        names = {"Accounts": account, "Contacts": contact, "Deals": made[2] if len(made) == 4 else None}
        details = {
            name: {"name": self.records.title(change.record), "id": change.record.id} if change else None
            for name, change in names.items()
        }
        return Answer(
            200,
            {
                "data": [
                    {
                        "code": "SUCCESS",
                        "details": details,
                        "message": "The record has been converted",
                        "status": "success",
                    }
                ]
            },
        )

    def mass_update(self, module: str, call: Call, by: User) -> Answer:
        """https://www.zoho.com/crm/developer/docs/api/v8/mass-update-records.html: scheduled, and asked for by its id."""
        if call.method == "GET":
            job = self.jobs.get(call.param("job_id"))
            if job is None:
                raise fault("INVALID_DATA", "the id given seems to be invalid", {"param_name": "job_id"})
            return Answer(200, {"data": [job]})
        (values,) = rows(call, most=1)
        idents: Any = call.json().get("ids")
        if not isinstance(idents, list) or not 1 <= len(idents) <= 500:
            raise fault("INVALID_DATA", "invalid data", {"api_name": "ids", "maximum_length": 500})
        changes: list[Change] = []
        for ident in idents:
            try:
                changes.append(self.records.update(module, str(ident), values, by))
            except Problem:
                continue
        self.publish(changes)
        job_id = self.records.world.crm_id()
        failed = len(idents) - len(changes)
        self.jobs[job_id] = {
            "Status": "COMPLETED", "Failed_Count": failed, "Updated_Count": len(changes), "Not_Updated_Count": 0,
            "Total_Count": len(idents),
        }  # fmt: skip
        entry = {
            "code": "SCHEDULED",
            "details": {"job_id": job_id, "id": job_id},
            "message": "mass update scheduled successfully",
            "status": "success",
        }
        return Answer(200, {"data": [entry]})
