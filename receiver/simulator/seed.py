"""What the organisation has on the first day: a kitchen maker's customers, deals, invoices and tickets."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from receiver.simulator.server import Simulator
    from receiver.simulator.wire import Json

ACCOUNTS = (
    ("Harbour Lane Hotels", "Hospitality", "Bristol"),
    ("Nordkap Fisk AS", "Retail", "Tromso"),
    ("Pomelo Cafes", "Hospitality", "Lisbon"),
    ("Ashdown & Pike Builders", "Construction", "Leeds"),
    ("Okonkwo Catering", "Hospitality", "London"),
)
PEOPLE = (
    ("Priya", "Raman", 0),
    ("Oliver", "Stent", 0),
    ("Ingrid", "Moe", 1),
    ("Tiago", "Faria", 2),
    ("Beatriz", "Antunes", 2),
    ("Gareth", "Pike", 3),
    ("Chidi", "Okonkwo", 4),
    ("Hannah", "Weiss", 4),
)
LEADS = (
    ("Leo", "Marchetti", "Osteria Nove", "Web Research"),
    ("Saoirse", "Byrne", "Quayside Bakery", "Trade Show"),
    ("Emil", "Novak", "Novak Interiors", "Partner"),
    ("Aiko", "Tanaka", "Kissa Aoyama", "Web Research"),
    ("Ruth", "Adeyemi", "Greenfold School", "Cold Call"),
    ("Jonas", "Keller", "Keller Metzgerei", "Partner"),
)
DEALS = (
    ("Harbour Lane: hotel kitchen", 0, 0, "Negotiation/Review", 48_200.0),
    ("Harbour Lane: bar refit", 0, 1, "Proposal/Price Quote", 12_750.0),
    ("Nordkap: fish counters", 1, 2, "Needs Analysis", 31_000.0),
    ("Pomelo: Chiado cafe", 2, 3, "Negotiation/Review", 18_400.0),
    ("Pomelo: Porto cafe", 2, 4, "Qualification", 17_900.0),
    ("Ashdown & Pike: show home", 3, 5, "Proposal/Price Quote", 9_600.0),
    ("Okonkwo: prep kitchen", 4, 6, "Negotiation/Review", 22_300.0),
    ("Okonkwo: food truck", 4, 7, "Needs Analysis", 6_850.0),
)
ITEMS = (
    ("Worktop, oak, per metre", 310.0),
    ("Base unit", 185.0),
    ("Extraction hood", 1_240.0),
    ("Fitting, per day", 520.0),
)
TICKETS = (
    ("Hood rattles on the second setting", 0),
    ("Two drawer fronts are the wrong colour", 2),
    ("When does the fitter come?", 3),
    ("Invoice address has changed", 6),
)


def domain(company: str) -> str:
    """A mail domain that nobody owns."""
    letters = "".join(c for c in company.lower() if c.isalnum())
    return f"{letters}.example"


def plant(simulator: Simulator) -> None:
    """Fills all three products, a day ago, with the same people in each."""
    world = simulator.world
    real = world.clock
    # A day old, so that the search index has them.
    world.clock = lambda: real() - 86_400
    try:
        people = _crm(simulator)
        _books(simulator, people)
        _desk(simulator, people)
    finally:
        world.clock = real
    simulator.crm.records.writes.clear()


def _crm(simulator: Simulator) -> list[Json]:
    crm = simulator.crm
    accounts = [
        crm.create("Accounts", {"Account_Name": name, "Industry": industry, "Billing_City": city})
        for name, industry, city in ACCOUNTS
    ]
    people = [
        crm.create(
            "Contacts",
            {
                "First_Name": first,
                "Last_Name": last,
                "Email": f"{first}.{last}@{domain(ACCOUNTS[at][0])}".lower(),
                "Phone": f"+44 20 7946 0{100 + number}",
                "Account_Name": {"id": accounts[at]["id"]},
            },
        )
        for number, (first, last, at) in enumerate(PEOPLE)
    ]
    for first, last, company, source in LEADS:
        email = f"{first}.{last}@{domain(company)}".lower()
        values = {"First_Name": first, "Last_Name": last, "Company": company, "Email": email}
        crm.create("Leads", {**values, "Lead_Source": source, "Lead_Status": "Not Contacted"})
    for name, account, person, stage, amount in DEALS:
        about: Json = {
            "Deal_Name": name,
            "Stage": stage,
            "Amount": amount,
            "Closing_Date": crm.world.day(21),
        }
        links = {
            "Account_Name": {"id": accounts[account]["id"]},
            "Contact_Name": {"id": people[person]["id"]},
        }
        crm.create("Deals", about | links)
    return people


def _books(simulator: Simulator, people: list[Json]) -> None:
    books = simulator.books
    books.ledgers.add_custom_field("invoices", "cf_crm_deal", unique=True)
    books.ledgers.add_custom_field("contacts", "cf_crm_contact", unique=True)
    items = [books.create("items", {"name": name, "rate": rate}) for name, rate in ITEMS]
    for number, person in enumerate(people):
        contact = books.create(
            "contacts",
            {
                "contact_name": person["Full_Name"],
                "company_name": person["Account_Name"]["name"],
                "contact_persons": [
                    {
                        "first_name": person["First_Name"],
                        "last_name": person["Last_Name"],
                        "email": person["Email"],
                        "phone": person["Phone"],
                        "is_primary_contact": True,
                    }
                ],
            },
        )
        if number % 3 == 0:
            line = {"item_id": items[number % len(items)]["item_id"], "quantity": number + 1}
            books.create("invoices", {"customer_id": contact["contact_id"], "line_items": [line]}, sent=True)


def _desk(simulator: Simulator, people: list[Json]) -> None:
    desk = simulator.desk
    desk.rows.departments = [
        {"id": "31138000000006907", "name": "Support", "isEnabled": True, "isDefault": True},
        {"id": "31138000000057011", "name": "Fitting", "isEnabled": True, "isDefault": False},
    ]
    contacts = [
        desk.create(
            "contacts",
            {
                "firstName": person["First_Name"],
                "lastName": person["Last_Name"],
                "email": person["Email"],
                "phone": person["Phone"],
            },
        )
        for person in people
    ]
    for subject, at in TICKETS:
        where = {"departmentId": "31138000000006907", "contactId": contacts[at]["id"]}
        desk.create("tickets", {"subject": subject, **where})
