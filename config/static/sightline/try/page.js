"use strict";

/** The first page: sends a search, looks at it until it has ended, and shows what it finds. */
(() => {
  const LOOK_MILLISECONDS = 500;
  const find = (id) => document.getElementById(id);
  const form = find("search");
  const boxes = [...form.querySelectorAll("[name=source]")];
  const nameOf = (source) => boxes.find((box) => box.value === source)?.dataset.name ?? source;
  const picture = new PictureChoice(form);
  const progress = new Progress(find("progress"), nameOf);
  const results = new Results(find("found"), nameOf, Number(form.dataset.shown));
  const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
  let api = null;
  let running = null;
  let command = "";

  const field = find("key");
  if (field.type === "hidden") {
    api = new Api(field.value);
    find("shown-key").textContent = masked(field.value);
    field.remove();
  }

  function refuse(sentence, fields = [], code = "") {
    const box = find("problem");
    box.replaceChildren(element("p", sentence));
    if (fields.length) {
      const list = element("ul");
      list.append(...fields.map((each) => element("li", `${each.field}: ${each.detail}`)));
      box.append(list);
    }
    if (code) {
      const link = element("a", "What this error means");
      link.href = `/docs/errors#${encodeURIComponent(code)}`;
      box.append(link);
    }
    box.focus();
  }

  function refuseProblem(error) {
    if (error instanceof Problem) refuse(error.message, error.fields, error.code);
    else refuse("The API does not answer; see that it runs and that you are connected, and search again.");
  }

  /** Takes the key out of its field, so that the page's memory alone has it. Returns why it is refused. */
  function takeKey() {
    if (!field.isConnected) return "";
    const given = field.value.trim();
    if (!given && api) return "";
    const refused = refusedKey(given);
    field.value = "";
    if (!refused) {
      api = new Api(given);
      field.placeholder = masked(given);
    }
    return refused;
  }

  function order() {
    const lookups = boxes.filter((box) => box.checked).map((box) => JSON.parse(box.dataset.lookup));
    // An equal search would be answered from the one before, and have no place in line.
    return { lookups, max_age: 0 };
  }

  /** Looks at the search until it has ended. Too many looks, and a server that is restarted, cost a pause. */
  async function watch(search) {
    for (;;) {
      progress.show(search);
      try {
        await results.update(api, search);
        if (search.finished_at) return;
        await pause(LOOK_MILLISECONDS);
        search = await api.search(search.id);
      } catch (error) {
        if (!(error instanceof Problem) || !error.wait) throw error;
        await pause(1000 * error.wait);
      }
    }
  }

  async function start() {
    const wanted = order();
    const refused = takeKey() || picture.refused() || (wanted.lookups.length ? "" : "Search for: tick at least one.");
    if (refused) return refuse(refused);
    const sent = picture.chosen;
    try {
      running = await api.create(sent, wanted);
      command = (key) => curlCommand(key, sent, wanted);
      find("curl").textContent = command(masked(api.key));
      find("same").hidden = false;
      find("cancel").hidden = false;
      await watch(running);
    } catch (error) {
      refuseProblem(error);
    }
  }

  /** A button that is really disabled would lose the focus of the keyboard. */
  function busy(is) {
    find("start").setAttribute("aria-disabled", String(is));
  }

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (find("start").getAttribute("aria-disabled") === "true") return;
    find("problem").replaceChildren();
    results.clear();
    find("progress").hidden = find("same").hidden = true;
    find("copied").textContent = "";
    busy(true);
    await start();
    busy(false);
    find("cancel").hidden = true;
  });

  find("cancel").addEventListener("click", () => api.cancel(running.id).catch(refuseProblem));
  find("copy").addEventListener("click", async () => {
    const done = await copied(command(api.key));
    find("copied").textContent = done ? "Copied." : "The browser does not let the page copy; write it by hand.";
  });
})();
