// Refreshes the admin's first page without a reload, while its tab is seen. An unchanged page costs an answer without a body.
(() => {
  "use strict";
  const page = document.getElementById("dashboard");
  const state = document.getElementById("dashboard-state");
  if (!page || !state) return;
  const { address } = page.dataset;
  const interval = Number(page.dataset.seconds) * 1000;
  const refreshed = state.textContent;
  let tag = page.dataset.tag;
  let under_way = false;
  let latest = Date.now();

  const time = (moment) => new Date(moment).toLocaleTimeString();

  // Replaces the parts, and keeps the keyboard's place: the link that had the focus has it again.
  const show = (html) => {
    const focused = page.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    page.innerHTML = html;
    if (focused !== null) {
      const again = Array.from(page.querySelectorAll("a")).find((link) => link.getAttribute("href") === focused);
      if (again) again.focus({ preventScroll: true });
    }
  };

  const say = (text) => {
    if (state.textContent !== text) state.textContent = text;
  };

  const refresh = async () => {
    if (document.hidden || under_way) return;
    under_way = true;
    try {
      const headers = { "If-None-Match": tag };
      const answer = await fetch(address, { headers, cache: "no-store", credentials: "same-origin", redirect: "manual" });
      if (answer.type === "opaqueredirect" || answer.status === 403) {
        say("You are signed out: load this page anew to sign in.");
        return;
      }
      if (answer.status === 200) {
        show(await answer.text());
        tag = answer.headers.get("ETag") || "";
      } else if (answer.status !== 304) {
        throw new Error(String(answer.status));
      }
      latest = Date.now();
      say(refreshed);
    } catch {
      say(`This page could not be refreshed; it is of ${time(latest)}. It is tried again.`);
    } finally {
      under_way = false;
    }
  };

  setInterval(refresh, interval);
  document.addEventListener("visibilitychange", refresh);
})();
