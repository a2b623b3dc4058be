// What a reader wrote reaches the server once, in order, whatever happens in between.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Connection } from "../../../tidings/web/reader/chat_connection.js";
import { Outbox, Sender, countTooMany, errorFrame } from "../../../tidings/web/reader/chat_outbox.js";
import { MemoryStorage } from "../../../tidings/web/reader/chat_storage.js";
import { EventParser, openStream } from "../../../tidings/web/reader/chat_wires.js";
import { FakeClock, FakeServer, settle } from "./fakes.mjs";

const sends = (wire) => wire.sent.filter(({ type }) => type === "send").map(({ body }) => body);

async function open({ storage = new MemoryStorage(), post = null, kind = "socket" } = {}) {
  const clock = new FakeClock();
  const server = new FakeServer();
  let sender = null;
  const connection = new Connection({
    getTicket: server.getTicket,
    openSocket: server.open("socket"),
    openStream: server.open("stream"),
    onFrame: (frame) => sender.onFrame(frame),
    onState: (state) => sender.onState(state),
    clock,
    random: () => 0.5,
  });
  if (kind === "stream") connection.failedSockets = 2;
  const outbox = new Outbox({ storage, now: clock.now });
  const changes = [];
  sender = new Sender({
    outbox,
    connection,
    post,
    onChange: (frame) => changes.push(frame),
    random: () => 0.5,
  });
  connection.start();
  await settle();
  return { clock, server, connection, outbox, sender, changes };
}

function write({ outbox, sender }, ...bodies) {
  for (const body of bodies) outbox.add(1, body, 7);
  sender.kick();
}

const acknowledge = (wire, seq) =>
  wire.say({ type: "ack", cid: wire.sent.at(-1).cid, conversation_id: 1, seq, at: 1 });

test("messages go one after another, in the order in which they were written", async () => {
  const it = await open();
  const wire = it.server.welcome();
  write(it, "one", "two", "three");
  assert.deepEqual(sends(wire), ["one"]);
  acknowledge(wire, 1);
  await it.clock.pass(150);
  acknowledge(wire, 2);
  await it.clock.pass(150);
  assert.deepEqual(sends(wire), ["one", "two", "three"]);
  acknowledge(wire, 3);
  assert.deepEqual(it.outbox.all(), []);
});

test("what was written offline is sent on the next welcome", async () => {
  const it = await open();
  write(it, "from the tunnel");
  assert.deepEqual(it.server.last.sent, []);
  assert.deepEqual(sends(it.server.welcome()), ["from the tunnel"]);
});

test("what was not acknowledged is sent again with the same cid, also after a reload", async () => {
  const storage = new MemoryStorage();
  const before = await open({ storage });
  write(before, "once");
  const first = before.server.welcome().sent.at(-1);
  before.server.last.cut(1006);
  await before.clock.pass(1000);
  assert.deepEqual(before.server.welcome().sent.at(-1), first);
  const after = await open({ storage });
  assert.deepEqual(after.server.welcome().sent.at(-1), first);
});

test("an acknowledgement that never comes has the line looked at and the message repeated", async () => {
  const it = await open();
  const wire = it.server.welcome();
  write(it, "hello?");
  await it.clock.pass(15_000);
  assert.deepEqual(sends(wire), ["hello?", "hello?"]);
  assert.ok(wire.sent.some(({ type }) => type === "ping"));
});

test("a database that is away is waited for, and nothing overtakes", async () => {
  const it = await open();
  const wire = it.server.welcome();
  write(it, "one", "two");
  wire.say({
    type: "error",
    cid: wire.sent.at(-1).cid,
    code: "unavailable",
    message: "",
    retry_after_ms: 500,
  });
  await it.clock.pass(499);
  assert.deepEqual(sends(wire), ["one"]);
  await it.clock.pass(1);
  assert.deepEqual(sends(wire), ["one", "one"]);
});

test("a refused message stays with its reason, and the next one goes on", async () => {
  const it = await open();
  const wire = it.server.welcome();
  write(it, "too long", "fine");
  const { cid } = wire.sent.at(-1);
  wire.say({ type: "error", cid, code: "too_long", message: "" });
  await it.clock.pass(150);
  assert.deepEqual(sends(wire), ["too long", "fine"]);
  assert.equal(it.outbox.get(cid).refused, "too_long");
  acknowledge(wire, 1);
  it.outbox.again(cid);
  await it.clock.pass(150);
  assert.equal(sends(wire).at(-1), "too long");
  assert.notEqual(wire.sent.at(-1).cid, cid);
});

