"""The thin clients: Mail, Sign, Projects, and Recruit and Bigin where they equal CRM; against the strict simulator."""

from __future__ import annotations

import tracemalloc

import pytest

from receiver.errors import (
    Conflict,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    RateLimited,
    ScopeMissing,
    SettingsError,
)
from receiver.simulator.mail_api import ACCOUNT, FOLDERS
from receiver.simulator.projects_api import MOST, PORTAL
from receiver.simulator.workdrive import FOLDER
from receiver.zoho.organisations import found

SCOPES = (
    "ZohoCRM.modules.ALL,ZohoMail.accounts.READ,ZohoMail.folders.READ,ZohoMail.messages.ALL,ZohoSign.documents.ALL,WorkDrive.files.ALL,"
    "ZohoProjects.portals.READ,ZohoProjects.projects.ALL,ZohoProjects.tasks.ALL,ZohoBigin.modules.ALL,ZohoBigin.coql.READ,"
    "ZohoBigin.settings.ALL,ZohoRecruit.modules.ALL,ZohoRecruit.settings.ALL"
)
IDS = f'mail = "{ACCOUNT}"\nprojects = {{ "" = "{PORTAL}", other = "1" }}'
CONTRACT = {
    "request_name": "Fitting contract",
    "is_sequential": True,
    "actions": [
        {"action_type": "SIGN", "recipient_name": "Priya", "recipient_email": "priya@pomelocafes.example"}
    ],
}


@pytest.fixture
def house(build, simulator):
    """A house whose consent reaches all of them."""
    made = build(simulator, more=IDS)
    grant = simulator.accounts.grant(simulator.client, simulator.world.admin, tuple(SCOPES.split(",")))
    made.connect(refresh=grant.refresh_token)
    return made


# Mail -----------------------------------------------------------------------------------------------------------------


def test_mail_is_listed_found_and_read(house):
    """Accounts and folders by their ids, a folder's messages newest first and page by page, a search, a body; none is NotFound."""
    mail, inbox = house.zoho.mail, FOLDERS["Inbox"]
    for number in range(5):
        house.simulator.mail_api.receive(f"Offer {number}", "<p>Worktop</p>")
    assert mail.accounts()[0]["accountId"] == ACCOUNT
    assert {each["folderName"]: each["folderId"] for each in mail.folders()} == FOLDERS
    assert [each["subject"][-1] for each in mail.list(inbox, limit=2)] == ["4", "3", "2", "1", "0"]
    (found,) = mail.search("subject:offer 3")
    assert mail.content(inbox, found["messageId"]) == "<p>Worktop</p>"
    with pytest.raises(NotFound):
        mail.content(inbox, "1")
    with pytest.raises(InvalidRequest):
        list(mail.search("colour:red"))


def test_a_mail_is_sent_once(house):
    """It lies in Sent; another's address is refused; a lost answer sends no second one; shadow mode sends none."""
    mail, me = house.zoho.mail, house.simulator.world.admin.email
    assert mail.send(me, ["a@x.example", "b@x.example"], "Hello", "There", html=False)["messageId"]
    (sent,) = mail.list(FOLDERS["Sent"])
    assert (sent["toAddress"], sent["subject"]) == ("a@x.example,b@x.example", "Hello")
    with pytest.raises(InvalidRequest, match="mail POST"):
        mail.send("other@x.example", "a@x.example", "Hello", "There")
    house.simulator.faults.add("lost", product="mail", method="POST")
    with pytest.raises(Exception, match="mail POST"):
        mail.send(me, "c@x.example", "Again", "There")
    assert len(list(mail.list(FOLDERS["Sent"]))) == 2
    shadow = house.clients.for_job("acme", shadow=True)
    assert shadow.mail.send(me, "d@x.example", "Shadow", "There")["messageId"] == "shadow"
    assert len(house.simulator.mail_api.messages) == 2


# Sign -----------------------------------------------------------------------------------------------------------------


def test_a_document_is_sent_signed_and_read(house):
    """A draft with a file, sent, reminded of, signed; its PDF and its certificate come as files."""
    sign = house.zoho.sign
    draft = sign.create(CONTRACT, b"%PDF-1.7 the contract", "contract.pdf")
    ident = draft["request_id"]
    with pytest.raises(InvalidRequest):
        sign.remind(ident)
    assert sign.submit(ident, {"notes": "Please"})["request_status"] == "inprogress"
    sign.remind(ident)
    with pytest.raises(InvalidRequest), sign.certificate(ident):
        pass
    house.simulator.sign.sign(ident)
    assert sign.get(ident)["request_status"] == "completed"
    with sign.pdf(ident) as file:
        assert (file.name, b"".join(file)) == ("contract.pdf", b"%PDF-1.7 the contract%%signed")
    with sign.pdf(ident, draft["document_ids"][0]["document_id"]) as file:
        assert b"".join(file).endswith(b"%%signed")
    with sign.certificate(ident) as file:
        assert b"".join(file).startswith(b"%PDF")


