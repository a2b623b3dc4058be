// One whole article, and what the reader does with it.

import { get, report, toggle } from "./api.js";
import { byline, element } from "./elements.js";

const LEAST_READ_MS = 1000;
// What the button says, what it says once pressed, and which token and path the act has.
const ACTS = [
  { name: "liking", label: "Like", done: "Liked" },
  { name: "collect", label: "Save for later", done: "Saved" },
  { name: "dislike", label: "Not for me", done: "Less like this" },
];

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
    const page = await get(`/articles/${this.id}`);
    this.memory.titles.set(this.id, page.title);
    if (this.track) report(this.track.click);
    root.replaceChildren(...this.parts(page));
    this.resume();
    return page.title;
  }

  parts(page) {
    const body = element("div", { class: "body" });
    body.innerHTML = page.body; // sanitised when it was imported; the content policy allows no script besides
    const cover = page.cover ? [element("img", { class: "cover", src: page.cover, alt: "" })] : [];
    const source = page.url ? [element("p", {}, element("a", { href: page.url, rel: "noopener" }, "Where it was first published"))] : [];
    return [
      element("a", { class: "back", href: this.back }, "← Back to the articles"),
      element("h1", { id: "article-title", tabindex: "-1" }, page.title),
      element("p", { class: "lead" }, page.summary),
      byline(page),
      ...cover,
      body,
      ...source,
      ...(this.track ? [this.acts()] : []),
    ];
  }

  acts() {
    const marks = this.memory.marks.get(this.id) ?? new Map();
    this.memory.marks.set(this.id, marks);
    const offered = ACTS.filter((act) => this.track[act.name]);
    return element("div", { class: "acts" }, ...offered.map((act) => this.act(act, marks)));
  }

  // Pressed once more, it is undone.
  act({ name, label, done }, marks) {
    const button = element("button", { type: "button" });
    const show = () => {
      const pressed = marks.get(name)?.pressed ?? false;
      button.setAttribute("aria-pressed", String(pressed));
      button.textContent = pressed ? done : label;
    };
    button.addEventListener("click", () => {
      marks.set(name, toggle(marks.get(name), { id: this.id, name, token: this.track[name] }));
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
