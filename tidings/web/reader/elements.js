// Makes elements out of data. Text only ever enters as text, so no title can become markup.

const UNITS = [["year", 31536e6], ["month", 2592e6], ["week", 6048e5], ["day", 864e5], ["hour", 36e5], ["minute", 6e4]];
const ago = new Intl.RelativeTimeFormat("en", { numeric: "auto" });

export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// Makes these the children, in this order. Those that are in their places are not touched.
export function arrange(parent, wanted) {
  for (const [at, each] of wanted.entries()) {
    const there = parent.children[at];
    if (there !== each) parent.insertBefore(each, there ?? null);
  }
  while (parent.children.length > wanted.length) parent.lastElementChild.remove();
}

export function button(words, work, attributes = {}) {
  const made = element("button", { type: "button", ...attributes }, words);
  made.addEventListener("click", work);
  return made;
}

// The language of an article's own words: its source's, else that of the site, in which its name stands.
export function said(card) {
  return { lang: card.language ?? document.querySelector(".masthead .name a").lang };
}

// A picture that cannot be shown leaves no hole.
export function cover(card, attributes) {
  if (!card.cover) return [];
  const picture = element("img", { src: card.cover, alt: "", ...attributes });
  picture.addEventListener("error", () => picture.remove());
  return [picture];
}

export function timeAgo(ms) {
  const past = ms - Date.now();
  for (const [unit, size] of UNITS) {
    if (Math.abs(past) >= size) return ago.format(Math.round(past / size), unit);
  }
  return "just now";
}

export function byline(card) {
  const when = element("time", { datetime: new Date(card.published_at).toISOString() }, timeAgo(card.published_at));
  const parts = [];
  if (card.author) parts.push(element("span", {}, "By ", element("bdi", {}, card.author)));
  parts.push(when);
  if (card.counts.read) parts.push(count(card.counts.read, "read"));
  if (card.counts.liking) parts.push(count(card.counts.liking, "like"));
  const joined = parts.flatMap((part, index) => (index ? [" · ", part] : [part]));
  return element("p", { class: "byline" }, ...joined);
}

function count(number, what) {
  return `${number.toLocaleString("en")} ${what}${number === 1 ? "" : "s"}`;
}
