"""The rest of CRM's client: files, tags, conversion, mass updates, composite and bulk jobs, against the strict simulator."""

from __future__ import annotations

import hashlib
import tracemalloc

import orjson
import pytest

from receiver import keys
from receiver.errors import Conflict, InvalidRequest, NotFound, RetryLater, Unavailable
from receiver.zoho.ask import Ask
from receiver.zoho.files import framed, upload


def lead(house, name="Lindqvist", **more):
    """The id of a new lead."""
    values = {"Last_Name": name, "Company": "Brightwater", "Email": f"{name}@x.example".lower(), **more}
    return str(house.simulator.crm.create("Leads", values)["id"])


def pieces(count, size=64 * 1024):
    """A file that is made as it is read."""
    for number in range(count):
        yield bytes([number % 251]) * size


# Attachments ----------------------------------------------------------------------------------------------------------


def test_a_file_is_hung_on_a_record_and_read_again(house, tmp_path):
    """From bytes, a path, an open file and pieces; what comes back is what went, with its name and size."""
    ident, files = lead(house), house.zoho.crm.attachments
    path = tmp_path / "plan.txt"
    path.write_bytes(b"the plan")
    assert files.upload("Leads", ident, b"hello", "a.txt")["id"]
    assert files.upload("Leads", ident, path)["id"]
    with path.open("rb") as open_file:
        assert files.upload("Leads", ident, open_file, "again.txt")["id"]
    last = files.upload("Leads", ident, pieces(3, 10), 'odd "name".bin')["id"]
    listed = list(files.list("Leads", ident))
    assert [each["File_Name"] for each in listed[:3]] == ["a.txt", "plan.txt", "again.txt"]
    assert [each["Size"] for each in listed] == ["5", "8", "8", "30"]
    with files.open("Leads", ident, listed[1]["id"]) as download:
        assert (download.name, download.size, b"".join(download)) == ("plan.txt", 8, b"the plan")
    with files.open("Leads", ident, last) as download:
        assert download.save(tmp_path / "out.bin") == 30
    assert (tmp_path / "out.bin").read_bytes() == b"".join(pieces(3, 10))
    assert files.delete("Leads", ident, last)["action"] == "delete"
    with pytest.raises(NotFound), files.open("Leads", ident, last):
        pass


def test_a_file_goes_from_record_to_record_without_being_held(house):
    """Ten megabytes out of one record into another: the same bytes, and never more than a fraction of them in memory."""
    one, two, files = lead(house), lead(house, "Okafor"), house.zoho.crm.attachments
    first = files.upload("Leads", one, pieces(160), "big.bin")["id"]
    house.zoho.crm.user()
    tracemalloc.start()
    with files.open("Leads", one, first) as download:
        sent = hashlib.sha256()

        def counted():
            for piece in download:
                sent.update(piece)
                assert len(piece) < 2**20
                yield piece

        files.upload("Leads", two, counted(), "big.bin")
    tracemalloc.stop()
    (got,) = house.simulator.crm.attachments.of("Leads", two)
    assert len(got.content) == 160 * 64 * 1024
    assert hashlib.sha256(got.content).digest() == sent.digest()


def test_a_download_passes_straight_into_an_upload(house):
    """A client's download is a file to any other: name, size and type come along."""
    one, two, files = lead(house), lead(house, "Okafor"), house.zoho.crm.attachments
    first = files.upload("Leads", one, b"signed", "contract.pdf")["id"]
    with files.open("Leads", one, first) as download:
        files.upload("Leads", two, download)
    (got,) = house.simulator.crm.attachments.of("Leads", two)
    assert (got.name, got.content) == ("contract.pdf", b"signed")


def test_an_upload_is_never_sent_twice(house):
    """Its answer is lost: the job is told, and no second file hangs there."""
    ident = lead(house)
    house.zoho.crm.user()
    house.simulator.faults.add("lost", product="crm", path=f"/crm/v8/Leads/{ident}/Attachments")
    with pytest.raises(Unavailable):
        house.zoho.crm.attachments.upload("Leads", ident, b"x", "x.txt")
    assert len(house.simulator.crm.attachments.of("Leads", ident)) == 1