test("where only listening works, messages go by REST", async () => {
  const posted = [];
  const post = async ({ cid, body }) => {
    posted.push(body);
    return { type: "ack", cid, conversation_id: 1, seq: posted.length, at: 1 };
  };
  const it = await open({ kind: "stream", post });
  it.server.welcome();
  write(it, "one", "two");
  await it.clock.pass(200);
  assert.deepEqual(posted, ["one", "two"]);
  assert.deepEqual(it.outbox.all(), []);
});

test("what is too long for a frame goes by REST, and does not end the connection", async () => {
  const post = async ({ cid }) => ({ type: "error", cid, code: "message_too_long" });
  const it = await open({ post });
  const wire = it.server.welcome();
  write(it, "新".repeat(6000), "short");
  await it.clock.pass(200);
  assert.deepEqual(sends(wire), ["short"]);
  assert.deepEqual(
    it.outbox.all().map(({ refused }) => refused),
    ["message_too_long", undefined],
  );
});

test("a minute's limit is waited for, and a day's quota is the reader's to hear of", async () => {
  const answers = [
    { status: 429, code: "quota_exceeded", retryAfterMs: 3000 },
    { status: 429, code: "enough_for_today", retryAfterMs: 3_600_000 },
    { status: 201 },
  ];
  const posted = [];
  const post = async ({ cid, body }) => {
    posted.push(body);
    const answer = answers.shift();
    return answer.status === 201
      ? { type: "ack", cid, conversation_id: 1, seq: 1, at: 1 }
      : errorFrame(cid, answer);
  };
  const it = await open({ kind: "stream", post });
  it.server.welcome();
  write(it, "one", "two");
  await it.clock.pass(2999);
  assert.deepEqual(posted, ["one"]);
  await it.clock.pass(1000);
  assert.deepEqual(posted, ["one", "one", "two"]);
  assert.deepEqual(
    it.outbox.all().map(({ body, refused }) => [body, refused]),
    [["one", "enough_for_today"]],
  );
});

test("what may pass is sent again, and nothing else", () => {
  const passes = (status, code) => errorFrame("c", { status, code }).code === "unavailable";
  assert.ok([0, 408, 500, 503].every((status) => passes(status, "a")));
  assert.ok(passes(429, undefined));
  assert.ok(![400, 401, 403, 404, 409, 413, 422].some((status) => passes(status, "a")));
});

test("a message is measured in bytes, and its excess told in characters", () => {
  assert.equal(countTooMany("a".repeat(16384)), 0);
  assert.equal(countTooMany("a".repeat(16385)), 1);
  assert.equal(countTooMany("新".repeat(5461)), 0);
  assert.equal(countTooMany("新".repeat(5462)), 1);
  assert.equal(countTooMany("新".repeat(6461)), 1000);
});

test("what another reader of this browser left behind is not sent", async () => {
  const it = await open();
  it.outbox.add(1, "mine", 7);
  it.outbox.add(1, "another's", 8);
  it.outbox.sweep(7);
  assert.deepEqual(
    it.outbox.all().map(({ body }) => body),
    ["mine"],
  );
});

test("a storage that holds rubbish is read past", () => {
  const storage = new MemoryStorage();
  storage.setItem("tidings.chat.out.x", "{");
  storage.setItem("theirs", "1");
  assert.deepEqual(new Outbox({ storage, now: () => 1 }).all(), []);
});

test("events arrive whole, however they were cut up on the way", () => {
  const seen = [];
  const text =
    ': comment\n\nid: e.1\r\ndata: {"type":\r\ndata: "ping"}\r\n\r\nevent: close\ndata: {"code":1012}\n\n';
  for (let size = 1; size < 12; size += 1) {
    const parser = new EventParser((event) => seen.push(event));
    for (let from = 0; from < text.length; from += size) parser.push(text.slice(from, from + size));
  }
  assert.equal(seen.length, 22);
  assert.deepEqual(seen[20], { id: "e.1", data: '{"type":\n"ping"}' });
  assert.deepEqual(seen[21], { event: "close", data: '{"code":1012}' });
});

test("a stream says when to come back and why it ends, as a socket does", async () => {
  const said = [];
  const end = 'retry: 4200\nevent: close\ndata: {"code":1012,"comeback":"reconnect"}\n\n';
  const { body } = new Response(`retry: 1500\n\ndata: {"type":"pong"}\n\n${end}`);
  await new Promise((resolve) => {
    const line = {
      alive() {},
      text: (text) => said.push(JSON.parse(text)),
      closed: (code) => resolve(said.push(code)),
    };
    openStream(async () => ({ ok: true, body }))("http://127.0.0.1:8001", null, line);
  });
  assert.deepEqual(said, [{ type: "pong" }, { type: "bye", retry_after_ms: 4200 }, 1012]);
});
