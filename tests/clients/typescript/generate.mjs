// Makes schema.ts of the OpenAPI document: `node generate.mjs openapi.json schema.ts`.
// A file is a Blob in a program, though it is a string in JSON Schema; what has a default may be left out.

import { readFile, writeFile } from "node:fs/promises";
import openapiTS, { astToString } from "openapi-typescript";
import ts from "typescript";

const [source, target] = process.argv.slice(2);
const blob = ts.factory.createTypeReferenceNode(ts.factory.createIdentifier("Blob"));
const tree = await openapiTS(JSON.parse(await readFile(source, "utf8")), {
  defaultNonNullable: false,
  transform: (schema) => (schema.format === "binary" ? blob : undefined),
});
await writeFile(target, astToString(tree));
