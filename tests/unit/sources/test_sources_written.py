"""Products whose bodies an admin writes or whose proof is a static secret: Recruit, Bigin, Sprints, Forms, Campaigns, bulk callbacks."""

from __future__ import annotations

import json
from zoneinfo import ZoneInfo

import pytest
from kits import KITS
from signed_deliveries import RECEIVED, SECRETS, sample

from receiver.errors import Malformed, Unauthenticated
from receiver.event import Delivery
from receiver.sources import PRODUCTS, known_types, native_pattern, problems
from receiver.sources.source import Keys, Verified, Way

WEEK = 7 * 86_400
STATIC = Verified("static")
FORM = {"content-type": "application/x-www-form-urlencoded"}


def parsed(product, body, way=None, **also):
    """What is read of a body."""
    delivery = Delivery.arrive(product, body, received=RECEIVED, **also)
    return PRODUCTS[product].parse(delivery, way or KITS[product].way, STATIC)


def told(product, body, way=None, **also):
    """The one event of a body."""
    (event,) = parsed(product, body, way, **also).events
    return event


@pytest.mark.parametrize(
    "product", ["crm_workflow", "recruit", "bigin", "sprints", "forms", "campaigns", "custom"]
)
def test_one_source_serves_many_rules(product):
    """The URL names the event among those listed, and no other is taken."""
    way = Way("many", product, events=("Thing.made", "Thing.gone"), id="/id")
    kinds = [
        told(product, b'{"id": 5}', way, query=b"event=" + word).type
        for word in (b"Thing.made", b"thing.GONE")
    ]
    prefix = {"crm_workflow": "crm", "custom": "many"}.get(product, product)
    assert kinds == [f"{prefix}.Thing.made", f"{prefix}.Thing.gone"]
    for query in (b"event=Thing.stolen", b"event=Thing.made&event=Thing.gone", b"event="):
        with pytest.raises(Malformed):
            told(product, b'{"id": 5}', way, query=query)


@pytest.mark.parametrize(
    ("product", "word", "kind"),
    [
        ("recruit", "Candidates.edit", "recruit.Candidates.updated"),
        ("recruit", "Candidates.hired", "recruit.Candidates.hired"),
        ("bigin", "Pipelines.create", "bigin.Pipelines.created"),
        ("sprints", "Item.done", "sprints.Item.done"),
        ("forms", "Contact.submitted", "forms.Contact.submitted"),
    ],
)
def test_words_have_the_product_before_them(product, word, kind):
    """CRM's words mean the same where CRM's engine is; elsewhere in our house they stay CRM's."""
    assert told(product, b"{}", Way("x", product, events=(word,))).type == kind
    assert native_pattern("Candidates.edit") == "crm.Candidates.updated"


def test_fields_that_were_not_filled_are_absent():
    """An empty text, a merge field of Recruit's that it does not know, and a text of nothing but such."""
    event = told("recruit", sample("recruit", "candidate-hired"))
    assert "referrer" not in event.data
    assert event.record_id == "475787000000368001"
    said = b'{"a": "${X.Y} ${!Z}", "b": "Dear ${X.Y}", "c": " ", "d": [" ${X} "], "e": {"f": ""}}'
    assert told("bigin", said).data == {"b": "Dear ${X.Y}", "d": [], "e": {}}


def test_methods_are_those_of_the_products():
    """What a product never uses is not open: Recruit has no PUT, Forms only POST."""
    methods = {
        name: PRODUCTS[name].methods for name in ("crm_workflow", "sprints", "recruit", "forms", "campaigns")
    }
    assert methods["crm_workflow"] == methods["sprints"] == {"POST", "PUT", "GET", "DELETE"}
    assert (methods["recruit"], methods["forms"]) == ({"POST", "GET"}, {"POST"})
    assert methods["campaigns"] == {"POST", "PUT", "GET"}


def test_an_entry_of_a_form_needs_no_list():
    """Where neither URL nor settings name an event, it is an entry."""
    zone = ZoneInfo("Asia/Kolkata")
    way = Way("forms", "forms", time="/Added_Time", time_format="%d-%b-%Y %H:%M:%S", zone=zone)
    event = told("forms", sample("forms", "entry"), way)
    assert (event.type, event.occurred) == ("forms.entry.submitted", 1_782_881_130_000)
    assert "Phone" not in event.data
    assert problems(way) == ()
    assert "forms.entry.submitted" in known_types()
    assert problems(Way("x", "sprints"))[0].startswith("sources.x.events")


