"use strict";

/** Returns a text as one word of a shell. */
function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** Returns the page's request as a command of curl, which waits for the end of the search. */
function curlCommand(key, picture, order) {
  // curl reads a comma or a semicolon in the name of a file as the end of it, unless the name is in quotes.
  const file = `image=@"${picture.name.replace(/["\\]/g, "\\$&")}"`;
  const lines = [
    `curl ${quoted(`${location.origin}/v1/searches`)}`,
    `-H ${quoted(`Authorization: Bearer ${key}`)}`,
    `-H ${quoted("Prefer: wait=30")}`,
    `-F ${quoted(file)}`,
    `-F ${quoted(`request=${JSON.stringify(order)}`)}`,
  ];
  const fetched = picture.address ? `curl -o ${quoted(picture.name)} ${quoted(new URL(picture.address, location.href).href)}\n` : "";
  return fetched + lines.join(" \\\n  ");
}

/** Returns a key of which enough is shown to know it again. */
function masked(key) {
  return `${key.slice(0, 14)}…`;
}

/** Returns whether the text is on the clipboard. Pages without TLS have only the old way. */
async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const field = element("textarea", text);
    document.body.append(field);
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    return done;
  }
}
