// One channel's feed: batches of cards. Fresh ones as the reader scrolls down or asks for them, and
// those of earlier visits on a page of their own.

import { get, report } from "./api.js";
import { byline, cover, element, said } from "./elements.js";
import { Headings } from "./headings.js";

const SEEN_AFTER_MS = 1000;
const FOR_YOU = 0;
const EMPTY_SITE = "There are no articles yet. On the machine of this site, “tidings import articles FILE” "
  + "brings in a file or a feed, and “tidings demo load” an example.";

export class Feed {
  constructor(channel, memory) {
    this.channel = channel;
    this.memory = memory;
    this.headings = new Headings(memory.titles);
    this.root = element("div");
    this.tracks = new Map();
    this.isOver = false;
    this.message = "";
    this.scrollY = 0;
    this.loading = null;
    this.watcher = new IntersectionObserver((entries) => this.watch(entries), { threshold: 0.5 });
    this.timers = new Map();
  }

  get title() {
    return this.channel.name;
  }

  get href() {
    return this.channel.channel_id ? `#/channels/${this.channel.channel_id}` : "#/";
  }

  get earlierHref() {
    return this.channel.channel_id ? `${this.href}/earlier` : "#/earlier";
  }

  // One load at a time: the second caller gets the first one's.
  load(work) {
    this.loading ??= work().finally(() => { this.loading = null; });
    return this.loading;
  }

  unseen(page) {
    return page.results.filter((card) => !this.tracks.has(card.article_id));
  }

  ask(stamp) {
    return get(`/articles?channel_id=${this.channel.channel_id}&time_stamp=${stamp}`);
  }

  remember(cards) {
    for (const card of cards) {
      this.tracks.set(card.article_id, card.track);
      this.memory.titles.set(card.article_id, card.title);
    }
  }

  batch(page, cards, heading = this.headings.of(page)) {
    const list = element("div", { class: "cards" }, ...cards.map((card) => this.card(card)));
    const batch = element("section", { class: "batch" }, heading, list);
    if (page.exposure) {
      for (const card of list.children) {
        card.exposure = page.exposure;
        this.watcher.observe(card);
      }
    }
    return batch;
  }

  card(card) {
    const link = element("a", { href: `/articles/${card.article_id}` }, card.title);
    const opened = this.memory.opened.has(card.article_id) ? " opened" : "";
    const made = element(
      "article", { class: `card${opened}`, ...said(card) }, ...cover(card, { loading: "lazy" }),
      element("h3", { dir: "auto" }, link), element("p", { class: "summary", dir: "auto" }, card.summary), byline(card),
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

// Batches made for this visit. The site fills a batch up with what was shown longest ago when there is
// nothing new, so a batch of which every card is on the page already is the end.
export class FreshFeed extends Feed {
  constructor(channel, memory) {
    super(channel, memory);
    this.beforeThisVisit = null;
  }

  // At the end of the page.
  more() {
    return this.load(async () => {
      const { page, unseen } = await this.another();
      if (unseen.length) this.root.append(this.batch(page, unseen));
      // Without the recommender each answer is the same few articles; that is no end.
      else if (page.results.length && page.served_from !== "personal") throw new Error("More articles cannot be chosen just now.");
      this.isOver = !unseen.length;
      this.message = this.isOver ? this.ending() : "";
    });
  }

  // At its top; returns how many articles are new there.
  async fresh() {
    while (this.loading) await this.loading.catch(() => {}); // what is asked for below is no answer to this
    return this.load(async () => {
      const { page, unseen } = await this.another();
      if (unseen.length) this.root.prepend(this.batch(page, unseen));
      return unseen.length;
    });
  }

  async another() {
    const page = await this.ask(0);
    const unseen = this.unseen(page);
    this.beforeThisVisit ??= page.pre_timestamp;
    this.remember(page.results);
    return { page, unseen };
  }

  ending() {
    if (this.tracks.size) return "That was everything. What is published from now on comes with “Fresh articles”.";
    return this.channel.channel_id === FOR_YOU ? EMPTY_SITE : "There is nothing in this channel yet.";
  }
}

// Batches of visits before this one, the latest first, each as it was.
export class EarlierFeed extends Feed {
  constructor(fresh, memory) {
    super(fresh.channel, memory);
    this.fresh = fresh;
    this.stamp = null;
  }

  get title() {
    return `Shown earlier: ${this.channel.name}`;
  }

  get href() {
    return this.earlierHref;
  }

  more() {
    return this.load(async () => {
      if (this.fresh.beforeThisVisit === null) await this.fresh.more();
      this.stamp ??= this.fresh.beforeThisVisit;
      if (this.stamp) {
        const stamp = this.stamp;
        const page = await this.ask(stamp);
        // Only the recommender knows what this reader saw before; anything else would be new, and out of place.
        if (page.served_from !== "personal") throw new Error("Earlier articles cannot be read just now.");
        this.stamp = page.pre_timestamp;
        // A channel that was read to its end repeats itself; once on this page is enough.
        const unseen = this.unseen(page);
        this.remember(page.results);
        if (unseen.length) this.root.append(this.batch(page, unseen, this.headings.ofEarlier(stamp)));
      }
      this.isOver = !this.stamp;
      this.message = this.isOver ? this.ending() : "";
    });
  }

  ending() {
    return this.tracks.size ? "You have reached the beginning." : "Nothing was shown to you here before this visit.";
  }
}