def test_a_cut_download_is_told_and_leaves_no_file(house, tmp_path):
    """Half a file is none: Unavailable, nothing at the path, and nothing beside it."""
    ident = lead(house)
    first = house.zoho.crm.attachments.upload("Leads", ident, b"y" * 100_000, "y.bin")["id"]
    house.simulator.faults.add("cut", product="crm", path=f"/crm/v8/Leads/{ident}/Attachments/{first}")
    with (
        pytest.raises(Unavailable, match="cut"),
        house.zoho.crm.attachments.open("Leads", ident, first) as download,
    ):
        download.save(tmp_path / "half.bin")
    assert list(tmp_path.iterdir()) == [tmp_path / "zohook.toml"]


def test_a_stale_token_is_renewed_before_a_file_is_read(house):
    """A dead token costs a renewal, and the file comes."""
    ident = lead(house)
    first = house.zoho.crm.attachments.upload("Leads", ident, b"z", "z.txt")["id"]
    house.simulator.accounts.kill_access_tokens()
    with house.zoho.crm.attachments.open("Leads", ident, first) as download:
        assert b"".join(download) == b"z"


def test_a_dead_token_at_an_upload_is_not_answered_by_half_a_file(house):
    """The file was read for a call that Zoho refused: the job comes again, with a new token, and the file is whole then."""
    ident = lead(house)
    house.zoho.crm.user()
    house.simulator.accounts.kill_access_tokens()
    with pytest.raises(Unavailable, match="token had ended"):
        house.zoho.crm.attachments.upload("Leads", ident, pieces(2, 10), "a.bin")
    assert house.simulator.crm.attachments.of("Leads", ident) == []
    house.zoho.crm.attachments.upload("Leads", ident, pieces(2, 10), "a.bin")
    assert [len(each.content) for each in house.simulator.crm.attachments.of("Leads", ident)] == [20]


@pytest.mark.parametrize("name", ["", "a/b.txt", "..\\b.txt"])
def test_a_file_needs_a_name(name):
    """Without one, or with folders in it, nothing is sent."""
    with pytest.raises(InvalidRequest, match="name"):
        upload(b"x", name)


def test_a_name_cannot_break_out_of_the_form():
    """Quotes and line ends in a name are encoded, as browsers do."""
    _, body = framed(upload(b"x", 'a"\r\nX-Evil: 1.txt'))
    head = next(body)
    assert b'filename="a%22%0D%0AX-Evil: 1.txt"' in head


def test_a_link_is_hung_on_a_record(house):
    """A link is an attachment without bytes."""
    ident = lead(house)
    house.zoho.crm.attachments.link("Leads", ident, "https://files.example/a", "A")
    (one,) = house.zoho.crm.attachments.list("Leads", ident)
    assert (one["File_Name"], one["$type"]) == ("A", "Link URL")


# Tags, conversion, mass update, composite --------------------------------------------------------------------------------


def test_tags_come_and_go(house):
    """On many records at once, each with its result; a missing one is an error as a value."""
    one, two = lead(house), lead(house, "Okafor")
    results = house.zoho.crm.tags.add("Leads", [one, two, "5725767000000999999"], "hot", "web")
    assert [each.ok for each in results] == [True, True, False]
    assert isinstance(results[2].error, NotFound)
    house.zoho.crm.tags.remove("Leads", one, "web")
    assert house.simulator.crm.actions.tags["Leads", one] == ["hot"]
    assert {each["name"] for each in house.zoho.crm.tags.of("Leads")} == {"hot", "web"}
    with pytest.raises(InvalidRequest, match="at least one tag"):
        house.zoho.crm.tags.add("Leads", one)


