"""The dashboard in a real browser: nothing hostile runs, pages live, and they fit small screens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from dashboard_hostile import hostile_ledger
from dashboard_kit import HANDLER, PASSWORD
from dashboard_scene import ordinary, scene

from receiver.event import Delivery, Event, new_id, now_ms
from receiver.ledger import read
from receiver.ledger.accept import Record, accept
from receiver.ledger.runs import job_id

if TYPE_CHECKING:
    from chrome import Chrome
    from conftest import Site

pytestmark = pytest.mark.browser

XSS = (
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "<svg/onload=alert(1)>", "<svg><script>alert(1)</script></svg>",
    '"><script>alert(1)</script>', "'><script>alert(1)</script>", '" autofocus onfocus=alert(1) x="', "' onmouseover=alert(1) x='",
    "javascript:alert(1)", "JaVaScRiPt:alert(1)", "data:text/html,<script>alert(1)</script>", "</script><script>alert(1)</script>",
    "</title><script>alert(1)</script>", "</textarea><script>alert(1)</script>", "</style><script>alert(1)</script>",
    "</pre><script>alert(1)</script>", "--><script>alert(1)</script>", "]]><script>alert(1)</script>", "<iframe src=javascript:alert(1)>",
    "<iframe srcdoc='<script>alert(1)</script>'>", "<object data=javascript:alert(1)>", "<embed src=javascript:alert(1)>",
    "<a href=javascript:alert(1)>x</a>", "<form action=javascript:alert(1)><button>x</button></form>", "<base href=//evil.test/>",
    "<meta http-equiv=refresh content='0;url=javascript:alert(1)'>", "<link rel=stylesheet href=//evil.test/x.css>",
    "<details open ontoggle=alert(1)>x</details>", "<video><source onerror=alert(1)></video>", "<body onload=alert(1)>",
    "<input autofocus onfocus=alert(1)>", "<style>@import '//evil.test/x.css';</style>", "<div style=background:url(//evil.test)>x</div>",
    "<math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>", "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
    "&lt;script&gt;alert(1)&lt;/script&gt;", "&#60;script&#62;alert(1)&#60;/script&#62;", "\\u003cscript\\u003ealert(1)\\u003c/script\\u003e",
    "{{constructor.constructor('alert(1)')()}}", "${alert(1)}", "<script\x00>alert(1)</script>", "<!--<img src='--><img src=x onerror=alert(1)>",
)  # fmt: skip
PAGES = ("/", "/events", "/dead", "/deliveries", "/sources", "/handlers", "/connections")


def test_nothing_that_came_in_ever_runs(chrome: Chrome, site: Site) -> None:
    """Forty-two hostile strings in every shown field: no dialog, no breach of the policy, no request elsewhere."""
    assert len(XSS) >= 40
    addresses = list(PAGES)
    for text in XSS:
        event, delivery = hostile_ledger(site.seed, text)
        addresses += [f"/events/{event.id}", f"/deliveries/{delivery}"]
    for address in addresses:
        chrome.go(site.address + address)
        chrome.ask("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    assert chrome.complaints() == []
    asked = {each["request"]["url"].partition("?")[0] for each in chrome.heard("Network.requestWillBeSent")}
    assert not [each for each in asked if not each.startswith((site.address, "about:"))]


def test_what_is_sent_live_runs_as_little(chrome: Chrome, site: Site) -> None:
    """The same strings put into an open page by its stream."""
    chrome.go(site.address + "/")
    chrome.until("document.getElementById('live')?.textContent === 'Live'")
    for text in XSS[:12]:
        hostile_ledger(site.seed, text)
    last = site.seed.accept("crm.Leads.created", record_id="the-last-one")
    chrome.until(f"document.querySelector('#events [data-id=\"{last.id}\"]') !== null")
    assert chrome.complaints() == []


def test_the_page_lives_without_being_loaded_again(chrome: Chrome, site: Site) -> None:
    """A new event shows by itself, marked as new, and the numbers move; the page stays the same one."""
    scene(site.seed.redis)
    chrome.go(site.address + "/")
    chrome.ask("window.same = true")
    chrome.until("document.getElementById('live')?.textContent === 'Live'")
    before = chrome.ask("document.querySelector('#numbers b').textContent")
    event = site.seed.handled("crm.Leads.created", record_id="live")
    chrome.until(f"document.querySelector('#events tr.new[data-id=\"{event.id}\"]') !== null")
    chrome.until(f"document.querySelector('#numbers b').textContent !== {before!r}")
    assert chrome.ask("window.same") is True
    assert chrome.complaints() == []


def test_a_retry_is_watched_to_its_end(chrome: Chrome, site: Site) -> None:
    """Click Retry; the page says so, and shows the job done as soon as it is, without a click."""
    event = site.seed.handled(state="dead", reason="no")
    chrome.go(f"{site.address}/events/{event.id}")
    chrome.ask("document.querySelector('button[value=retry]').click()")
    chrome.until("document.body?.textContent.includes('runs again, with the same idempotency keys')")
    chrome.until("document.getElementById('live')?.textContent === 'Live'")
    assert job_id(event.id, HANDLER)
    site.seed.run(event, run=2)
    chrome.until("document.querySelector('#jobs .chip')?.textContent === 'done'")
    assert chrome.ask("document.querySelector('h1 .chip').textContent") == "done"
    assert chrome.complaints() == []


def test_a_list_says_how_many_are_newer(chrome: Chrome, site: Site) -> None:
    """Rows are not moved under the reader; a button counts what came since and shows it."""
    site.seed.accept()
    chrome.go(site.address + "/events")
    assert chrome.ask("document.getElementById('newer').hidden") is True
    for _ in range(2):
        site.seed.accept()
    chrome.until("document.getElementById('newer')?.textContent === '2 new events'")
    chrome.ask("document.getElementById('newer').click()")
    chrome.until("document.querySelectorAll('tr[data-id]').length === 3")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_nothing_sticks_out_of_a_small_screen(dark: bool, chrome: Chrome, site: Site) -> None:
    """At 360 pixels no page scrolls sideways, with ordinary records and with very long words."""
    ids = scene(site.seed.redis)
    long, delivery = hostile_ledger(site.seed, "W" * 300)
    chrome.look(width=360, height=740, dark=dark)
    events = [f"/events/{each}" for each in (ids["dead"], ids["retrying"], ids["done"], long.id)]
    tabs = [f"/deliveries?verdict={each}" for each in ("quarantined", "duplicate", "unverified")]
    for path in (*PAGES, *events, *tabs, f"/deliveries/{delivery}", "/nope", "/events?type=nothing"):
        chrome.go(site.address + path)
        chrome.ask("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
        assert chrome.ask("document.documentElement.scrollWidth") <= 360, path
    background = chrome.ask("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(13, 16, 22)") is dark
    chrome.look()


CONTRAST = """
(() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (node) => { for (; node; node = node.parentElement) {
    const found = parse(getComputedStyle(node).backgroundColor); if (found.length < 4 || found[3] === 1) return found; } };
  const poor = new Set();
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const node = walk.currentNode.parentElement;
    if (!walk.currentNode.textContent.trim() || !node.checkVisibility() || node.closest(".unseen, .skip, svg, option")) continue;
    const [a, b] = [light(parse(getComputedStyle(node).color)), light(ground(node))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) poor.add(`${node.tagName}.${node.className} ${ratio.toFixed(2)} ${walk.currentNode.textContent.trim().slice(0, 20)}`);
  }
  return [...poor];
})()
"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_word_can_be_read(dark: bool, chrome: Chrome, site: Site) -> None:
    """Text has a contrast of at least 4.5 to 1 on whatever is behind it; every field has a label, every table a caption."""
    ids = scene(site.seed.redis)
    chrome.look(dark=dark)
    for path in (
        *PAGES,
        f"/events/{ids['dead']}",
        f"/events/{ids['unmatched']}",
        f"/deliveries/{ids['rejected']}",
        "/nope",
    ):
        chrome.go(site.address + path)
        chrome.ask("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
        assert chrome.ask(CONTRAST) == [], path
        unnamed = "[...document.querySelectorAll('input:not([type=hidden]), select')].filter((each) => !each.labels.length).length"
        assert chrome.ask(unnamed) == 0, path
        assert (
            chrome.ask("[...document.querySelectorAll('table')].filter((each) => !each.caption).length") == 0
        ), path
        assert chrome.ask("document.querySelectorAll('h1').length") == 1, path
        assert chrome.ask(
            "new Set([...document.querySelectorAll('[id]')].map((each) => each.id)).size"
        ) == chrome.ask("document.querySelectorAll('[id]').length"), path
    chrome.look()


def test_everything_but_liveness_works_without_scripts(chrome: Chrome, site: Site) -> None:
    """Sign in, filter, open, retry, sign out, in a browser that runs no script."""
    event = site.seed.handled(state="dead", reason="no")
    ordinary(site.seed, 1, now_ms())
    chrome.call("Network.clearBrowserCookies")
    chrome.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        chrome.go(f"{site.address}/events/{event.id}")
        assert chrome.ask("location.pathname") == "/sign-in"
        chrome.ask(f"document.querySelector('[name=password]').value = {PASSWORD!r}")
        chrome.ask("document.querySelector('main form').submit()")
        chrome.until(f"location.pathname === '/events/{event.id}' && document.readyState === 'complete'")
        assert chrome.ask("document.getElementById('live')?.hidden") is True
        chrome.ask("document.querySelector('button[value=retry]').click()")
        chrome.until("document.body?.textContent.includes('runs again, with the same idempotency keys')")
        chrome.go(f"{site.address}/events?type=crm.Deals.*")
        assert chrome.ask("document.querySelectorAll('tr[data-id]').length") == 1
        chrome.ask("document.querySelector('form[action=\"/sign-out\"] button').click()")
        chrome.until("location.pathname === '/sign-in'")
    finally:
        chrome.call("Emulation.setScriptExecutionDisabled", value=False)


def test_a_duplicate_is_run_anyway_at_a_click(chrome: Chrome, site: Site) -> None:
    """From the list to the first event, and from the button to the event that it has become, which is on the page."""
    took = [
        Delivery.arrive("books", b'{"invoice": {"invoice_id": "77"}}', query=b"event=invoice.paid")
        for _ in "12"
    ]
    for each in took:
        event = Event(
            id=new_id(), type="books.invoice.paid", source="books", data={}, received=now_ms(), delivery=each.id,
            identity="sha256:1",
        )  # fmt: skip
        accept(site.seed.redis, [Record(each, "accepted", events=[event], window=60)])
    chrome.go(f"{site.address}/deliveries?verdict=duplicate")
    (row,) = read.deliveries(site.seed.redis, "duplicate")
    assert chrome.ask(f"!!document.querySelector('td a[href=\"/events/{row.same[0]}\"]')")
    chrome.ask("document.querySelector('td.act button').click()")
    chrome.until(f"location.pathname === '/deliveries/{row.id}' && document.readyState === 'complete'")
    own = row.meta["events"][0]
    assert chrome.ask(f"!!document.querySelector('a[href=\"/events/{own}\"]')")
    assert "accepted now" in chrome.ask("document.querySelector('main [role=status]').textContent")
    assert read.event(site.seed.redis, own).event.type == "books.invoice.paid"


def test_a_session_that_ends_is_said_on_the_open_page(chrome: Chrome, site: Site) -> None:
    """When the stream comes back to a closed door, the page says that it is no longer live."""
    chrome.go(site.address + "/")
    chrome.until("document.getElementById('live')?.textContent === 'Live'")
    chrome.call("Network.clearBrowserCookies")
    chrome.ask("dispatchEvent(new Event('pagehide'))")
    chrome.ask("dispatchEvent(new Event('pageshow'))")
    chrome.until("document.getElementById('live')?.textContent?.startsWith('Not live')")
