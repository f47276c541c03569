"use strict";

/** Shows the OpenAPI document below the quickstart. */
(() => {
  const place = document.getElementById("swagger-ui");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const colour = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
  dark.addEventListener("change", colour);
  colour();

  /** Sends what is tried out to the server of this page: the document names the public address, which may be another name of it. */
  function sameServer(request) {
    const address = new URL(request.url, location.href);
    if (address.origin === place.dataset.publicUrl) request.url = location.origin + address.pathname + address.search;
    return request;
  }

  /** Mends what Swagger UI makes: a link inside each button that does what the button does, and a list without a name. */
  function mend() {
    for (const link of place.querySelectorAll(".opblock-summary-control a[href]")) link.removeAttribute("href");
    place.querySelector("#servers")?.setAttribute("aria-label", "Server");
  }

  new MutationObserver(mend).observe(place, { childList: true, subtree: true });
  SwaggerUIBundle({
    url: place.dataset.document,
    dom_id: "#swagger-ui",
    presets: [SwaggerUIBundle.presets.apis],
    layout: "BaseLayout",
    requestInterceptor: sameServer,
    deepLinking: true,
    validatorUrl: null,
    defaultModelsExpandDepth: 0,
  });
})();
