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

  // A chart answers to the pointer and to focus once somebody looks closer: until then it is a
  // picture, and the script that draws (a megabyte) is not fetched.
  let engine = null;
  const load = () => {
    engine ??= new Promise((done, failed) => {
      const script = document.createElement("script");
      script.src = `/static/vega.js?v=${said.assets}`;
      script.addEventListener("load", () => done(window.turnbackEmbed));
      script.addEventListener("error", failed);
      document.head.append(script);
    });
    return engine;
  };
  const alive = async (figure) => {
    const wanted = figure.dataset.spec;
    if (figure.dataset.own === wanted) return;
    figure.dataset.own = wanted;
    try {
      const [embed, answer] = await Promise.all([load(), fetch(wanted)]);
      const spec = await answer.json();
      const place = document.createElement("div");
      place.className = "drawn";
      place.style.height = `${figure.clientHeight}px`;
      spec.height = Math.max(180, figure.clientHeight - 12);
      spec.width = Math.max(240, figure.clientWidth - 16);
      // interpreted, not compiled: the policy of these pages has no unsafe-eval
      await embed(place, spec, { ast: true, actions: false, renderer: "svg", defaultStyle: false, tooltip: { disableDefaultStyle: true, offsetX: 14, offsetY: 14 } });
      if (figure.dataset.own === wanted) figure.replaceChildren(place);
    } catch {
      delete figure.dataset.own; // the picture stays
    }
  };
  for (const kind of ["pointerover", "focusin"]) {
    document.addEventListener(kind, (event) => {
      const figure = event.target.closest?.(".chart[data-spec]");
      if (figure) alive(figure);
    });
  }

  // What can be filtered at once is filtered at once; the address keeps it, as the form would.
  const filter = () => {
    const form = document.querySelector("form[data-filter]");
    const list = form && document.querySelector(form.dataset.filter);
    if (!list) return;
    const { q, state, owner } = Object.fromEntries(new FormData(form));
    const text = (q || "").trim().toLocaleLowerCase();
    let found = 0;
    for (const row of list.children) {
      const { text: mine, state: states, owner: whose } = row.dataset;
      row.hidden = !(mine.toLocaleLowerCase().includes(text) && (!state || states.split(" ").includes(state)) && (!owner || whose === owner));
      found += row.hidden ? 0 : 1;
    }
    document.getElementById("none").hidden = found > 0;
    const place = document.getElementById("found");
    place.textContent = place.dataset.text.replace("{found}", found).replace("{total}", list.children.length);
  };
  const filtering = () => {
    const form = document.querySelector("form[data-filter]");
    return form && form.dataset.part === undefined && [...new FormData(form).values()].some((value) => value !== "");
  };
  const typed = (event) => {
    const form = event.target.closest?.("form[data-filter]");
    if (!form) return;
    // rows the server left out are not here: it is asked again
    if (form.dataset.part !== undefined) return;
    filter();
  };
  document.addEventListener("input", typed);
  document.addEventListener("change", typed);

  // Makes `here` like `next` in place: nodes that are the same stay, and with them focus and state.
  const kept = (name, node) => name === "open" || name === "checked" || (name === "value" && node.type !== "hidden");
  const same = (a, b) => a.nodeType === b.nodeType && a.nodeName === b.nodeName && (a.id || "") === (b.id || "") && (a.dataset?.keep || "") === (b.dataset?.keep || "");
  const attributes = (here, next) => {
    for (const { name } of [...here.attributes]) {
      if (!next.hasAttribute(name) && !kept(name, here) && name !== "data-own") here.removeAttribute(name);
    }
    for (const { name, value } of next.attributes) {
      if (!kept(name, here) && here.getAttribute(name) !== value) here.setAttribute(name, value);
    }
  };
  const morph = (here, next) => {
    if (here.nodeType !== Node.ELEMENT_NODE) {
      if (here.nodeValue !== next.nodeValue) here.nodeValue = next.nodeValue;
      return;
    }
    if (here.isEqualNode(next)) return;
    attributes(here, next);
    if (here.matches("[data-own]")) return; // drawn by the script
    let at = here.firstChild;
    for (const wanted of [...next.childNodes]) {
      let found = at;
      // text between elements is taken where it stands: to look further would pass elements by
      if (wanted.nodeType !== Node.ELEMENT_NODE) found = at && same(at, wanted) ? at : null;
      else while (found && !same(found, wanted)) found = found.nextSibling;
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
    for (const figure of document.querySelectorAll(".chart[data-own]")) alive(figure);
    if (filtering()) filter();
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
    if (said.live === undefined || document.visibilityState !== "visible") return; // looked at again when it is seen
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
  // the answer to a form says what became of it: fetched again it would be the empty form
  if (said.live !== undefined) listen();
})();