def test_an_entry_may_bring_files():
    """Of a multipart entry the fields are data, and of a file its name; the raw bytes are kept beside it."""
    body = (
        b'--B\r\nContent-Disposition: form-data; name="Name"\r\n\r\nKim\r\n'
        b'--B\r\nContent-Disposition: form-data; name="CV"; filename="cv.pdf"\r\nContent-Type: application/pdf\r\n\r\n%PDF\xff\r\n--B--\r\n'
    )
    event = told("forms", body, headers={"content-type": "multipart/form-data; boundary=B"})
    assert event.data == {"Name": "Kim", "CV": "cv.pdf"}


class TestCampaigns:
    """The e-mail API's facts, and everything else."""

    def test_an_opened_mail(self):
        """Type, contact, time and identity; what is common is in the data of each."""
        event = told("campaigns", sample("campaigns", "email-open"))
        assert (event.type, event.native) == ("campaigns.email.opened", "email_open")
        assert (event.record_id, event.occurred) == ("1314909000000144100", 1_725_461_219_774)
        assert event.data["transmission_name"] == "Order confirmations"
        assert event.data["contact_email"] == "kim.sander@example.com"
        assert json.loads(event.identity)[1:] == [
            "1314909000000063004",
            "1314909000000151007",
            "1314909000000144100",
            1_725_461_219_774,
        ]
        assert PRODUCTS["campaigns"].window(KITS["campaigns"].way) == WEEK

    @pytest.mark.parametrize(
        ("action", "kind"),
        [
            ("bounce", "campaigns.email.bounced"),
            ("spam", "campaigns.email.marked_as_spam"),
            ("unsubscribed", "campaigns.contact.unsubscribed"),
            ("email_forwarded", "campaigns.email.email_forwarded"),
        ],
    )
    def test_actions(self, action, kind):
        """A word that we don't know is taken as it stands."""
        assert (
            told(
                "campaigns", json.dumps({"action": action, "webhook_id": "1", "contact_id": 5}).encode()
            ).type
            == kind
        )

    def test_each_element_is_a_fact_and_a_bad_one_takes_none_with_it(self):
        """Two opened mails are two events, an element that is none is bad, and the flat form of the page is one event."""
        document = json.loads(sample("campaigns", "email-open"))
        document["data"] += [
            7,
            {"action_time": "never"},
            {"contact_id": 2, "action_time": 1_725_461_219_775},
            {"contact_id": 3},
        ]
        read = parsed("campaigns", json.dumps(document).encode())
        assert [event.record_id for event in read.events] == ["1314909000000144100", "2", "3"]
        assert [reason.partition(":")[0] for reason in read.bad] == ["data[1]", "data[2]"]
        assert read.events[2].identity.endswith("#4")
        flat = told(
            "campaigns",
            b'{"action": "bounce", "webhook_id": 1, "contact_id": 9, "action_time": 1725461219774}',
        )
        assert (flat.record_id, flat.occurred) == ("9", 1_725_461_219_774)

    @pytest.mark.parametrize(
        "said",
        [{"data": "x"}, {"data": [1]}, {"action": "no name!"}, {"action": 7}, {"rcpt_additional_data": []}],
    )
    def test_wrong_types_are_malformed(self, said):
        """Of a body that says nothing readable nothing is guessed."""
        with pytest.raises(Malformed):
            told("campaigns", json.dumps({"action": "bounce", "webhook_id": "1", **said}).encode())

    def test_a_workflow_of_campaigns_is_named_by_the_url(self):
        """Any other body is an admin's."""
        way = Way("c", "campaigns", events=("Lead.scored",), id="/contact")
        assert told("campaigns", b"contact=5", way, headers=FORM).type == "campaigns.Lead.scored"
        assert told("campaigns", b'[{"contact": 5}]', way).type == "campaigns.Lead.scored"
        with pytest.raises(Malformed):
            told("campaigns", b'{"contact": 5}')


