// Liveness, and nothing else: every page works without this file.
"use strict";
(() => {
  document.querySelector(".top [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
  const address = document.body.dataset.live;
  if (!address) return;
  const light = document.getElementById("live");
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  let stream = null;
  let stamp = document.getElementById("jobs")?.dataset.stamp;

  function say(state, words) {
    if (!light) return;
    light.hidden = false;
    light.dataset.state = state;
    if (light.textContent !== words) light.textContent = words;
  }

  // Rows that were not there before light up once.
  function mark(before, element) {
    if (calm.matches || !element.classList.contains("flashes")) return;
    for (const row of element.querySelectorAll("[data-id]")) {
      if (!before.has(row.dataset.id)) row.classList.add("new");
    }
  }

  // What a person is selecting or has focused is left alone; it is swapped on the next change.
  function inUse(element) {
    const selection = getSelection();
    const selecting = selection && !selection.isCollapsed && element.contains(selection.anchorNode);
    return selecting || (element !== document.activeElement && element.contains(document.activeElement));
  }

  function swap(id, html) {
    const element = document.getElementById(id);
    if (!element || inUse(element)) return;
    const before = new Set([...element.querySelectorAll("[data-id]")].map((row) => row.dataset.id));
    element.innerHTML = html;
    mark(before, element);
  }

  function count(seq) {
    const button = document.getElementById("newer");
    if (!button) return;
    const newer = Number(seq) - Number(button.dataset.seq);
    button.hidden = newer <= 0;
    button.textContent = newer.toLocaleString("en") + (newer === 1 ? " new event" : " new events");
  }

  // A job moved: the page is fetched again, and its part about the jobs is put in.
  async function refetch(now) {
    const answer = await fetch(location.href, { headers: { accept: "text/html" } });
    if (!answer.ok || answer.redirected) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const selector of ["#jobs", ".head"]) {
      const from = fresh.querySelector(selector);
      const to = document.querySelector(selector);
      if (from && to && !inUse(to)) {
        to.replaceWith(document.importNode(from, true));
        if (selector === "#jobs") stamp = now;
      }
    }
  }

  function take(event) {
    say("on", "Live");
    for (const [id, html] of Object.entries(JSON.parse(event.data))) {
      if (id === "seq") count(html);
      else if (id === "stamp") { if (html !== stamp) refetch(html).catch(() => {}); }
      else swap(id, html);
    }
  }

  function open() {
    if (stream) return;
    stream = new EventSource(address);
    stream.onopen = () => say("on", "Live");
    stream.onmessage = take;
    stream.onerror = () => {
      if (stream.readyState === EventSource.CLOSED) say("off", "Not live: load the page again");
      else say("wait", "Connecting");
    };
  }

  function close() {
    stream?.close();
    stream = null;
  }

  // A tab that nobody looks at asks for nothing.
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  addEventListener("pagehide", close);
  addEventListener("pageshow", () => document.hidden || open());
  if (!document.hidden) open();
})();
