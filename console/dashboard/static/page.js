"use strict";
// Keeps the page current: fetches it again every few seconds and swaps what changed.
(() => {
  const EVERY = 3000;
  let tag = null;
  let failed = 0;

  const draw = async (details) => {
    const place = details.querySelector(".drawn");
    if (!details.open || !place) return;
    const answer = await fetch(details.dataset.chart);
    if (answer.ok) place.innerHTML = await answer.text(); // our own fragment, escaped by the server
  };

  const watch = () => {
    for (const details of document.querySelectorAll("details[data-chart]")) {
      details.addEventListener("toggle", () => draw(details));
    }
  };

  const swap = (text) => {
    const next = new DOMParser().parseFromString(text, "text/html").getElementById("page");
    const page = document.getElementById("page");
    if (!next || !page) return;
    for (const open of page.querySelectorAll("details[open][data-keep]")) {
      for (const same of next.querySelectorAll("details[data-keep]")) {
        if (same.dataset.keep !== open.dataset.keep) continue;
        same.open = true;
        same.querySelector(".drawn").replaceChildren(...open.querySelector(".drawn").childNodes);
      }
    }
    page.replaceWith(next);
    watch();
    for (const details of next.querySelectorAll("details[open][data-chart]")) draw(details);
  };

  const refresh = async () => {
    if (document.visibilityState === "visible") {
      try {
        const headers = tag ? { "If-None-Match": tag } : {};
        const answer = await fetch(location.href, { headers, cache: "no-store" });
        failed = 0;
        if (answer.status === 200) {
          tag = answer.headers.get("ETag");
          swap(await answer.text());
        }
      } catch {
        failed += 1;
      }
      document.getElementById("live").textContent = failed > 1 ? "The service does not answer; this page is not current." : "This page keeps itself current.";
    }
    setTimeout(refresh, EVERY);
  };

  watch();
  setTimeout(refresh, EVERY);
})();