class TestBulk:
    """Callbacks of bulk jobs."""

    WAY = KITS["crm_bulk"].way

    @pytest.mark.parametrize(
        ("body", "query", "kind", "state"),
        [
            (sample("crm_bulk", "read-completed"), b"", "BulkRead", "COMPLETED"),
            (b'{"data": [{"id": "5", "state": "FAILURE"}]}', b"job=read", "BulkRead", "FAILURE"),
            (b'{"job_id": 5, "operation": "upsert", "status": "COMPLETED"}', b"", "BulkWrite", "COMPLETED"),
            (b'{"data": {"id": "5"}}', b"job=write", "BulkWrite", ""),
            (b'{"data": [], "id": "5"}', b"job=write", "BulkWrite", ""),
            (b"id=5&state=COMPLETED&token=s", b"job=read", "BulkRead", "COMPLETED"),
        ],
    )
    def test_a_callback_is_a_hint(self, body, query, kind, state):
        """Whatever its form, it names a job and says if that reads or writes."""
        event = told("crm_bulk", body, query=query, headers=FORM)
        assert (event.type, event.native) == (f"crm.{kind}.reported", state)
        assert event.record_id in ("5", "4876876000001294251")
        assert "token" not in event.data
        assert PRODUCTS["crm_bulk"].window(self.WAY) == WEEK

    @pytest.mark.parametrize(
        ("body", "query"),
        [
            (b"", b"job=read"),
            (b"{}", b"job=read"),
            (b"[]", b"job=read"),
            (b'{"id": "../x"}', b"job=read"),
            (b'{"id": "5"}', b""),
            (b'{"id": "5"}', b"job=delete"),
            (b'{"id": "5"}', b"job=read&job=write"),
            (b'{"id": "5", "operation": 7}', b""),
        ],
    )
    def test_a_callback_without_a_job_is_malformed(self, body, query):
        """Nothing is asked of CRM on such a hint."""
        with pytest.raises(Malformed):
            told("crm_bulk", body, query=query)

    def test_the_url_names_a_customers_organisation(self):
        """Where many customers share a source, whose job it is stands in the URL that we made."""
        way = Way("bulk", "crm_bulk", organisation="7")
        assert (
            told("crm_bulk", b'{"id": "5"}', way, query=b"job=read&org=759145822").organisation == "759145822"
        )
        assert told("crm_bulk", b'{"id": "5"}', way, query=b"job=read").organisation == "7"

    def test_where_the_secret_stands_is_settled(self):
        """It is in the URL, whatever zohook.toml says; a bare request with it is no handshake, and the callback's URL is not data."""
        source = PRODUCTS["crm_bulk"]
        way = source.settled(Way("bulk", "crm_bulk", secret_header="x-mine"))
        assert (way.secret_header, way.secret_parameter) == ("", "token")
        bare = Delivery.arrive("bulk", query=b"job=read&token=" + SECRETS["new"].encode())
        assert not source.handshake(bare, way)
        assert source.verify(bare, way, Keys((SECRETS["new"],))).by == "token"
        with pytest.raises(Unauthenticated):
            source.verify(
                Delivery.arrive("bulk", headers={"x-mine": SECRETS["new"]}), way, Keys((SECRETS["new"],))
            )
        event = told(
            "crm_bulk", b'{"id": "5", "callback": {"url": "https://x/in/bulk?token=s"}}', query=b"job=write"
        )
        assert event.data == {"id": "5"}
        assert source.proof_members == {"url"}


