// One conversation: what was said, as it is said, and a place to write. Messages that are on their
// way stand at its end and say so.

import { Composer } from "./chat_composer.js";
import { drawMessage, drawWaiting } from "./chat_message.js";
import { conversationTitle, readerName, stateWords } from "./chat_words.js";
import { button, element } from "./elements.js";

const AT_END_PX = 80;

export class ConversationView {
  constructor(chat, id, { go, attempt }) {
    Object.assign(this, { chat, id, go, attempt });
    this.room = null;
    this.composer = new Composer(this);
    this.seen = 0; // up to where the other one has read
    this.drawn = new Map(); // seq or cid -> [what it was drawn from, element]
    this.here = element("p", { class: "hint" });
    this.heading = element("h1", { id: "talk-title", tabindex: "-1" });
    this.earlier = button("Earlier messages", () => attempt(() => this.showEarlier()));
    this.log = element("ol", {
      class: "log",
      role: "log",
      "aria-label": "What was said",
      "aria-live": "off",
      tabindex: "0",
    });
    this.state = element("p", { class: "line-state", role: "status" });
    this.again = button("Connect again", () => chat.connectAgain());
    this.again.hidden = true;
    this.typing = element("p", { class: "typing", "aria-live": "off" });
    this.muting = button("", () => attempt(() => this.mute()));
    this.blocking = button("", () => attempt(() => this.block(!this.isBlocked)), {
      class: "blocking",
    });
    this.acts = element("div", { class: "acts-row" }, this.muting);
    this.members = element("p", { class: "hint" });
    this.about = element(
      "details",
      {},
      element("summary", {}, "About this conversation"),
      this.acts,
      this.members,
    );
    this.about.addEventListener("toggle", () => {
      if (this.about.open) attempt(() => this.showMembers());
    });
    this.root = element(
      "div",
      { class: "conversation" },
      element("a", { class: "back", href: "#/messages" }, "← All messages"),
      this.heading,
      this.here,
      this.about,
      this.earlier,
      this.log,
      this.typing,
      this.state,
      this.again,
      this.composer.root,
    );
  }

  get known() {
    return this.chat.store.conversations.get(this.id);
  }

  get title() {
    return this.known ? conversationTitle(this.known) : "Conversation";
  }

  // Of two; whether a whole group is here is told with its members.
  get otherId() {
    return this.known?.kind === "direct" ? this.known.other_id : null;
  }

  isHere(isHere) {
    this.here.textContent = isHere ? "Here now" : "";
  }

  async open() {
    this.draw();
    this.room = await this.chat.store.open(this.id);
    this.draw();
    this.log.scrollTop = this.log.scrollHeight;
    // What comes from now on is read out, what was there is not.
    this.log.setAttribute("aria-live", "polite");
    if (this.otherId) this.chat.watch(this.otherId);
    await Promise.all([this.addActs(), this.showMembers()]);
    this.draw();
  }

  close() {
    this.chat.unwatch();
    this.chat.store.rooms.delete(this.id);
  }

  async addActs() {
    const { rest, store } = this.chat;
    if (this.known.kind === "direct") {
      this.showBlock((await rest.blocks()).some(({ reader_id }) => reader_id === this.otherId));
      this.acts.append(this.blocking);
    } else if (this.known.kind === "group") {
      this.acts.append(
        button("Leave", () =>
          this.attempt(async () => {
            await rest.leave(this.id);
            store.count();
            location.hash = "#/messages";
          }),
        ),
      );
    }
  }

  async block(isBlocked) {
    await this.chat.rest.block(this.otherId, isBlocked);
    this.showBlock(isBlocked);
  }

  showBlock(isBlocked) {
    this.isBlocked = isBlocked;
    this.blocking.textContent = isBlocked ? "Unblock this reader" : "Block this reader";
  }

  async showMembers() {
    const { rest, store } = this.chat;
    const members = await rest.members(this.id);
    this.seen = Math.max(
      0,
      ...members
        .filter(({ reader_id }) => reader_id !== store.readerId)
        .map(({ read_seq }) => read_seq),
    );
    this.isHere(members.some(({ reader_id, here }) => here && reader_id === this.otherId));
    const names = members.map(
      ({ reader_id, here }) =>
        readerName(reader_id, store.readerId) +
        (here && reader_id !== store.readerId ? " (here now)" : ""),
    );
    this.members.textContent = `In it: ${names.join(", ")}`;
  }

  // Without a line nothing is known of who is here.
  showState(news) {
    this.stateShown = news.state;
    this.say(news.state === "open" ? "" : stateWords(news));
    this.again.hidden = news.state !== "stopped";
    if (news.state !== "open") this.isHere(false);
    else if (this.room) this.showMembers().catch(() => {}); // told with the next line
  }

  // What became of something that shows nowhere else; until the connection has news.
  say(words) {
    this.state.textContent = words;
  }

  saw({ seq }) {
    this.seen = Math.max(this.seen, seq);
    this.draw();
  }

  async mute() {
    await this.chat.rest.mute(this.id, !this.known.muted);
    this.known.muted = !this.known.muted;
    this.chat.onChange("list");
  }

  async showEarlier() {
    const before = this.log.scrollHeight - this.log.scrollTop;
    await this.chat.store.earlier(this.room);
    this.log.scrollTop = this.log.scrollHeight - before;
  }

  draw() {
    const { news, store } = this.chat;
    const isAtEnd = this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight < AT_END_PX;
    this.heading.textContent = this.title;
    this.muting.textContent = this.known?.muted ? "Unmute" : "Mute";
    if (this.stateShown !== news.state) this.showState(news);
    const who = store.typing.who(this.id).map((id) => readerName(id, store.readerId));
    const last = this.room?.messages.at(-1);
    const isSeen =
      this.known?.kind === "direct" && last?.sender_id === store.readerId && last.seq <= this.seen;
    const writing = who.length
      ? `${who.join(", ")} ${who.length === 1 ? "is" : "are"} writing…`
      : "";
    this.typing.textContent = writing || (isSeen ? "Read" : "");
    if (!this.room) return;
    this.earlier.hidden =
      this.room.isAtBeginning || !this.room.bySeq.size || this.room.oldest === 1;
    this.drawLog();
    if (isAtEnd) this.log.scrollTop = this.log.scrollHeight;
    if (document.visibilityState === "visible" && this.room.newest)
      this.chat.read(this.id, this.room.newest);
  }

  // What did not change keeps its element, so that nothing is read out twice and focus stays where
  // it is.
  drawLog() {
    const { messages } = this.room;
    const stored = new Set(messages.map(({ cid }) => cid));
    const waiting = this.chat.waiting(this.id).filter(({ cid }) => !stored.has(cid));
    const wanted = [
      ...messages.map((each) => [each.seq, each, () => drawMessage(each, this)]),
      ...waiting.map((each) => [each.cid, JSON.stringify(each), () => drawWaiting(each, this)]),
    ];
    let place = this.log.firstElementChild;
    const kept = new Map();
    for (const [key, from, make] of wanted) {
      const [before, drawn] = this.drawn.get(key) ?? [];
      const it = before === from ? drawn : make();
      kept.set(key, [from, it]);
      if (it === place) place = place.nextElementSibling;
      else this.log.insertBefore(it, place);
    }
    for (const [key, [, it]] of this.drawn) if (kept.get(key)?.[1] !== it) it.remove();
    this.drawn = kept;
  }
}
