"""Bigin and Recruit, version 2, where they equal CRM: their records, under a path, a service and modules of their own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from receiver.simulator.crm import Crm
from receiver.simulator.crm_write import fault

if TYPE_CHECKING:
    from receiver.simulator.wire import Answer, Call


@dataclass(frozen=True, slots=True)
class Kin:
    """How a product differs from CRM: its service in scopes, its modules by the one of CRM's that they are like, whether it has COQL."""

    service: str
    modules: dict[str, str]
    coql: bool


CRM_KIN = {
    "bigin": Kin(
        "ZohoBigin",
        {"Contacts": "Contacts", "Accounts": "Accounts", "Pipelines": "Deals", "Notes": "Notes"},
        coql=True,
    ),
    "recruit": Kin(
        "ZohoRecruit",
        {"Candidates": "Leads", "Clients": "Accounts", "Contacts": "Contacts", "Notes": "Notes"},
        coql=False,
    ),
}
BEYOND = frozenset(
    {"Attachments", "bulk", "__composite_requests", "upload", "watch", "convert", "mass_update"}
)
"""What is not played, so that nobody takes it for granted."""


class CrmKin(Crm):
    """One of them, whole in its records."""

    def __init__(self, product: str, *given: Any) -> None:
        super().__init__(*given)
        self.product, self.kin = product, CRM_KIN[product]
        all_modules = self.records.modules
        self.records.modules = {
            name: replace(all_modules[like], api_name=name)
            for name, like in self.kin.modules.items()
            if like in all_modules
        }

    def handle(self, call: Call) -> Answer:
        parts = call.parts
        beyond = BEYOND & set(parts) or (parts[-1] == "coql" and not self.kin.coql)
        if parts[:2] != [self.product, "v2"] or len(parts) < 3 or beyond:
            raise fault(
                "INVALID_URL_PATTERN", "Please check if the URL trying to access is a correct one", status=404
            )
        return self.route(call, parts[2:])

    def need(self, call: Call, *scopes: str) -> None:
        super().need(
            call, *(scope.replace("ZohoCRM", self.kin.service) for scope in scopes if "ZohoCRM" in scope)
        )
