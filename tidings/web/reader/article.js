// One whole article, and what the reader does with it.

import { get, mark, report } from "./api.js";
import { byline, cover, element, said } from "./elements.js";

const LEAST_READ_MS = 1000;
// Which token and path an act has, how the site says that it was done, and what the button says.
const ACTS = [
  { name: "liking", mine: "liked", label: "Like", done: "Liked" },
  { name: "collect", mine: "collected", label: "Save for later", done: "Saved" },
  { name: "dislike", mine: "disliked", label: "Not for me", done: "Less like this" },
];

const NO_ACTS = "Liking and saving do not work just now. Load this page again in a few minutes.";

export class Article {
  constructor({ id, track, back, memory }) {
    this.id = id;
    this.track = track;
    this.back = back;
    this.memory = memory;
    this.readMs = 0;
    this.since = null;
  }

  async show(root) {
    const [page, mine] = await Promise.all([get(`/articles/${this.id}`), this.fetchMine()]);
    this.track ??= mine?.track ?? null; // of a visit that came from no feed
    this.learnMarks(mine);
    this.memory.titles.set(this.id, page.title);
    if (this.track) report(this.track.click);
    root.replaceChildren(...this.parts(page));
    this.resume();
    return page.title;
  }

  // The article can be read without.
  fetchMine() {
    return get(`/articles/${this.id}/mine`).catch(() => null);
  }

  // What was pressed on this page is known here first.
  learnMarks(mine) {
    if (this.memory.marks.has(this.id)) return;
    const pressed = ACTS.filter((act) => mine?.[act.mine]).map((act) => act.name);
    this.memory.marks.set(this.id, new Set(pressed));
  }

  parts(page) {
    const body = element("div", { class: "body", dir: "auto", ...said(page) });
    body.innerHTML = page.body; // sanitised when it was imported; the content policy allows no script besides
    const source = page.url ? [element("p", {}, element("a", { href: page.url, rel: "noopener" }, "Where it was first published"))] : [];
    return [
      element("a", { class: "back", href: this.back }, "← Back to the articles"),
      element("h1", { id: "article-title", tabindex: "-1", dir: "auto", ...said(page) }, page.title),
      element("p", { class: "lead", dir: "auto", ...said(page) }, page.summary),
      byline(page),
      ...cover(page, { class: "cover" }),
      body,
      ...source,
      this.acts(),
    ];
  }

  // Without tokens, as for an address that was given as many readers as it may have just now.
  acts() {
    const offered = ACTS.filter((act) => this.track?.[act.name]);
    if (!offered.length) return element("p", { class: "acts" }, NO_ACTS);
    return element("div", { class: "acts" }, ...offered.map((act) => this.act(act)));
  }

  // Pressed once more, it is undone.
  act({ name, label, done }) {
    const marks = this.memory.marks.get(this.id);
    const button = element("button", { type: "button" });
    const show = () => {
      button.setAttribute("aria-pressed", String(marks.has(name)));
      button.textContent = marks.has(name) ? done : label;
    };
    button.addEventListener("click", () => {
      if (!marks.delete(name)) marks.add(name);
      mark({ id: this.id, name, token: this.track[name], pressed: marks.has(name) });
      show();
    });
    show();
    return button;
  }

  // Only time in which the page can be seen is reading.
  pause() {
    if (this.since !== null) this.readMs += performance.now() - this.since;
    this.since = null;
  }

  resume() {
    this.since ??= performance.now();
  }

  leave() {
    this.pause();
    if (this.track && this.readMs >= LEAST_READ_MS) report(this.track.read, this.readMs);
  }
}
