// The reader's page: which part of it is shown follows from the address, so that Back and bookmarks work.
//   #/                     the feed "for you"
//   #/earlier              what it showed before this visit
//   #/channels/3           another channel's feed
//   #/channels/3/earlier   what that showed before
//   #/articles/42          one article
//   #/messages             conversations and notices
//   #/messages/7           one conversation
// Links to articles and channels lead to their real addresses, /articles/42 and /channels/3, so that they can
// be opened beside this page, copied and shared; a plain click stays here.

import { flushNow, get } from "./api.js";
import { Article } from "./article.js";
import { element } from "./elements.js";
import { EarlierFeed, FreshFeed } from "./feed.js";
import { attempt, byId, show, SITE } from "./sections.js";

const AHEAD_PX = 600;
const feeds = new Map();
// What this page knows by itself: articles that were opened, their titles, and what was done with them.
const memory = { opened: new Set(), titles: new Map(), marks: new Map() };
let channels = [];
let feed = null;
let article = null;

byId("today").textContent = new Date().toLocaleDateString("en", { weekday: "long", year: "numeric", month: "long", day: "numeric" });

async function loadChannels() {
  channels = (await get("/channels")).results;
  byId("channels").replaceChildren(
    ...channels.map((channel) => element("li", {}, element("a", { href: hrefOf(channel), dir: "auto" }, channel.name))),
  );
}

function hrefOf(channel) {
  return channel.channel_id ? `/channels/${channel.channel_id}` : "#/";
}

function feedOf(channel, view) {
  const key = `${channel.channel_id}/${view}`;
  if (!feeds.has(key)) {
    feeds.set(key, view === "earlier" ? new EarlierFeed(feedOf(channel, "fresh"), memory) : new FreshFeed(channel, memory));
  }
  return feeds.get(key);
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

async function showFeed(channelId, view, isFirst) {
  const channel = channels.find((known) => known.channel_id === channelId);
  if (!channel) throw new Error("There is no such channel.");
  feed = feedOf(channel, view);
  const shown = feed;
  markChannel(channel);
  document.title = channelId || view === "earlier" ? `${feed.title} · ${SITE}` : SITE;
  byId("feed-title").textContent = feed.title;
  byId("answer").textContent = "";
  byId("fresh").hidden = view === "earlier";
  byId("earlier").textContent = view === "earlier" ? "← Back to the articles" : "Shown earlier";
  byId("earlier").href = view === "earlier" ? hrefOf(channel) : feed.earlierHref;
  byId("batches").replaceChildren(feed.root);
  if (!feed.root.children.length) {
    byId("feed-end").textContent = "Fetching articles…";
    await feed.more();
    if (shown !== feed) return;
  }
  show("feed");
  byId("feed-end").textContent = feed.message;
  window.scrollTo(0, feed.scrollY);
  if (!isFirst) byId("feed-title").focus({ preventScroll: true });
  fill();
}

async function showArticle(id) {
  article = new Article({ id, track: findTrack(id), back: feed?.href ?? "#/", memory });
  const shown = article;
  const title = await shown.show(byId("article"));
  if (shown !== article) return;
  memory.opened.add(id);
  markChannel(null);
  show("article");
  document.title = `${title} · ${SITE}`;
  window.scrollTo(0, 0);
  byId("article-title").focus({ preventScroll: true });
}

function findTrack(id) {
  for (const known of [feed, ...feeds.values()]) {
    if (known?.tracks.has(id)) return known.tracks.get(id);
  }
  return null;
}

// Fetched after the articles, and needed by nothing else.
let chat = null;
function loadChat() {
  chat ??= import("./chat_page.js").then((found) => { found.startChat(); return found; });
  chat.catch(() => { chat = null; }); // tried anew when it is wanted
  return chat;
}

async function showMessages(id) {
  (await loadChat()).showMessages(id);
  markChannel(null);
  show("talk");
  byId("talk").scrollIntoView();
  byId("talk-title").focus({ preventScroll: true });
}

let isFirst = true;
async function route() {
  if (article) article.leave();
  article = null;
  chat?.then(({ leaveMessages }) => leaveMessages(), () => {});
  const [, talk, talkId] = location.hash.match(/^#\/(messages)(?:\/(\d+))?$/) ?? [];
  const [, articleId] = location.hash.match(/^#\/articles\/(\d+)$/) ?? [];
  const [, channelId, earlier] = location.hash.match(/^#\/(?:channels\/(\d+)\/?)?(earlier)?$/) ?? [];
  const first = isFirst;
  isFirst = false;
  await attempt(async () => {
    if (!channels.length) await loadChannels();
    if (talk) await showMessages(talkId ? Number(talkId) : null);
    else if (articleId) await showArticle(Number(articleId));
    else await showFeed(Number(channelId ?? 0), earlier ?? "fresh", first);
  });
}

// Where the feed was is kept while an article is read.
const HERE = /^(?:#|(?=\/(?:articles|channels)\/\d+$))(\/.*)$/;
document.addEventListener("click", (event) => {
  const href = event.target.closest?.("a[href]")?.getAttribute("href") ?? "";
  const [, place] = href.match(HERE) ?? [];
  const isPlain = !event.defaultPrevented && event.button === 0 && !event.ctrlKey && !event.metaKey && !event.shiftKey && !event.altKey;
  if (!place || !isPlain) return;
  if (feed && !byId("feed").hidden) feed.scrollY = window.scrollY;
  if (href.startsWith("#")) return;
  event.preventDefault();
  location.hash = place;
});

// The answer stands beside the button, where the eye is.
byId("fresh").addEventListener("click", async () => {
  const asked = feed;
  byId("fresh").disabled = true;
  byId("answer").textContent = "Looking…";
  const found = await attempt(() => asked.fresh(), { keep: true });
  byId("fresh").disabled = false;
  byId("answer").textContent = "";
  if (found !== undefined && asked === feed) {
    byId("answer").textContent = found ? `${found} fresh ${found === 1 ? "article" : "articles"}` : "Nothing new just now";
    if (found) window.scrollTo({ top: 0 });
  }
  byId("fresh").focus({ preventScroll: true });
  fill();
});

// More articles, as long as the end of those that are there is in sight or nearly so.
const sentinel = byId("sentinel");
const isWanted = () => !byId("feed").hidden && byId("trouble").hidden && sentinel.getBoundingClientRect().top < window.innerHeight + AHEAD_PX;

async function fill() {
  const asked = feed;
  while (asked && !asked.isOver && asked === feed && !asked.loading && isWanted()) {
    byId("feed-end").textContent = "Fetching more articles…";
    const done = await attempt(async () => { await asked.more(); return true; }, { keep: true, then: fill });
    if (asked === feed) byId("feed-end").textContent = asked.message;
    if (!done) return;
  }
}

// Not an IntersectionObserver: for a reader who jumps to the end while more is on its way, the end never
// comes into sight anew, and nothing would be asked for any more.
for (const moved of ["scroll", "resize"]) window.addEventListener(moved, fill, { passive: true });

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

route().then(loadChat).catch(() => {});