def test_a_request_is_recalled_listed_and_deleted(house):
    """Newest first over pages; what is in progress is deleted only when it is recalled too; what is gone is NotFound."""
    sign = house.zoho.sign
    idents = [sign.create(CONTRACT, b"x", "a.pdf")["request_id"] for _ in range(3)]
    for number in range(100):
        house.simulator.sign.requests[f"old{number}"] = {
            "request_id": f"old{number}",
            "request_status": "draft",
        }
    assert [each["request_id"] for each in sign.list()][-3:] == idents[::-1]
    sign.submit(idents[0])
    with pytest.raises(InvalidRequest):
        sign.delete(idents[0])
    sign.delete(idents[0], recall=True, reason="Wrong price")
    sign.submit(idents[1])
    sign.recall(idents[1])
    assert sign.get(idents[1])["request_status"] == "recalled"
    with pytest.raises(NotFound):
        sign.get(idents[0])


def test_a_signed_pdf_streams_into_a_crm_attachment(house):
    """Eight megabytes from Sign into CRM: the same bytes, and what the client holds of them at once is a small part."""
    ident = house.zoho.sign.create(CONTRACT, (bytes([n % 251]) * 65_536 for n in range(128)), "contract.pdf")[
        "request_id"
    ]
    house.zoho.sign.submit(ident)
    house.simulator.sign.sign(ident)
    deal = house.simulator.crm.all("Deals")[0]["id"]
    held = []

    def seen(file):
        for number, piece in enumerate(file):
            if number % 32:
                yield piece
                continue
            ours = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, "*/receiver/zoho/*")])
            held.append(sum(one.size for one in ours.statistics("filename")))
            yield piece

    tracemalloc.start()
    try:
        with house.zoho.sign.pdf(ident) as file:
            house.zoho.crm.attachments.upload("Deals", deal, seen(file), file.name)
    finally:
        tracemalloc.stop()
    with house.zoho.sign.pdf(ident) as file:
        house.zoho.crm.attachments.upload("Deals", deal, file)
    one, two = house.simulator.crm.attachments.of("Deals", deal)
    assert one.content == two.content
    assert (one.name, two.name, len(one.content)) == ("contract.pdf", "contract.pdf", 128 * 65_536 + 8)
    assert max(held) < 2 * 2**20


# WorkDrive ------------------------------------------------------------------------------------------------------------


def test_a_signed_pdf_streams_into_a_folder(house):
    """The same bytes under its name; a name that is there is a Conflict, or a new version; listed over pages, and read."""
    drive = house.zoho.workdrive
    ident = house.zoho.sign.create(CONTRACT, b"%PDF-1.7 the contract", "contract.pdf")["request_id"]
    with house.zoho.sign.pdf(ident) as file:
        kept = drive.upload(FOLDER, file)
    assert (kept["FileName"], kept["parent_id"]) == ("contract.pdf", FOLDER)
    assert house.simulator.workdrive.contents[kept["resource_id"]] == b"%PDF-1.7 the contract"
    with pytest.raises(Conflict):
        drive.upload(FOLDER, b"again", "contract.pdf")
    assert drive.upload(FOLDER, b"again", "contract.pdf", replace=True)["resource_id"] == kept["resource_id"]
    assert house.simulator.workdrive.contents[kept["resource_id"]] == b"again"
    for number in range(50):
        drive.upload(FOLDER, (b"x" for _ in range(3)), f"{number}.txt")
    assert [each["attributes"]["name"] for each in drive.list(FOLDER)][::50] == ["contract.pdf", "49.txt"]
    assert drive.get(kept["resource_id"])["attributes"]["storage_info"]["size_in_bytes"] == 5
    with pytest.raises(NotFound):
        drive.get("nothing")
    with pytest.raises(PermissionDenied):
        drive.upload("elsewhere", b"x", "x.txt")
    shadow = house.clients.for_job("acme", shadow=True)
    assert shadow.workdrive.upload(FOLDER, b"x", "y.txt")["resource_id"] == "shadow"
    assert len(house.simulator.workdrive.files) == 51


def test_a_dead_token_is_exchanged_for_workdrive_too(house):
    """Its word for it is known, so that one new token is asked for and the call goes on."""
    house.zoho.workdrive.upload(FOLDER, b"x", "x.txt")
    house.simulator.accounts.kill_access_tokens()
    assert len(list(house.zoho.workdrive.list(FOLDER))) == 1


# Projects -------------------------------------------------------------------------------------------------------------


