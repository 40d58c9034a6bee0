"use strict";
// Keeps the page current: a stream says when there is something new, then the page is fetched
// again and what changed is put in its place; focus, open details and scroll stay as they are.
(() => {
  const POLL = 5000; // milliseconds between two looks where there is no stream
  const SETTLE = 150; // several changes at once are one fetch
  const said = document.body.dataset;
  let tag = null;
  let pending = null;
  let fetching = false;
  let again = false;

  const tell = (text) => {
    const place = document.getElementById("live");
    if (place && place.textContent !== text) place.textContent = text;
  };

  // the choice is kept in a cookie: the address is that of the page alone
  const address = new URL(location.href);
  if (address.searchParams.has("lang") || address.searchParams.has("theme")) {
    address.searchParams.delete("lang");
    address.searchParams.delete("theme");
    history.replaceState(null, "", address);
  }

  const draw = async (details) => {
    const place = details.querySelector(".drawn");
    if (!details.open || !place) return;
    const answer = await fetch(details.dataset.chart);
    if (!answer.ok) return;
    const text = await answer.text();
    if (place.dataset.drawn === text) return;
    place.dataset.drawn = text;
    place.innerHTML = text; // our own fragment, escaped by the server
  };

  document.addEventListener("toggle", (event) => {
    if (event.target.matches?.("details[data-chart]")) draw(event.target);
  }, true);

  // Makes `here` like `next` in place: nodes that are the same stay, and with them focus and state.
  const KEPT = ["open", "value", "checked"];
  const same = (a, b) => a.nodeType === b.nodeType && a.nodeName === b.nodeName && (a.id || "") === (b.id || "") && (a.dataset?.keep || "") === (b.dataset?.keep || "");
  const attributes = (here, next) => {
    for (const { name } of [...here.attributes]) {
      if (!next.hasAttribute(name) && !(KEPT.includes(name) || name === "hidden" || name === "data-drawn")) here.removeAttribute(name);
    }
    for (const { name, value } of next.attributes) {
      if (!KEPT.includes(name) && here.getAttribute(name) !== value) here.setAttribute(name, value);
    }
  };
  const morph = (here, next) => {
    if (here.nodeType !== Node.ELEMENT_NODE) {
      if (here.nodeValue !== next.nodeValue) here.nodeValue = next.nodeValue;
      return;
    }
    if (here.isEqualNode(next)) return;
    attributes(here, next);
    if (here.matches("[data-own], .drawn")) return; // filled by the script
    let at = here.firstChild;
    for (const wanted of [...next.childNodes]) {
      let found = at;
      while (found && !same(found, wanted)) found = found.nextSibling;
      if (!found) {
        here.insertBefore(wanted, at);
        continue;
      }
      while (at !== found) {
        const gone = at;
        at = at.nextSibling;
        gone.remove();
      }
      morph(found, wanted);
      at = found.nextSibling;
    }
    while (at) {
      const gone = at;
      at = at.nextSibling;
      gone.remove();
    }
  };

  const swap = (text) => {
    const next = new DOMParser().parseFromString(text, "text/html");
    if (next.body.dataset.assets !== said.assets) {
      location.reload(); // another version of the service
      return;
    }
    const page = next.getElementById("page");
    if (!page) return;
    morph(document.getElementById("page"), page);
    document.title = next.title;
    for (const details of document.querySelectorAll("details[open][data-chart]")) draw(details);
    document.dispatchEvent(new Event("turnback:swapped"));
  };

  const refresh = async () => {
    if (fetching) {
      again = true;
      return;
    }
    fetching = true;
    try {
      const headers = tag ? { "If-None-Match": tag } : {};
      const answer = await fetch(location.href, { headers, cache: "no-store" });
      if (answer.status === 200) {
        tag = answer.headers.get("ETag");
        swap(await answer.text());
      }
      tell(said.current);
    } catch {
      tell(said.lost);
    } finally {
      fetching = false;
    }
    if (again) {
      again = false;
      soon();
    }
  };

  const soon = () => {
    if (document.visibilityState !== "visible") return; // looked at again when it is seen
    clearTimeout(pending);
    pending = setTimeout(refresh, SETTLE);
  };

  document.addEventListener("visibilitychange", soon);

  let polling = null;
  const poll = () => {
    if (polling === null) polling = setInterval(soon, POLL);
  };
  const listen = () => {
    if (typeof EventSource === "undefined") {
      poll();
      return;
    }
    const stream = new EventSource("/live");
    stream.addEventListener("open", () => {
      clearInterval(polling);
      polling = null;
      tell(said.current);
    });
    stream.addEventListener("change", soon);
    stream.addEventListener("error", () => {
      poll(); // until the stream is back
      if (stream.readyState === EventSource.CLOSED) setTimeout(listen, 6 * POLL);
    });
    addEventListener("pagehide", () => stream.close());
  };
  listen();
})();
