// One whole article, and what the reader does with it.

import { get, report } from "./api.js";
import { byline, element } from "./elements.js";

const LEAST_READ_MS = 1000;

export class Article {
  constructor(id, track, back) {
    this.id = id;
    this.track = track;
    this.back = back;
    this.readMs = 0;
    this.since = null;
  }

  async show(root) {
    const page = await get(`/articles/${this.id}`);
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
    const like = this.act("Like", "Liked", this.track.liking);
    const collect = this.act("Save for later", "Saved", this.track.collect);
    return element("div", { class: "acts" }, like, collect);
  }

  act(label, done, token) {
    const button = element("button", { type: "button", "aria-pressed": "false" }, label);
    button.addEventListener("click", () => {
      if (button.getAttribute("aria-pressed") === "true") return;
      report(token);
      button.setAttribute("aria-pressed", "true");
      button.textContent = done;
    });
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
