// Says above a batch how it came about, and no more than the answer does.

import { get } from "./api.js";
import { element, timeAgo } from "./elements.js";

const POPULAR = "Popular now";
const STEPS = { cached: "Shown a little earlier", popular: POPULAR, latest: "The newest" };
// By the kind of reason that most cards of a batch give; a card without any is taken for popular.
const KINDS = {
  popular: POPULAR, read: "Because of what you read", taste: "Chosen by what you read", similar: "Like what you read",
  fresh: "New", backlog: "More to read", again: "Shown before",
};
const LEAST_BECAUSE = 2;

export class Headings {
  constructor(titles) {
    this.titles = titles;
  }

  // A batch of an earlier visit is headed by when it was shown, which is also its stamp.
  ofEarlier(stamp) {
    return element("h2", { class: "origin" }, `Shown ${timeAgo(stamp)}`);
  }

  of(page) {
    const heading = element("h2", { class: "origin" }, this.words(page));
    const because = this.because(page);
    if (because && !this.titles.has(because)) {
      get(`/articles/${because}`).then((article) => {
        this.titles.set(because, article.title);
        heading.textContent = this.words(page);
      }).catch(() => {}); // it was taken down, or the site is away: the heading is true without its title
    }
    return heading;
  }

  words(page) {
    if (page.served_from !== "personal") return STEPS[page.served_from] ?? "";
    const because = this.because(page);
    if (because) {
      const title = this.titles.get(because);
      return title ? `Because you read “${title}”` : "Because of what you read";
    }
    return KINDS[mostFrequent(page.results.map((card) => card.reason?.kind ?? "popular")).value] ?? POPULAR;
  }

  // The article that led to most of the batch; one card alone does not name the whole.
  because(page) {
    const { value, count } = mostFrequent(page.results.map((card) => card.reason?.article_id));
    return count >= Math.min(LEAST_BECAUSE, page.results.length) ? value : 0;
  }
}

function mostFrequent(values) {
  const counts = new Map();
  for (const value of values) if (value) counts.set(value, (counts.get(value) ?? 0) + 1);
  const [value, count] = [...counts].sort((one, other) => other[1] - one[1])[0] ?? [0, 0];
  return { value, count };
}