def test_projects_and_tasks_live_their_lives(house):
    """Made, read, changed, listed over pages; another portal is refused, what is not there is NotFound."""
    projects = house.zoho.projects
    assert projects.portals()[0]["id"] == PORTAL
    idents = [projects.create({"name": f"Kitchen {number}"})["id"] for number in range(3)]
    assert [each["id"] for each in projects.list(per_page=2)] == idents
    assert projects.update(idents[0], {"name": "Bar"})["name"] == projects.get(idents[0])["name"] == "Bar"
    task = projects.create_task(idents[0], {"name": "Measure", "priority": "high"})["id"]
    assert projects.update_task(idents[0], task, {"priority": "low"})["priority"] == "low"
    assert projects.task(idents[0], task)["name"] == "Measure"
    assert [each["id"] for each in projects.tasks(idents[0])] == [task]
    with pytest.raises(NotFound):
        projects.task(idents[0], "1")
    with pytest.raises(InvalidRequest):
        projects.create({"description": "no name"})
    with pytest.raises(InvalidRequest):
        next(projects("other").list())


def test_the_throttle_of_projects_is_a_throttle_though_it_says_400(house):
    """The call after the hundredth of one kind in two minutes waits minutes, in the words of our errors."""
    pattern = "GET portal * projects"
    house.zoho.projects.portals()
    list(house.zoho.projects.list())
    house.simulator.projects_api._used[pattern].add(house.simulator.world.now(), MOST)
    with pytest.raises(RateLimited) as caught:
        list(house.zoho.projects.list())
    assert (caught.value.status, caught.value.retry_after) == (400, 120.0)


# Recruit and Bigin ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("product", "module"), [("bigin", "Contacts"), ("recruit", "Candidates")])
def test_records_are_as_in_crm(house, product, module):
    """Made, read, changed, listed, searched, ensured, deleted, each under the product's own path."""
    client = getattr(house.zoho, product)
    house.simulator.limits.crm_search_lag = 0.0
    made = client.create(module, {"Last_Name": "Byrne", "Email": "b@x.example"})["id"]
    assert client.get(module, made)["Last_Name"] == "Byrne"
    client.update(module, made, {"Last_Name": "Moe"})
    assert [row["id"] for row in client.list(module, fields=["Last_Name"])] == [made]
    assert client.search(module, email="b@x.example")[0]["id"] == made
    same, new = client.ensure(module, {"Email": "b@x.example"}, {"Last_Name": "Other"})
    assert (same["id"], same["Last_Name"], new) == (made, "Moe", False)
    _, new = client.ensure(module, {"Email": "c@x.example"}, {"Last_Name": "Faria"})
    assert new
    client.delete(module, made)
    with pytest.raises(NotFound):
        client.get(module, made)
    calls = house.simulator.journal.calls(product)
    assert len(calls) >= 10
    assert all(call.path.startswith(f"/{product}/v2/") for call in calls)


def test_recruit_has_no_coql(house):
    """It is said before anything is sent."""
    with pytest.raises(InvalidRequest, match="search"):
        house.zoho.recruit.coql("select id from Candidates")


# All ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call",
    [
        lambda zoho: zoho.mail.folders(),
        lambda zoho: list(zoho.sign.list()),
        lambda zoho: list(zoho.workdrive.list(FOLDER)),
        lambda zoho: list(zoho.projects.list()),
        lambda zoho: zoho.bigin.get("Contacts", "1"),
        lambda zoho: zoho.recruit.get("Candidates", "1"),
    ],
    ids=["mail", "sign", "workdrive", "projects", "bigin", "recruit"],
)
def test_a_scope_that_is_missing_is_told_and_costs_no_token(build, simulator, call):
    """The consent has no scope of that product: ScopeMissing, with the one token that was made."""
    made = build(simulator, more=IDS)
    made.connect()
    with pytest.raises(ScopeMissing):
        call(made.zoho)
    assert made.refreshes() == 1


def test_an_account_that_is_not_set_is_said(build, simulator):
    """The setting that is missing is named."""
    made = build(simulator)
    made.connect()
    with pytest.raises(SettingsError, match="mail"):
        made.zoho.mail.folders()
    with pytest.raises(SettingsError, match="projects"):
        next(made.zoho.projects.list())


def test_connecting_tells_the_accounts_and_the_portals(house):
    """Whoever consents is told which mail accounts and portals his consent opens, for the settings."""
    known, troubles = found(house.zoho, SCOPES.split(","))
    assert known == {
        "mail": [(ACCOUNT, house.simulator.world.admin.email)],
        "projects": [(PORTAL, house.simulator.world.company)],
    }
    assert not troubles


def test_a_webhook_of_desk_keeps_its_subscriptions(build, simulator):
    """Desk wants them named at every change: a change of the name alone sends them as they are."""
    made = build(simulator)
    made.connect()
    desk, wanted = made.zoho.desk, {"Ticket_Add": None, "Ticket_Comment_Add": None}
    there = {"url": f"{simulator.base}/oauth/serverinfo", "name": "Zohook", "subscriptions": wanted}
    hook = desk.create_webhook(there)["id"]
    changed = desk.update_webhook(hook, {"name": "Other"})
    assert (changed["name"], changed["subscriptions"]) == ("Other", wanted)
    with pytest.raises(InvalidRequest, match="desk PATCH"):
        desk.update("webhooks", hook, {"name": "Third"})
