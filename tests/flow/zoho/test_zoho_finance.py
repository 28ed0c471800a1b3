"""The finance products beside Books: one client, each product's own path, scopes and place for the organisation."""

from __future__ import annotations

import pytest

from receiver.errors import NotFound, PermissionDenied, SettingsError

ORGANISATIONS = "\n".join(
    f'{name} = "20061234567"' for name in ("inventory", "invoice", "billing", "expense")
)
SCOPES = ",".join(
    f"{service}.fullaccess.all"
    for service in ("ZohoInventory", "ZohoInvoice", "ZohoSubscriptions", "ZohoExpense")
)
PRODUCTS = ["inventory", "invoice", "billing", "expense"]


@pytest.fixture
def house(build, simulator):
    """A house whose consent reaches all of them."""
    made = build(simulator, more=ORGANISATIONS)
    grant = simulator.accounts.grant(simulator.client, simulator.world.admin, tuple(SCOPES.split(",")))
    made.connect(refresh=grant.refresh_token)
    return made


@pytest.mark.parametrize("product", PRODUCTS)
def test_a_record_lives_its_life(house, product):
    """Made, read, changed, listed, found again by `ensure`, deleted; each call names the organisation where the product wants it."""
    client = getattr(house.zoho, product)
    made = client.create("contacts", {"contact_name": "Brightwater"})
    ident = made["contact_id"]
    assert client.get("contacts", ident)["contact_name"] == "Brightwater"
    assert client.update("contacts", ident, {"contact_name": "Changed"})["contact_name"] == "Changed"
    assert [row["contact_id"] for row in client.list("contacts")] == [ident]
    assert client.ensure("contacts", {"contact_name": "Changed"}, {}) == (
        client.get("contacts", ident),
        False,
    )
    client.delete("contacts", ident)
    with pytest.raises(NotFound):
        client.get("contacts", ident)
    calls = house.simulator.journal.calls(product)
    assert calls
    assert all(("organization_id" in call.query) == (product in {"inventory", "invoice"}) for call in calls)


@pytest.mark.parametrize("product", PRODUCTS)
def test_what_the_consent_does_not_reach_is_no_token_fault(build, simulator, product):
    """Zoho's 57 for a scope that is missing is told as a permission, after one new token and no more."""
    house = build(simulator, more=ORGANISATIONS)
    house.connect()
    with pytest.raises(PermissionDenied):
        next(getattr(house.zoho, product).list("contacts"))
    assert house.refreshes() <= 2


def test_an_organisation_that_is_not_set_is_said(build, simulator):
    """The setting that is missing is named."""
    house = build(simulator)
    house.connect()
    with pytest.raises(SettingsError, match="inventory"):
        next(house.zoho.inventory.list("items"))


def test_organisations_are_asked_without_one(house):
    """The one call that needs none."""
    assert house.zoho.inventory.organizations()[0]["organization_id"] == "20061234567"
