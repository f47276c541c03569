"use strict";

/** An error that the API has answered. `fields` says what is wrong with which part of the request. */
class Problem extends Error {
  constructor(body, status, wait) {
    super(body.detail || `The API answers ${status}.`);
    this.code = body.code || "";
    this.fields = body.errors || [];
    this.wait = wait;
  }
}

/** Calls the public API. The key is in this object's memory alone. */
class Api {
  #key;

  constructor(key) {
    this.#key = key;
  }

  get key() {
    return this.#key;
  }

  /** Returns what the API answers. Throws `Problem`, or a `TypeError` of the browser's if nothing answers. */
  async send(method, path, body) {
    const headers = { Authorization: `Bearer ${this.#key}` };
    if (method === "POST") headers["Idempotency-Key"] = randomName();
    const response = await fetch(path, { method, headers, body, cache: "no-store", credentials: "omit" });
    const answer = await response.json().catch(() => ({}));
    if (response.ok) return answer;
    throw new Problem(answer, response.status, Number(response.headers.get("Retry-After")) || 0);
  }

  /** Creates a search, with the picture as a file and the rest as JSON. */
  create(picture, order) {
    const form = new FormData();
    form.set("image", picture.file, picture.name);
    form.set("request", JSON.stringify(order));
    return this.send("POST", "/v1/searches", form);
  }

  search(id) {
    return this.send("GET", `/v1/searches/${id}`);
  }

  cancel(id) {
    return this.send("POST", `/v1/searches/${id}/cancel`);
  }

  /** Returns the first results of a lookup. */
  async results(search, lookup, most) {
    const query = new URLSearchParams({ lookup, limit: most });
    return (await this.send("GET", `/v1/searches/${search}/results?${query}`)).data;
  }
}

/** Returns a random name. `crypto.randomUUID` is not there without TLS, except on the machine itself. */
function randomName() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Returns why a key is not taken here, as a sentence; nothing if it is. */
function refusedKey(key) {
  if (!key) return "Test key: paste one; it begins with sl_test_.";
  if (key.startsWith("sl_live_")) return "Test key: this is a live key, whose searches cost credits; paste a test key, which begins with sl_test_.";
  if (!key.startsWith("sl_test_")) return "Test key: this is no key of Sightline's; paste a test key, which begins with sl_test_.";
  return "";
}