def test_a_lead_is_converted(house):
    """It becomes an account, a contact and a deal, whose ids come back; it is gone, and converting it again fails for good."""
    ident = lead(house)
    made = house.zoho.crm.convert(
        ident, Deals={"Deal_Name": "Roof", "Stage": "Qualification", "Closing_Date": "2027-01-31"}
    )
    assert house.zoho.crm.get("Contacts", made["Contacts"]["id"])["Last_Name"] == "Lindqvist"
    assert house.zoho.crm.get("Deals", made["Deals"]["id"])["Account_Name"]["id"] == made["Accounts"]["id"]
    with pytest.raises((NotFound, InvalidRequest)):
        house.zoho.crm.convert(ident)


def test_many_records_get_the_same_values(house):
    """A mass update is scheduled and waited for; what failed is counted."""
    ids = [lead(house, f"L{number}") for number in range(3)]
    said = house.zoho.crm.mass_update(
        "Leads", {"Lead_Status": "Contacted"}, ids=[*ids, "5725767000000999999"]
    )
    assert (said["Status"], said["Updated_Count"], said["Failed_Count"]) == ("COMPLETED", 3, 1)
    assert house.simulator.crm.get("Leads", ids[0])["Lead_Status"] == "Contacted"
    for wrong in ({}, {"ids": ids, "view": "1"}, {"ids": ["1"] * 501}):
        with pytest.raises(InvalidRequest):
            house.zoho.crm.mass_update("Leads", {}, **wrong)


def test_several_calls_in_one_have_answers_of_their_own(house):
    """A good one, a missing one and a write: three parts, an error as a value, and one call to Zoho."""
    ident = lead(house)
    house.zoho.crm.user()
    before = len(house.simulator.journal.calls("crm"))
    parts = house.zoho.crm.composite(
        Ask("crm", "GET", f"/crm/v8/Leads/{ident}"),
        Ask("crm", "GET", "/crm/v8/Leads/5725767000000999999"),
        Ask("crm", "PUT", f"/crm/v8/Leads/{ident}", json={"data": [{"Company": "New"}], "trigger": []}),
    )
    assert parts[0].data["data"][0]["Last_Name"] == "Lindqvist"
    assert parts[1].error is not None or parts[1].status == 204
    assert parts[2].status == 200
    assert house.simulator.crm.get("Leads", ident)["Company"] == "New"
    assert len(house.simulator.journal.calls("crm")) == before + 1
    with pytest.raises(InvalidRequest, match="1 to 5"):
        house.zoho.crm.composite()


# Bulk -----------------------------------------------------------------------------------------------------------------


def test_a_bulk_read_gives_every_row(house):
    """Page after page, each a job of its own; the rows are texts, by the fields that were asked for."""
    house.simulator.limits.bulk_rows = 4
    before = len(house.simulator.crm.all("Leads"))
    for number in range(6):
        lead(house, f"B{number}")
    rows = list(house.zoho.crm.bulk.read("Leads", ["id", "Last_Name"], every=0.01))
    assert len(rows) == before + 6
    assert {"B0", "B5"} <= {row["Last_Name"] for row in rows}
    assert set(rows[0]) == {"id", "Last_Name"}


def test_a_bulk_write_says_what_became_of_each_row(house):
    """Twenty records in one file: those that fail are told with Zoho's word, the others are there."""
    records = [
        {"Last_Name": f"W{number}", "Company": "C", "Email": f"w{number}@x.example"} for number in range(20)
    ]
    records[7]["Email"] = "no address"
    told = list(house.zoho.crm.bulk.write("Leads", records, operation="insert", every=0.01))
    assert [row["STATUS"] for row in told].count("ADDED") == 19
    assert told[7]["ERRORS"].startswith("INVALID_DATA")
    assert house.zoho.crm.get("Leads", told[0]["RECORD_ID"])["Last_Name"] == "W0"


