// How the page's connection to the chat begins, ends and comes back.

import assert from "node:assert/strict";
import { test } from "node:test";

import { backOff, closingCodes, decide } from "../../../tidings/web/reader/chat_closing.js";
import { Connection } from "../../../tidings/web/reader/chat_connection.js";
import { FakeClock, FakeServer, settle } from "./fakes.mjs";

const codes = closingCodes();

async function connect({ random = () => 1, pos = null } = {}) {
  const clock = new FakeClock();
  const server = new FakeServer();
  const seen = { frames: [], states: [] };
  const connection = new Connection({
    getTicket: server.getTicket,
    openSocket: server.open("socket"),
    openStream: server.open("stream"),
    onFrame: (frame) => seen.frames.push(frame),
    onState: (...state) => seen.states.push(state),
    clock,
    random,
    pos,
  });
  connection.start();
  await settle();
  return { clock, server, seen, connection };
}

test("the ticket is the first thing said, and the position only where there is one", async () => {
  const { server, connection } = await connect();
  server.welcome({ pos: "e.1" });
  assert.deepEqual(server.last.sent, [{ type: "hello", ticket: "ticket-1" }]);
  assert.equal(connection.state, "open");
  assert.equal(server.last.address, "ws://chat/ws");
});

test("after a loss it comes back with a fresh ticket and where it was", async () => {
  const { clock, server } = await connect();
  server.welcome({ pos: "e.1" }).say({ type: "message", pos: "e.5", conversation_id: 1, seq: 1 });
  server.last.cut(1006);
  await clock.pass(1000);
  server.last.line.opened();
  assert.deepEqual(server.last.sent, [{ type: "hello", ticket: "ticket-2", pos: "e.5" }]);
});

test("a frame whose work failed is asked for again", async () => {
  const { clock, server, connection } = await connect();
  server.welcome({ pos: "e.1" });
  connection.onFrame = () => {
    throw new Error("no room");
  };
  assert.throws(() => server.last.say({ type: "message", pos: "e.2" }), /no room/);
  assert.equal(connection.pos, "e.1");
  await clock.pass(0);
});

for (const code of codes.again) {
  test(`close code ${code}: it comes back`, async () => {
    const { clock, server, connection } = await connect();
    server.welcome().cut(code);
    assert.equal(connection.state, "waiting");
    await clock.pass(1000);
    assert.equal(server.wires.length, 2);
    server.welcome();
    assert.equal(connection.state, "open");
  });
}

for (const code of codes.never) {
  test(`close code ${code}: it stays away, and says why`, async () => {
    const { clock, server, seen } = await connect();
    server.welcome().cut(code);
    await clock.pass(3_600_000);
    assert.equal(server.wires.length, 1);
    assert.deepEqual(seen.states.at(-1), ["stopped", code]);
  });
}

test("a code of no table is one of a newer server, and is come back from", () => {
  assert.equal(decide(4999).again, true);
});

test("the wait is any part of a limit that doubles up to half a minute", () => {
  const limits = [0, 1, 2, 3, 4, 5, 50].map((attempt) => backOff(attempt, () => 1));
  assert.deepEqual(limits, [1000, 2000, 4000, 8000, 16000, 30000, 30000]);
  assert.equal(
    backOff(5, () => 0),
    0,
  );
});

test("a server that closes at once is asked less and less often", async () => {
  const { clock, server, connection } = await connect();
  for (const expectedMs of [1000, 2000, 4000]) {
    server.welcome().cut(1013);
    await clock.pass(expectedMs - 1);
    assert.equal(connection.state, "waiting");
    await clock.pass(1);
  }
  server.welcome();
  await clock.pass(10000);
  server.last.cut(1006);
  await clock.pass(1000);
  assert.equal(connection.state, "connecting");
});

test("the moment that a server names on leaving is kept", async () => {
  const { clock, server } = await connect();
  server.welcome().say({ type: "bye", retry_after_ms: 7000 });
  server.last.cut(1012);
  await clock.pass(6999);
  assert.equal(server.wires.length, 1);
  await clock.pass(1);
  assert.equal(server.wires.length, 2);
});

