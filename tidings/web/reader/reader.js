// The reader's page: which part of it is shown follows from the address, so that Back and bookmarks work.
//   #/             the feed "for you"
//   #/channels/3   another channel's feed
//   #/articles/42  one article

import { flushNow, get } from "./api.js";
import { Article } from "./article.js";
import { element } from "./elements.js";
import { Feed } from "./feed.js";

const AHEAD_PX = 600;
const byId = (id) => document.getElementById(id);
const feeds = new Map();
const opened = new Set();
let channels = [];
let feed = null;
let article = null;
let retry = null;

byId("today").textContent = new Date().toLocaleDateString("en", { weekday: "long", year: "numeric", month: "long", day: "numeric" });

function show(section) {
  for (const id of ["feed", "article", "trouble"]) byId(id).hidden = id !== section;
}

// What went wrong, in words, with a way to go on; what is on the page already stays there.
async function attempt(work, { keep = false, then = null } = {}) {
  byId("trouble").hidden = true;
  try {
    return await work();
  } catch (error) {
    if (!keep) show("trouble");
    byId("trouble").hidden = false;
    const words = error.message || "something went wrong";
    byId("trouble-text").textContent = words[0].toUpperCase() + words.slice(1);
    byId("trouble").scrollIntoView({ block: "nearest" });
    retry = then ?? (() => attempt(work, { keep }));
    return undefined;
  }
}

async function loadChannels() {
  channels = (await get("/channels")).results;
  byId("channels").replaceChildren(
    ...channels.map((channel) => element("li", {}, element("a", { href: hrefOf(channel) }, channel.name))),
  );
}

function hrefOf(channel) {
  return channel.channel_id ? `#/channels/${channel.channel_id}` : "#/";
}

function markChannel(channel) {
  for (const link of byId("channels").querySelectorAll("a")) {
    const current = channel !== null && link.getAttribute("href") === hrefOf(channel);
    if (current) {
      link.setAttribute("aria-current", "page");
      link.scrollIntoView({ block: "nearest", inline: "center" });
    } else {
      link.removeAttribute("aria-current");
    }
  }
}

async function showFeed(channelId, isFirst) {
  const channel = channels.find((known) => known.channel_id === channelId);
  if (!channel) throw new Error("There is no such channel.");
  if (!feeds.has(channelId)) feeds.set(channelId, new Feed(channel, opened));
  feed = feeds.get(channelId);
  markChannel(channel);
  document.title = channelId ? `${channel.name} · Tidings` : "Tidings";
  byId("feed-title").textContent = channel.name;
  byId("batches").replaceChildren(feed.root);
  if (!feed.root.children.length) {
    byId("feed-end").textContent = "Fetching articles…";
    await feed.fresh();
  }
  show("feed");
  byId("feed-end").textContent = feed.message;
  window.scrollTo(0, feed.scrollY);
  if (!isFirst) byId("feed-title").focus({ preventScroll: true });
  fill();
}

async function showArticle(id) {
  const back = feed ? hrefOf(feed.channel) : "#/";
  article = new Article(id, findTrack(id), back);
  const shown = article;
  const title = await shown.show(byId("article"));
  if (shown !== article) return;
  opened.add(id);
  markChannel(null);
  show("article");
  document.title = `${title} · Tidings`;
  window.scrollTo(0, 0);
  byId("article-title").focus({ preventScroll: true });
}

function findTrack(id) {
  for (const known of [feed, ...feeds.values()]) {
    if (known?.tracks.has(id)) return known.tracks.get(id);
  }
  return null;
}

let isFirst = true;
async function route() {
  if (article) article.leave();
  article = null;
  const [, kind, id] = location.hash.match(/^#\/(channels|articles)\/(\d+)$/) ?? [];
  const first = isFirst;
  isFirst = false;
  await attempt(async () => {
    if (!channels.length) await loadChannels();
    if (kind === "articles") await showArticle(Number(id));
    else await showFeed(Number(id ?? 0), first);
  });
}

// Where the feed was is kept while an article is read.
document.addEventListener("click", (event) => {
  if (event.target.closest?.("a[href^='#/']") && feed && !byId("feed").hidden) feed.scrollY = window.scrollY;
});

byId("fresh").addEventListener("click", async () => {
  byId("fresh").disabled = true;
  const found = await attempt(() => feed.fresh(), { keep: true });
  byId("fresh").disabled = false;
  byId("feed-end").textContent = feed.message;
  if (found) window.scrollTo({ top: 0 });
  byId("fresh").focus({ preventScroll: true });
  fill();
});

byId("retry").addEventListener("click", () => {
  byId("trouble").hidden = true;
  retry?.();
});

// Earlier articles, as long as the end of those that are there is in sight or nearly so.
const sentinel = byId("sentinel");
const isNearEnd = () => sentinel.getBoundingClientRect().top < window.innerHeight + AHEAD_PX;

async function fill() {
  const asked = feed;
  while (asked?.hasOlder && asked === feed && !asked.loading && !byId("feed").hidden && isNearEnd()) {
    byId("feed-end").textContent = "Fetching earlier articles…";
    const done = await attempt(async () => { await asked.older(); return true; }, { keep: true, then: fill });
    if (asked === feed) byId("feed-end").textContent = asked.message;
    if (!done) return;
  }
}

new IntersectionObserver(fill, { rootMargin: `${AHEAD_PX}px` }).observe(sentinel);

document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "hidden") {
    article?.pause();
    flushNow();
  } else {
    article?.resume();
  }
});
window.addEventListener("pagehide", () => {
  article?.leave();
  flushNow();
});
window.addEventListener("hashchange", route);
// The skip link's target is no place of this page's own.
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  byId("main").focus();
});

route();
