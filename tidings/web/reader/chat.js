// The chat of this tab: what it knows, what is waiting to be sent, and, where it leads, the
// connection. A tab that follows hears the same frames from the one that leads, and sends through
// it.
//
//     const chat = new Chat({ onChange: (what, detail) => draw(what, detail) });
//     chat.start();
//     chat.write(7, "Good morning");

import { Connection } from "./chat_connection.js";
import { realClock as clock } from "./chat_line.js";
import { Outbox, Sender, errorFrame } from "./chat_outbox.js";
import { getTicket, makeRest } from "./chat_rest.js";
import { findStorage } from "./chat_storage.js";
import { Store } from "./chat_store.js";
import { Tabs } from "./chat_tabs.js";
import { openSocket, openStream } from "./chat_wires.js";

const TYPING_EVERY_MS = 3000;

export class Chat {
  constructor({ onChange }) {
    this.onChange = onChange;
    this.news = { state: "connecting", reason: null, rest: null, readerId: null };
    this.pos = null;
    this.rest = makeRest(() => this.news.rest);
    this.store = new Store({ rest: this.rest, onChange, clock });
    this.outbox = new Outbox({ storage: findStorage() });
    this.owedReads = new Map();
    this.topic = null;
    this.typedAt = 0;
    this.tabs = new Tabs({
      locks: navigator.locks,
      channel: new BroadcastChannel("tidings-chat"),
      lead: () => this.lead(),
      hear: (message) => this.hear(message),
      serve: (message) => this.serve(message),
    });
  }

  start() {
    this.tabs.start();
    const wake = () => {
      if (document.visibilityState !== "visible") return;
      this.tabs.ask({ wake: true });
      this.onChange("state"); // what came meanwhile is seen only now
    };
    document.addEventListener("visibilitychange", wake);
    window.addEventListener("online", wake);
    window.addEventListener("pageshow", (event) => {
      if (event.persisted) this.store.count();
    });
  }

  // What the reader does.
  // --------------------------------------------------------------------------------------

  write(conversationId, body) {
    this.outbox.add(conversationId, body, this.news.readerId);
    this.changed();
  }

  writeAgain(cid) {
    this.outbox.again(cid);
    this.changed();
  }

  giveUp(cid) {
    this.outbox.remove(cid);
    this.changed();
  }

  changed() {
    this.tabs.tell({ outbox: true });
    this.tabs.ask({ kick: true });
    this.onChange("outbox");
  }

  read(conversationId, seq) {
    const known = this.store.conversations.get(conversationId);
    if (!known || seq <= known.read_seq) return;
    const frame = { type: "read", conversation_id: conversationId, seq };
    this.store.apply({ ...frame, reader_id: this.news.readerId });
    this.tabs.tell({ frame: { ...frame, reader_id: this.news.readerId } });
    this.tabs.ask({ say: frame });
  }

  type(conversationId) {
    if (clock.now() - this.typedAt < TYPING_EVERY_MS) return;
    this.typedAt = clock.now();
    this.tabs.ask({ say: { type: "typing", conversation_id: conversationId } });
  }

  // Whether a reader is here, from now on.
  watch(readerId) {
    this.topic = `presence:${readerId}`;
    this.tabs.ask({ say: { type: "subscribe", topic: this.topic } });
  }

  unwatch() {
    if (this.topic) this.tabs.ask({ say: { type: "unsubscribe", topic: this.topic } });
    this.topic = null;
  }

  connectAgain() {
    this.tabs.ask({ start: true });
  }

  // What is written here and not stored yet, or was refused.
  waiting(conversationId) {
    return this.outbox.all().filter((entry) => entry.conversation_id === conversationId);
  }

  // Where this tab leads.
  // --------------------------------------------------------------------------------------

  lead() {
    this.connection = new Connection({
      getTicket,
      openSocket: openSocket(WebSocket),
      openStream: openStream(fetch.bind(window)),
      clock,
      pos: this.pos,
      onFrame: (frame) => this.frame(frame),
      onState: (state, reason) => this.say(state, reason),
    });
    this.sender = new Sender({
      outbox: this.outbox,
      connection: this.connection,
      post: (entry) => this.post(entry),
      onChange: (frame, entry) => this.sent(frame, entry),
    });
    this.connection.start();
  }

  frame(frame) {
    if (frame.type === "welcome") this.outbox.sweep(frame.reader_id);
    if (frame.type === "message" && frame.cid) this.outbox.remove(frame.cid);
    this.tabs.tell({ frame });
    this.hear({ frame });
    this.sender.onFrame(frame);
  }

  say(state, reason = null) {
    const { rest } = this.connection;
    this.hear({
      news: {
        ...this.news,
        state,
        reason,
        rest: rest ?? this.news.rest,
        readerId: this.store.readerId,
      },
    });
    this.tabs.tell({ news: this.news });
    if (state === "open")
      for (const [id, seq] of this.owedReads)
        this.serve({ say: { type: "read", conversation_id: id, seq } });
    this.sender?.onState(state);
  }

  serve({ news, wake, start, kick, say }) {
    if (news) this.tabs.tell({ news: this.news });
    if (wake) this.connection.wake();
    if (start) this.connection.start();
    if (kick) this.sender.kick();
    if (!say) return;
    if (say.type === "read") this.owedReads.set(say.conversation_id, say.seq);
    if (this.connection.send(say)) this.owedReads.delete(say.conversation_id);
    else if (say.type === "read" && this.connection.isOpen)
      this.rest.read(say.conversation_id, say.seq).catch(() => {});
  }

  async post({ cid, conversation_id, body }) {
    try {
      return { type: "ack", ...(await this.rest.post(conversation_id, cid, body)), cid };
    } catch (error) {
      return errorFrame(cid, error);
    }
  }

  // An acknowledged message is one of the conversation, for the other tabs too.
  sent({ type, conversation_id, seq, at }, entry) {
    if (type === "ack" && entry) {
      const frame = {
        type: "message",
        conversation_id,
        seq,
        at,
        sender_id: this.news.readerId,
        body: entry.body,
      };
      this.tabs.tell({ frame });
      this.hear({ frame });
    }
    this.tabs.tell({ outbox: true });
    this.onChange("outbox");
  }

  // In every tab.
  // ----------------------------------------------------------------------------------------------

  hear({ frame, news, outbox }) {
    if (frame) {
      this.store.apply(frame);
      if (frame.pos && !frame.recovered) this.pos = frame.pos;
    }
    if (news) {
      const isFirst = !this.store.isLoaded && news.state === "open" && news.rest !== null;
      this.news = news;
      // A line knows nothing of what was said to the one before.
      if (news.state === "open" && this.topic)
        this.tabs.ask({ say: { type: "subscribe", topic: this.topic } });
      this.store.readerId = news.readerId;
      if (isFirst) this.store.soon("load", 0, () => this.store.load());
      this.onChange("state");
    }
    if (outbox) this.onChange("outbox");
  }
}