def test_a_bulk_upsert_finds_by_its_field(house):
    """Those that are there are changed, the others are added."""
    ident = lead(house, "There")
    records = [
        {"Last_Name": "There", "Company": "Changed", "Email": "there@x.example"},
        {"Last_Name": "New", "Company": "C", "Email": "new@x.example"},
    ]
    told = list(house.zoho.crm.bulk.write("Leads", records, operation="upsert", find_by="Email", every=0.01))
    assert [row["STATUS"] for row in told] == ["UPDATED", "ADDED"]
    assert house.simulator.crm.get("Leads", ident)["Company"] == "Changed"


def test_a_job_that_takes_long_gives_the_thread_back(house):
    """What has not ended in time comes again later, without a try counted."""
    house.simulator.limits.bulk_by_hand = True
    job = house.zoho.crm.bulk.start_read("Leads", ["id"])
    with pytest.raises(RetryLater, match="ADDED"):
        house.zoho.crm.bulk.wait("read", job, seconds=0.05, every=0.02)
    house.simulator.crm.bulk.end(job, "FAILURE")
    ended = house.zoho.crm.bulk.wait("read", job)
    assert (ended.ended, ended.ok) == (True, False)
    with pytest.raises(NotFound):
        house.zoho.crm.bulk.job("read", "5725767000000999999")


@pytest.mark.parametrize(
    ("records", "more", "why"),
    [([], {}, "no records"), ([{"a": 1}, {"b": 2}], {}, "not in the first record"), ([{"a": 1}], {"operation": "update"}, "find_by")],
)  # fmt: skip
def test_a_bulk_write_that_cannot_be_is_refused_before_it_is_sent(house, records, more, why):
    """Nothing to write, columns that do not fit, and nothing to find by."""
    with pytest.raises(InvalidRequest, match=why):
        house.zoho.crm.bulk.start_write("Leads", records, **{"operation": "insert", **more})
    assert not house.simulator.crm.bulk.files


def test_files_go_by_paths_that_have_no_method(house):
    """`zoho.download` into `zoho.upload`: in pieces, under any path; in shadow mode nothing is sent; what is missing is NotFound."""
    one, other = (
        house.simulator.crm.create("Leads", {"Last_Name": name, "Company": "A"})["id"] for name in "xy"
    )
    zoho = house.zoho
    path = "/crm/v8/Leads/{}/Attachments"
    sent = zoho.upload("crm", path.format(one), b"the offer", "offer.txt")
    attachment = sent["data"][0]["details"]["id"]
    with zoho.download("crm", f"{path.format(one)}/{attachment}") as file:
        zoho.upload("crm", path.format(other), file, "copy.txt")
    assert [each["File_Name"] for each in zoho.crm.attachments.list("Leads", other)] == ["copy.txt"]
    shadow = house.clients.for_job("acme", shadow=True)
    assert shadow.upload("crm", path.format(other), b"x", "x.txt") is None
    assert shadow.calls[-1]["code"] == "shadow"
    assert len(list(zoho.crm.attachments.list("Leads", other))) == 1
    with pytest.raises(NotFound), zoho.download("crm", f"{path.format(one)}/1"):
        pass


def test_what_zoho_refuses_is_kept_whole(house):
    """A hundred records that are all wrong: request and answer stand with the attempt in full, in the record of all calls cut."""
    zoho = house.zoho
    records = [{"Company": "A" * 100, "Phone": str(number)} for number in range(100)]
    with pytest.raises(InvalidRequest):
        zoho.request("crm", "POST", "/crm/v8/Leads", json={"data": records, "trigger": "nonsense"})
    line = zoho.calls[-1]
    assert line["status"] == 400
    assert orjson.loads(line["request"])["data"] == records
    house.transport.flush()
    kept = orjson.loads(house.redis.lindex(keys.calls_log(), 0))
    assert len(kept["request"]) == 4_000
    (conflict,) = zoho.crm.upsert(
        "Leads", [{"Email": house.simulator.crm.all("Leads")[0]["Email"], "Last_Name": "X"}], by=["Email"],
        unmodified_since="2020-01-01T00:00:00+00:00",
    )  # fmt: skip
    assert isinstance(conflict.error, Conflict)
