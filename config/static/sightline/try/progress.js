"use strict";

const REASONS = {
  turn: "others first",
  rate: "next in line",
  provider_backoff: "the provider asked to wait",
  credential: "its provider key was refused",
  paused: "operators have paused the provider",
};
const OPEN = new Set(["queued", "running"]);

/** Returns an element with a text and a class. Texts of results are never read as HTML. */
function element(tag, text = "", kind = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

/** Shows each lookup with its place in line, and says in one sentence what has changed. */
class Progress {
  constructor(section, nameOf) {
    this.section = section;
    this.nameOf = nameOf;
    this.list = section.querySelector("#lookups");
    this.said = section.querySelector("#said");
  }

  show(search) {
    this.section.hidden = false;
    this.list.replaceChildren(...search.lookups.map((lookup) => this.line(lookup)));
    // Screen readers hear a change, and not the same sentence at each look.
    const sentence = summary(search);
    if (this.said.textContent !== sentence) this.said.textContent = sentence;
  }

  line(lookup) {
    const line = element("li", "", lookup.status);
    const found = `${lookup.result_count} found`;
    line.append(
      element("span", this.nameOf(lookup.source)),
      element("span", lookup.status, "state"),
      element("span", lookup.error ? lookup.error.detail : place(lookup), "soft"),
      element("span", OPEN.has(lookup.status) && !lookup.result_count ? "" : found, "count"),
    );
    return line;
  }
}

function place(lookup) {
  if (!lookup.waiting_on) return "";
  const reason = REASONS[lookup.waiting_on] || lookup.waiting_on;
  if (!lookup.position) return reason;
  if (!lookup.estimated_start_at) return `position ${lookup.position} (${reason})`;
  const seconds = Math.max(0, (new Date(lookup.estimated_start_at) - Date.now()) / 1000);
  return `position ${lookup.position}, starts in about ${seconds.toFixed(seconds < 10 ? 1 : 0)} s (${reason})`;
}

function summary(search) {
  const ended = search.lookups.filter((lookup) => !OPEN.has(lookup.status)).length;
  const found = search.lookups.reduce((sum, lookup) => sum + lookup.result_count, 0);
  if (search.finished_at) return `The search has ended as ${search.status}: ${found} found.`;
  return `The search is ${search.status}: ${ended} of ${search.lookups.length} parts have ended, ${found} found.`;
}