class TestZeptoMail:
    """Bounces, opens and clicks of transactional mail."""

    def test_a_bounce(self):
        """Type, mail, time by its offset, and the native id of the request."""
        event = told("zeptomail", sample("zeptomail", "hard-bounce"))
        assert (event.type, event.native) == ("zeptomail.email.hard_bounced", "hardbounce")
        assert (event.record_id, event.occurred) == ("2d6f.5c0e2d9a1f9c47b1.m1.hb-01", 1_782_881_130_000)
        assert json.loads(event.identity)[1:] == ["2d6f.5c0e2d9a1f9c47b1.w1.90211", 0]
        assert event.data["email_info"]["client_reference"] == "invoice-4711"

    def test_lists_and_single_ones(self):
        """Names and messages stand in the same order; one name may be of all, and either may come without its list."""
        two = {
            "event_name": ["open", "Email Link Click"],
            "event_message": [{"request_id": "a"}, {"request_id": "b"}],
        }
        assert [event.type for event in parsed("zeptomail", json.dumps(two).encode()).events] == [
            "zeptomail.email.opened",
            "zeptomail.email.clicked",
        ]
        one = {
            "event_name": "delivered",
            "event_message": {"request_id": "a", "event_data": {"details": {"time": "2026-07-01T10:15:30Z"}}},
        }
        event = told("zeptomail", json.dumps(one).encode())
        assert (event.type, event.occurred) == ("zeptomail.email.delivered", 1_782_900_930_000)
        all_of_one = {"event_name": ["feedback loop"], "event_message": [{}, {}]}
        events = parsed("zeptomail", json.dumps(all_of_one).encode()).events
        assert {event.type for event in events} == {"zeptomail.email.marked_as_spam"}
        assert len({event.identity for event in events}) == 2

    def test_without_an_id_the_body_identifies(self):
        """Whoever sends it again can change all but the signed body, which for a week is the same fact."""
        said = b'{"event_name": ["open"], "event_message": [{"request_id": "a"}]}'
        ids = {
            told("zeptomail", said, query=query, method=method).identity
            for query in (b"", b"x=1")
            for method in ("POST", "PUT")
        }
        assert len(ids) == 1

    def test_a_bad_message_takes_none_with_it(self):
        """The others are taken."""
        said = {
            "event_name": ["open", "open", 7],
            "event_message": [{"request_id": "a"}, {"event_data": [1]}, {"request_id": "b"}],
        }
        read = parsed("zeptomail", json.dumps(said).encode())
        assert ([event.record_id for event in read.events], len(read.bad)) == (["a"], 2)

    @pytest.mark.parametrize(
        "said",
        [
            "[]",
            "{}",
            '{"event_name": [], "event_message": [{}]}',
            '{"event_name": ["open"], "event_message": null}',
            '{"event_name": ["!"], "event_message": [{}]}',
            '{"event_name": [null], "event_message": [{}]}',
        ],
    )
    def test_wrong_bodies_are_malformed(self, said):
        """Nothing is guessed."""
        with pytest.raises(Malformed):
            told("zeptomail", said.encode())

    @pytest.mark.parametrize(
        "data", [None, [], [{}], [{"details": []}], [{"details": [7]}], [{"details": "x"}]]
    )
    def test_a_time_may_be_missing(self, data):
        """Then nobody knows when it happened."""
        said = {"event_name": "open", "event_message": {"request_id": "a", "event_data": data}}
        assert told("zeptomail", json.dumps(said).encode()).occurred is None

    def test_the_test_of_a_new_webhook_is_answered(self):
        """A bare request and an unsigned POST without a message are probes; with one it is a delivery."""
        source, way = PRODUCTS["zeptomail"], KITS["zeptomail"].way
        assert source.handshake(Delivery.arrive("z", b'{"test": true}'), way)
        assert not source.handshake(Delivery.arrive("z", sample("zeptomail", "hard-bounce")), way)
        assert not source.handshake(
            Delivery.arrive(
                "z", sample("books", "invoice-minimal"), headers={"x-zoho-webhook-signature": "ab"}
            ),
            way,
        )
        assert not source.handshake(Delivery.arrive("z", b"{}", headers={"producer-signature": "x"}), way)

    def test_another_form_of_signature_is_named(self):
        """The reason shows the form that is expected."""
        kit = KITS["zeptomail"]
        with pytest.raises(Unauthenticated, match="has not the form ts="):
            PRODUCTS["zeptomail"].verify(kit.deliver("0" * 64), kit.way, kit.keys("new"))

    @pytest.mark.parametrize("off", [301_000, -301_000])
    def test_an_old_signature_is_refused(self, off):
        """Five minutes are tolerated."""
        kit = KITS["zeptomail"]
        delivery = Delivery.arrive(
            "z", kit.deliver(None).body, headers={"producer-signature": kit.proof()}, received=RECEIVED + off
        )
        with pytest.raises(Unauthenticated, match="are tolerated"):
            PRODUCTS["zeptomail"].verify(delivery, kit.way, Keys((SECRETS["new"],)))
