"use strict";

const WEB = /^https?:\/\//i;

/** Shows the results of each lookup as cards. What providers return is text here, and never HTML. */
class Results {
  constructor(section, nameOf, most) {
    this.section = section;
    this.nameOf = nameOf;
    this.most = most;
    this.place = section.querySelector("#results");
    this.counts = new Map();
  }

  clear() {
    this.counts.clear();
    this.place.replaceChildren();
    this.section.hidden = true;
  }

  /** Reads and shows what has arrived since the last look. */
  async update(api, search) {
    for (const lookup of search.lookups) {
      if (lookup.result_count === (this.counts.get(lookup.id) ?? 0)) continue;
      const results = await api.results(search.id, lookup.id, this.most);
      this.counts.set(lookup.id, lookup.result_count);
      this.show(lookup, results);
    }
  }

  show(lookup, results) {
    const part = element("section", "", "source-results");
    part.id = `results-${lookup.id}`;
    const more = lookup.result_count > results.length ? `, of which the first ${results.length} are shown` : "";
    const cards = element("ul", "", "cards");
    cards.append(...results.map(card));
    part.append(element("h3", `${this.nameOf(lookup.source)}: ${lookup.result_count} found${more}`), cards);
    const shown = document.getElementById(part.id);
    if (shown) shown.replaceWith(part);
    else this.place.append(part);
    this.section.hidden = false;
  }
}

function card(result) {
  const item = element("li", "", "card");
  const text = element("div", "", "text");
  const title = WEB.test(result.url ?? "") ? element("a", result.title, "title") : element("span", result.title, "title");
  if (title.href !== undefined) Object.assign(title, { href: result.url, target: "_blank", rel: "noreferrer noopener" });
  text.append(title, ...about(result).map((line) => element("p", line, "soft")));
  item.append(picture(result), text);
  return item;
}

/** Returns the picture of a result over a sign, which stays where there is no picture or its address has expired. */
function picture(result) {
  const frame = element("div", "", `picture ${result.type}`);
  const post = result.creator?.matched_posts?.[0]?.thumbnail;
  const address = [post, result.image_url].find((each) => WEB.test(each ?? ""));
  if (address) {
    const image = document.createElement("img");
    Object.assign(image, { alt: "", loading: "lazy", referrerPolicy: "no-referrer", src: address });
    image.addEventListener("error", () => image.remove());
    frame.append(image);
  }
  return frame;
}

/** Returns the lines below the title: the rank first, then what its type has. */
function about(result) {
  const lines = [`Rank ${result.rank}`];
  const { creator, product, video } = result;
  if (creator?.username) lines.push(`@${creator.username}`);
  if (creator && creator.followers_count !== null) lines.push(`${creator.followers_count.toLocaleString("en")} followers`);
  if (product?.region) lines.push(`Shop in ${product.region}`);
  if (video?.platform) lines.push(video.platform);
  const starts = (video?.moments ?? []).map((moment) => moment.start_seconds).filter((start) => start !== null);
  if (starts.length) lines.push(`Seen at ${starts.slice(0, 3).map((start) => `${start} s`).join(", ")}`);
  return lines;
}
