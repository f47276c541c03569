// Uses the types that `openapi-typescript` makes of the OpenAPI document, with `openapi-fetch`, as a customer's program would.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import createClient from "openapi-fetch";
import type { components, paths, webhooks } from "./schema.js";

type Search = components["schemas"]["Search"];
type SearchForm = components["schemas"]["SearchForm"];
type SearchRequest = components["schemas"]["SearchRequest"];
type Ended = webhooks["search.succeeded"]["post"]["requestBody"]["content"]["application/json"];

const [baseUrl, key, file, ended] = process.argv.slice(2) as [string, string, string, string];
// Lists come as CSV too; this program reads JSON.
const client = createClient<paths, "application/json" | "application/problem+json">({
  baseUrl,
  headers: { Authorization: `Bearer ${key}` },
  // A member of `metadata` is a parameter of its own.
  querySerializer: { object: { style: "form", explode: true } },
});
const picture = new Uint8Array(await readFile(file));

// A search, whose picture is a file of a form.
const lookups: SearchRequest["lookups"] = [
  { source: "tiktok-creators", limit: 40, parameters: { followers_count: { min: 13000 } } },
];
const created = await client.POST("/v1/searches", {
  params: { header: { Prefer: "wait=0" } },
  body: { image: new Blob([picture], { type: "image/jpeg" }), request: { lookups, metadata: { campaign: "spring" } } },
  bodySerializer(body) {
    const { image, request } = body as SearchForm;
    const form = new FormData();
    form.set("image", image!, "picture.jpg");
    form.set("request", JSON.stringify(request));
    return form;
  },
});
assert.equal(created.response.status, 202);
const first: Search = created.data!;
assert.equal(created.response.headers.get("location"), `/v1/searches/${first.id}`);
assert.equal(first.status, "queued");

// Another one in JSON, and its quote.
const body: SearchRequest = { image: { base64: Buffer.from(picture).toString("base64") }, lookups };
const quote = await client.POST("/v1/searches/quote", { body });
assert.equal(quote.data?.allowed, true);
const second = await client.POST("/v1/searches", { body });
assert.equal(second.data?.image?.format, "jpeg");

// Read, with the version that is known.
const path = { id: first.id };
const read = await client.GET("/v1/searches/{id}", { params: { path } });
const etag = read.response.headers.get("etag")!;
const known = await client.GET("/v1/searches/{id}", { params: { path, header: { "If-None-Match": etag } } });
assert.equal(known.response.status, 304);

// All searches, a page at a time.
const ids: string[] = [];
let cursor: string | undefined;
do {
  const page = await client.GET("/v1/searches", { params: { query: { limit: 2, cursor } } });
  ids.push(...page.data!.data.map((search) => search.id));
  cursor = page.data!.next_cursor ?? undefined;
} while (cursor);
assert.deepEqual(ids.slice(0, 2), [second.data!.id, first.id]);
assert.equal(ids.length, 3);
const spring = await client.GET("/v1/searches", {
  params: { query: { metadata: { "metadata.campaign": "spring" }, status: "queued" } },
});
assert.deepEqual(spring.data?.data.map((search) => search.id), [first.id]);

const canceled = await client.POST("/v1/searches/{id}/cancel", { params: { path } });
assert.equal(canceled.data?.lookups[0]?.status, "canceled");

const results = await client.GET("/v1/searches/{id}/results", {
  params: { path: { id: ended }, query: { type: "creator" } },
});
assert.deepEqual(results.data?.data.map((result) => result.creator?.username), ["creator1", "creator2", "creator3"]);

// An error has a type of its own, and names every wrong field.
const wrong = await client.POST("/v1/searches", {
  body: { image: {}, lookups: [{ source: "tiktok-creators", limit: 1501 }] },
});
assert.equal(wrong.data, undefined);
assert.equal(wrong.error?.code, "invalid_request");
assert.deepEqual(wrong.error?.errors?.map((error) => error.field).sort(), ["image", "lookups[0].limit"]);

const credits = await client.GET("/v1/credits");
console.log("credits", credits.data?.data.map((account) => account.posted));

const endpoint = await client.POST("/v1/webhook-endpoints", {
  body: { url: "https://example.com/hooks", events: ["search.succeeded"] },
});
assert.match(endpoint.data!.secret, /^whsec_/);
const gone = await client.DELETE("/v1/webhook-endpoints/{id}", { params: { path: { id: endpoint.data!.id } } });
assert.equal(gone.response.status, 204);

// What a receiver reads has a type too.
export function handled(event: Ended): string {
  return event.data.lookups.map((lookup) => `${lookup.source}: ${lookup.result_count}`).join(", ");
}