test("no ticket: it waits as after a loss, or as long as it is told to", async () => {
  const { clock, server } = await connect();
  server.welcome();
  server.refusal = Object.assign(new Error("busy"), { retryAfterMs: 9000 });
  server.last.cut(1006);
  await clock.pass(1000);
  server.refusal = null;
  await clock.pass(8999);
  assert.equal(server.wires.length, 1);
  await clock.pass(1);
  assert.equal(server.wires.length, 2);
});

test("no ticket ever: it stays away", async () => {
  const { clock, server, seen } = await connect();
  server.welcome();
  server.refusal = Object.assign(new Error("no chat here"), { again: false });
  server.last.cut(1006);
  await clock.pass(3_600_000);
  assert.deepEqual(seen.states.at(-1), ["stopped", "no ticket"]);
});

test("after two sockets that never opened it listens to events, and tries again later", async () => {
  const { clock, server, seen, connection } = await connect();
  server.last.cut(1006);
  await clock.pass(1000);
  server.last.cut(1006);
  await clock.pass(2000);
  assert.deepEqual(
    server.wires.map(({ kind }) => kind),
    ["socket", "socket", "stream"],
  );
  const stream = server.welcome({ pos: "e.3" });
  assert.equal(connection.state, "open");
  assert.equal(connection.send({ type: "ping" }), false);
  for (let ms = 0; ms < 180_000; ms += 10_000) {
    stream.line.alive();
    await clock.pass(10_000);
  }
  assert.equal(server.last.kind, "socket");
  assert.equal(stream.isClosed, false);
  server.last.line.opened();
  assert.equal(server.last.sent[0].pos, "e.3");
  server.welcome({ pos: "e.3", recovered: true });
  assert.equal(stream.isClosed, true);
  assert.equal(connection.canSend, true);
  assert.deepEqual(seen.states.at(-1), ["open"]);
});

test("a socket that fails beside a stream leaves the stream as it is", async () => {
  const { clock, server, connection } = await connect();
  for (const ms of [1000, 2000]) {
    server.last.cut(1006);
    await clock.pass(ms);
  }
  const stream = server.welcome();
  for (let round = 0; round < 2; round += 1) {
    const before = server.wires.length;
    while (server.wires.length === before) {
      stream.line.alive();
      await clock.pass(10_000);
    }
    server.last.cut(1006);
    assert.equal(connection.state, "open");
    assert.equal(stream.isClosed, false);
  }
});

test("a socket that is open but says nothing is taken for none", async () => {
  const { clock, server } = await connect();
  server.last.line.opened();
  await clock.pass(10_000);
  assert.equal(server.last.isClosed, true);
  await clock.pass(1000);
  assert.equal(server.wires.length, 2);
});

test("silence is asked about, and no answer is the end", async () => {
  const { clock, server, connection } = await connect();
  const wire = server.welcome();
  await clock.pass(30_000);
  assert.deepEqual(wire.sent.at(-1), { type: "ping" });
  wire.say({ type: "pong" });
  await clock.pass(20_000);
  assert.equal(connection.state, "open");
  await clock.pass(60_000);
  assert.equal(wire.isClosed, true);
});

test("after sleep the line is asked at once, and a dead one is replaced within seconds", async () => {
  const { clock, server, connection } = await connect();
  const wire = server.welcome();
  clock.ms += 3_600_000; // no timer ran meanwhile
  connection.wake();
  assert.deepEqual(wire.sent.at(-1), { type: "ping" });
  await clock.pass(5000);
  assert.equal(wire.isClosed, true);
  await clock.pass(1000);
  assert.equal(server.wires.length, 2);
});

test("the network's return ends the wait", async () => {
  const { server, connection } = await connect();
  server.welcome().cut(1006);
  assert.equal(connection.state, "waiting");
  connection.wake();
  await settle();
  assert.equal(server.wires.length, 2);
});

test("what was stopped while its ticket was on its way opens nothing", async () => {
  const server = new FakeServer();
  const clock = new FakeClock();
  const ignore = () => {};
  const connection = new Connection({
    getTicket: server.getTicket,
    openSocket: server.open("socket"),
    openStream: server.open("stream"),
    onFrame: ignore,
    onState: ignore,
    clock,
  });
  connection.start();
  connection.stop();
  await settle();
  await clock.pass(60_000);
  assert.deepEqual([server.wires.length, clock.due.length], [0, 0]);
});
