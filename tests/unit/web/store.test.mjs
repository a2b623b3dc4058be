// What the page knows stays right, however frames come: twice, late, or not at all.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Store } from "../../../tidings/web/reader/chat_store.js";
import { Tabs } from "../../../tidings/web/reader/chat_tabs.js";
import { FakeClock, settle } from "./fakes.mjs";

const ME = 7;
const message = (seq, more = {}) => ({
  type: "message",
  conversation_id: 1,
  seq,
  sender_id: 9,
  cid: `c${seq}`,
  body: `words ${seq}`,
  at: seq,
  ...more,
});

class FakeRest {
  constructor(count) {
    this.history = Array.from({ length: count }, (_, index) => message(index + 1));
    this.asked = [];
    this.readSeq = count;
    this.found = [];
    this.isAway = false;
  }

  conversations = async () => {
    this.asked.push("conversations");
    if (this.isAway) throw new Error("away");
    const last = this.history.at(-1);
    return [
      {
        conversation_id: 1,
        kind: "direct",
        title: "",
        muted: false,
        last_seq: last?.seq ?? 0,
        read_seq: this.readSeq,
        unread: this.history.filter(({ seq }) => seq > this.readSeq).length,
        changed_at: 0,
        last,
      },
    ];
  };

  notices = async () => this.found;

  unread = async () => ({ notices: this.found.length });

  messages = async (id, { before = Infinity, after = null }) => {
    this.asked.push(after === null ? `before ${before}` : `after ${after}`);
    if (after !== null) return this.history.filter(({ seq }) => seq > after).slice(0, 10);
    return this.history
      .filter(({ seq }) => seq < before)
      .slice(-10)
      .reverse();
  };
}

async function open({ count = 3 } = {}) {
  const clock = new FakeClock();
  const rest = new FakeRest(count);
  const changes = [];
  const store = new Store({
    rest,
    onChange: (...change) => changes.push(change),
    clock,
    random: () => 1,
  });
  store.apply({
    type: "welcome",
    reader_id: ME,
    pos: "e.1",
    recovered: false,
    unread: { conversations: 0, notices: 0 },
  });
  await clock.pass(0);
  return { clock, rest, store, changes, room: await store.open(1) };
}

const seqs = (room) => room.messages.map(({ seq }) => seq);

test("a message is shown once, however often it comes", async () => {
  const { rest, store, room } = await open();
  rest.history.push(message(4));
  store.apply(message(4));
  store.apply(message(4));
  assert.deepEqual(seqs(room), [1, 2, 3, 4]);
  assert.equal(store.unread, 1);
});

test("neighbours that come in the other order are put in order, and nothing is asked for", async () => {
  const { clock, rest, store, room } = await open();
  rest.asked = [];
  store.apply(message(5));
  store.apply(message(4));
  await clock.pass(300);
  assert.deepEqual(seqs(room), [1, 2, 3, 4, 5]);
  assert.deepEqual(rest.asked, []);
});

test("a gap is filled from the history, and then the conversation is whole", async () => {
  const { clock, rest, store, room } = await open();
  for (let seq = 4; seq <= 60; seq += 1) rest.history.push(message(seq));
  store.apply(message(60));
  await clock.pass(300);
  assert.deepEqual(
    seqs(room),
    Array.from({ length: 60 }, (_, index) => index + 1),
  );
});

test("after a night away everything is loaded anew, once, and at a moment of its own", async () => {
  const { clock, rest, store, room } = await open();
  for (let seq = 4; seq <= 40; seq += 1) rest.history.push(message(seq));
  rest.asked = [];
  store.apply({
    type: "welcome",
    reader_id: ME,
    pos: "f.1",
    recovered: false,
    unread: { conversations: 1, notices: 0 },
  });
  store.apply({ type: "reset", reason: "epoch" });
  await clock.pass(2999);
  assert.deepEqual(rest.asked, []);
  await clock.pass(1);
  assert.equal(rest.asked.filter((each) => each === "conversations").length, 1);
  assert.equal(seqs(room).length, 40);
  assert.equal(store.unread, 37);
});

test("a welcome that recovered asks for nothing", async () => {
  const { clock, rest, store } = await open();
  rest.asked = [];
  store.apply({ type: "welcome", reader_id: ME, pos: "e.1", recovered: true });
  await clock.pass(60_000);
  assert.deepEqual(rest.asked, []);
});

test("a site that is away for a moment is asked again", async () => {
  const { clock, rest, store } = await open();
  rest.isAway = true;
  store.apply({ type: "reset", reason: "epoch" });
  await clock.pass(3000);
  rest.history.push(message(4));
  rest.isAway = false;
  await clock.pass(6000);
  assert.equal(store.unread, 1);
});

