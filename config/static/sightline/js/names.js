"use strict";

/** Gives names to what the theme's and Django's widgets leave without: screen readers say them. */
function nameWidgets() {
  for (const box of document.querySelectorAll(".select2-selection[role=combobox]")) {
    const field = box.closest(".select2")?.previousElementSibling;
    const label = field?.labels?.[0]?.textContent.trim() || field?.getAttribute("aria-label") || field?.name;
    if (!label) continue;
    box.setAttribute("aria-label", label);
    box.removeAttribute("aria-labelledby");
    box.querySelector("[role=textbox]")?.setAttribute("aria-label", label);
  }
  for (const hint of document.querySelectorAll(".help-tooltip[aria-label]")) hint.setAttribute("role", "img");
}

// The widgets are made when the page has loaded, by listeners that come after this one.
addEventListener("load", () => setTimeout(nameWidgets));
