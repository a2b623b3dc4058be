// One channel's feed: batches of cards, fresh ones on top, older ones as the reader scrolls down.

import { get, report } from "./api.js";
import { byline, element } from "./elements.js";

const SEEN_AFTER_MS = 1000;
const FOR_YOU = 0;
const EMPTY_SITE = "There are no articles yet. On the machine of this site, “tidings import articles FILE” "
  + "brings in a file or a feed, and “tidings demo load” an example.";
const ORIGINS = {
  personal: "Chosen for you",
  cached: "Chosen for you a little earlier",
  popular: "What others read now",
  latest: "The newest",
};

export class Feed {
  constructor(channel, opened) {
    this.channel = channel;
    this.root = element("div");
    this.tracks = new Map();
    this.olderStamp = null;
    this.message = "";
    this.scrollY = 0;
    this.opened = opened;
    this.loading = null;
    this.watcher = new IntersectionObserver((entries) => this.watch(entries), { threshold: 0.5 });
    this.timers = new Map();
  }

  // One load at a time: the second caller gets the first one's.
  load(work) {
    this.loading ??= work().finally(() => { this.loading = null; });
    return this.loading;
  }

  fresh() {
    return this.load(async () => {
      const page = await this.ask(0);
      const unseen = this.unseen(page);
      this.olderStamp ??= page.pre_timestamp;
      this.remember(page.results);
      if (unseen.length) this.root.prepend(this.batch(page, unseen));
      this.message = unseen.length ? this.ending() : this.nothing();
      return unseen.length;
    });
  }

  unseen(page) {
    return page.results.filter((card) => !this.tracks.has(card.article_id));
  }

  get hasOlder() {
    return Boolean(this.olderStamp);
  }

  older() {
    return this.load(async () => {
      const page = await this.ask(this.olderStamp);
      // Only the recommender knows what this reader saw before; anything else would be new, and out of place.
      if (page.served_from !== "personal") throw new Error("Earlier pages cannot be read just now.");
      this.olderStamp = page.pre_timestamp;
      // A channel that was read to its end repeats itself; once on this page is enough.
      const unseen = this.unseen(page);
      this.remember(page.results);
      if (unseen.length) this.root.append(this.batch(page, unseen));
      this.message = this.ending();
    });
  }

  nothing() {
    if (this.tracks.size) return "Nothing newer just now.";
    return this.channel.channel_id === FOR_YOU ? EMPTY_SITE : "There is nothing in this channel yet.";
  }

  ending() {
    return this.hasOlder ? "" : "You have reached the beginning.";
  }

  ask(stamp) {
    return get(`/articles?channel_id=${this.channel.channel_id}&time_stamp=${stamp}`);
  }

  remember(cards) {
    for (const card of cards) this.tracks.set(card.article_id, card.track);
  }

  batch(page, cards) {
    const origin = element("p", { class: "origin" }, ORIGINS[page.served_from] ?? "");
    const list = element("div", { class: "cards" }, ...cards.map((card) => this.card(card)));
    const batch = element("section", { class: "batch" }, origin, list);
    if (page.exposure) {
      for (const card of list.children) {
        card.exposure = page.exposure;
        this.watcher.observe(card);
      }
    }
    return batch;
  }

  card(card) {
    const link = element("a", { href: `#/articles/${card.article_id}` }, card.title);
    const cover = card.cover ? [element("img", { src: card.cover, alt: "", loading: "lazy" })] : [];
    const opened = this.opened.has(card.article_id) ? " opened" : "";
    const made = element(
      "article", { class: `card${opened}` }, ...cover, element("h2", {}, link),
      element("p", { class: "summary" }, card.summary), byline(card),
    );
    link.addEventListener("click", () => made.classList.add("opened"));
    return made;
  }

  // A batch was seen once one of its cards has been in view for a second.
  watch(entries) {
    for (const { target, isIntersecting } of entries) {
      clearTimeout(this.timers.get(target));
      this.timers.delete(target);
      if (!isIntersecting) continue;
      this.timers.set(target, setTimeout(() => {
        report(target.exposure);
        for (const card of target.parentElement?.children ?? []) this.watcher.unobserve(card);
      }, SEEN_AFTER_MS));
    }
  }
}
