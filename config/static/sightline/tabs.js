"use strict";

/** Makes tabs of the panels in `[data-tabs]`. Without scripts all panels show, each below its heading. */
for (const group of document.querySelectorAll("[data-tabs]")) {
  const panels = [...group.querySelectorAll("[data-tab]")];
  const list = document.createElement("div");
  list.className = "tabs";
  list.setAttribute("role", "tablist");
  list.setAttribute("aria-label", group.dataset.tabs);
  const tabs = panels.map((panel) => tabOf(panel));

  function tabOf(panel) {
    const tab = document.createElement("button");
    tab.type = "button";
    tab.id = `${panel.id}-tab`;
    tab.textContent = panel.dataset.tab;
    tab.setAttribute("role", "tab");
    tab.setAttribute("aria-controls", panel.id);
    tab.addEventListener("click", () => choose(panel));
    panel.setAttribute("role", "tabpanel");
    panel.setAttribute("aria-labelledby", tab.id);
    panel.querySelector("h3")?.remove();
    return tab;
  }

  function choose(chosen) {
    panels.forEach((panel, number) => {
      panel.hidden = panel !== chosen;
      tabs[number].setAttribute("aria-selected", String(panel === chosen));
      tabs[number].tabIndex = panel === chosen ? 0 : -1;
    });
  }

  list.addEventListener("keydown", (event) => {
    const last = tabs.length - 1;
    const now = tabs.indexOf(event.target);
    const next = { ArrowRight: now === last ? 0 : now + 1, ArrowLeft: now ? now - 1 : last, Home: 0, End: last }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    choose(panels[next]);
    tabs[next].focus();
  });
  list.append(...tabs);
  panels[0].before(list);
  choose(panels[0]);
}