test("one's own messages, hidden ones and those of muted conversations are not counted", async () => {
  const { store } = await open();
  store.apply(message(4, { sender_id: ME }));
  store.apply(message(5, { hidden: true, body: null }));
  assert.equal(store.unread, 0);
  store.apply(message(6));
  assert.equal(store.unread, 1);
  store.conversations.get(1).muted = true;
  assert.equal(store.unread, 0);
});

test("what is read on another device is read here, and a part of it is counted anew", async () => {
  const { clock, rest, store } = await open();
  for (const seq of [4, 5]) {
    rest.history.push(message(seq));
    store.apply(message(seq));
  }
  rest.readSeq = 4;
  store.apply({ type: "read", conversation_id: 1, reader_id: ME, seq: 4 });
  await clock.pass(500);
  assert.equal(store.unread, 1);
  store.apply({ type: "read", conversation_id: 1, reader_id: ME, seq: 5 });
  assert.equal(store.unread, 0);
});

test("an edit and a deletion change what is there, also when they come before the message", async () => {
  const { store, room } = await open();
  store.apply({ type: "edited", conversation_id: 1, seq: 4, body: "better", edited_at: 20 });
  store.apply(message(4));
  store.apply({ type: "edited", conversation_id: 1, seq: 4, body: "older", edited_at: 10 });
  assert.equal(room.messages.at(-1).body, "better");
  store.apply({ type: "deleted", conversation_id: 1, seq: 4, at: 30 });
  store.apply({ type: "edited", conversation_id: 1, seq: 4, body: "back", edited_at: 40 });
  assert.deepEqual([room.messages.at(-1).body, room.messages.at(-1).deleted_at], [null, 30]);
});

test("a notice is told once, with the words of the list", async () => {
  const { clock, rest, store, changes } = await open();
  const notice = { audience: ME, seq: 1, type: "order_paid", times: 1 };
  rest.found = [notice];
  store.apply({ type: "notice", notice });
  store.apply({ type: "notice", notice });
  await clock.pass(500);
  store.apply({ type: "notice", notice });
  await clock.pass(500);
  assert.deepEqual(
    changes.filter(([what]) => what === "notice"),
    [["notice", notice]],
  );
  assert.equal(store.unread, 1);
});

test("who writes is told as long as it is heard, and no longer", async () => {
  const { clock, store } = await open();
  const typing = { type: "typing", conversation_id: 1, reader_id: 9 };
  store.apply(typing);
  await clock.pass(3000);
  store.apply(typing);
  await clock.pass(4000);
  assert.deepEqual(store.typing.who(1), [9]);
  await clock.pass(1000);
  assert.deepEqual(store.typing.who(1), []);
  store.apply(typing);
  store.apply(message(4));
  assert.deepEqual(store.typing.who(1), []);
});

test("a word about a frame of a later release is no trouble", async () => {
  const { store } = await open();
  store.apply({ type: "fireworks" });
});

// Tabs: a lock and a channel as a browser has them.

class FakeLocks {
  waiting = [];

  request = (_name, work) => {
    this.waiting.push(work);
    if (this.waiting.length === 1) work();
    return new Promise(() => {});
  };

  release() {
    this.waiting.shift();
    this.waiting[0]?.();
  }
}

function openTabs(count, locks) {
  const channels = [];
  return Array.from({ length: count }, (_, index) => {
    const channel = {
      postMessage: (data) =>
        channels.filter((each) => each !== channel).forEach((each) => each.onmessage?.({ data })),
    };
    channels.push(channel);
    const seen = { index, led: 0, heard: [], served: [] };
    seen.tabs = new Tabs({
      locks,
      channel,
      lead: () => {
        seen.led += 1;
      },
      hear: (said) => seen.heard.push(said),
      serve: (said) => seen.served.push(said),
    });
    seen.tabs.start();
    return seen;
  });
}

test("of seven tabs one leads, and each other is served by it", async () => {
  const tabs = openTabs(7, new FakeLocks());
  tabs[6].tabs.ask({ kick: true });
  assert.deepEqual(
    tabs.map(({ led }) => led),
    [1, 0, 0, 0, 0, 0, 0],
  );
  assert.deepEqual(tabs[0].served.at(-1), { kick: true });
  tabs[0].tabs.tell({ frame: 1 });
  assert.deepEqual(
    tabs.map(({ heard }) => heard.length),
    [0, 1, 1, 1, 1, 1, 1],
  );
});

test("when the one that leads is closed, the next does", async () => {
  const locks = new FakeLocks();
  const tabs = openTabs(3, locks);
  locks.release();
  await settle();
  assert.deepEqual(
    tabs.map(({ led }) => led),
    [1, 1, 0],
  );
});

test("without locks each tab leads itself", () => {
  assert.deepEqual(
    openTabs(2, undefined).map(({ led }) => led),
    [1, 1],
  );
});
