// All conversations and notices of the reader, and the ways to begin a conversation.

import {
  bodyWords,
  conversationTitle,
  countWords,
  language,
  noticeWords,
  readerName,
  stateWords,
} from "./chat_words.js";
import { makeSwitches } from "./chat_switches.js";
import { arrange, button, element, timeAgo } from "./elements.js";

export class ListView {
  constructor(chat, { go, attempt }) {
    Object.assign(this, { chat, go, attempt });
    this.state = element("p", { class: "line-state", role: "status" });
    this.again = button("Connect again", () => chat.connectAgain());
    this.conversations = element("ul", { class: "conversations" });
    this.rows = new Map();
    this.notices = element("ul", { class: "notices" });
    this.readAll = button("Mark all as read", () => attempt(() => this.readNotices()), {
      class: "notices-all",
    });
    this.root = element(
      "div",
      {},
      element("h1", { id: "talk-title", tabindex: "-1" }, "Messages"),
      this.state,
      this.again,
      element(
        "div",
        { class: "talk-columns" },
        element(
          "section",
          { "aria-labelledby": "talk-with" },
          element("h2", { id: "talk-with" }, "Conversations"),
          this.desk(),
          this.conversations,
          this.begin(),
        ),
        element(
          "section",
          { "aria-labelledby": "talk-notices" },
          element("h2", { id: "talk-notices" }, "Notices"),
          this.readAll,
          this.notices,
          makeSwitches(chat.rest, attempt),
        ),
      ),
    );
  }

  get title() {
    return "Messages";
  }

  open() {
    this.draw();
  }

  close() {}

  desk() {
    const ask = button("Ask the editors’ desk", () =>
      this.attempt(async () => this.go(await this.chat.rest.create({ kind: "desk" }))),
    );
    return element(
      "p",
      { class: "desk-entry" },
      ask,
      element("span", {}, "What is new, what is like an article, why you saw one, your orders."),
    );
  }

  begin() {
    this.me = element("p", { class: "hint" });
    this.numbers = element("input", {
      id: "talk-to",
      required: "",
      inputmode: "numeric",
      autocomplete: "off",
      pattern: "[ ,]*[0-9]{1,16}([ ,]+[0-9]{1,16})*[ ,]*",
      title: "Numbers of up to 16 digits, with commas between",
    });
    this.name = element("input", { id: "talk-name", maxlength: "100", autocomplete: "off" });
    const form = element(
      "form",
      { class: "begin" },
      this.me,
      element("label", { for: "talk-to" }, "Readers’ numbers, with commas between"),
      this.numbers,
      element("label", { for: "talk-name" }, "A name for it, if it is a group"),
      this.name,
      element("button", { type: "submit" }, "Begin"),
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.attempt(() => this.create());
    });
    return element("details", {}, element("summary", {}, "Begin a conversation"), form);
  }

  async create() {
    const ids = [...new Set(this.numbers.value.match(/\d+/g)?.map(Number))];
    const title = this.name.value.trim();
    const fields =
      ids.length === 1 && !title
        ? { kind: "direct", reader_id: ids[0] }
        : { kind: "group", reader_ids: ids, title: title || "Group" };
    this.go(await this.chat.rest.create(fields));
    this.numbers.value = this.name.value = "";
  }

  async readNotices() {
    const { store, rest } = this.chat;
    const newest = Math.max(0, ...store.notices.map(({ seq }) => seq));
    if (newest) await rest.readNotices(newest);
    store.count();
  }

  draw() {
    const { store, news } = this.chat;
    this.state.textContent = news.state === "open" ? "" : stateWords(news);
    this.again.hidden = news.state !== "stopped";
    this.me.textContent = news.readerId
      ? `Your own number is ${news.readerId}. Others reach you by it.`
      : "";
    const rows = store.list.map((each) => this.conversation(each));
    this.rows = new Map(rows.map((row, at) => [store.list[at].conversation_id, row]));
    arrange(
      this.conversations,
      rows.length ? rows : [this.empty("You have no conversations yet.")],
    );
    this.notices.replaceChildren(
      ...(store.notices.length
        ? store.notices.map((each) => this.notice(each))
        : [this.empty("There are no notices.")]),
    );
    this.readAll.hidden = !store.unreadNotices;
  }

  empty(words) {
    return element("li", { class: "hint" }, this.chat.store.isLoaded ? words : "");
  }

  // A row stays the same element, so that one that is pressed or has the focus outlives what comes.
  conversation(each) {
    const { readerId } = this.chat.store;
    const { last, unread, muted } = each;
    const parts = [element("span", { class: "who" }, conversationTitle(each))];
    if (muted) parts.push(element("span", { class: "quiet" }, "muted"));
    if (unread)
      parts.push(
        element(
          "span",
          { class: "badge" },
          countWords(unread),
          element("span", { class: "unseen" }, " unread"),
        ),
      );
    const said = last
      ? `${readerName(last.sender_id, readerId)}: ${bodyWords(last)}`
      : "Nothing was said yet.";
    parts.push(element("span", { class: "said" }, said));
    if (last)
      parts.push(
        element(
          "time",
          { datetime: new Date(last.at).toISOString() },
          timeAgo(new Date(last.at).getTime()),
        ),
      );
    const href = `#/messages/${each.conversation_id}`;
    const row = this.rows.get(each.conversation_id) ?? element("li", {}, element("a", { href }));
    const link = row.firstElementChild;
    link.className = unread ? "has-unread" : "";
    link.replaceChildren(...parts);
    return row;
  }

  notice(each) {
    const at = new Date(each.at);
    return element(
      "li",
      { class: each.is_read ? "" : "has-unread" },
      element("p", { lang: language }, noticeWords(each)),
      element("time", { datetime: at.toISOString() }, timeAgo(at.getTime())),
    );
  }
}
