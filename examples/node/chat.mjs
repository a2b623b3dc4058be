// One conversation in a terminal: what is said appears, in order and once, and each line that is
// typed is sent.
//
//     node chat.mjs SITE CONVERSATION
//
// SITE as http://127.0.0.1:8000; CONVERSATION a number, or "desk".
//
// Who you are: CHAT_READER, as the header X-Reader said it, or CHAT_KEY; without either a new
// reader, whose name is printed. The rules of connecting are the page's own files; node 22 has a
// WebSocket of its own, older ones take that of the package `ws`.

import { createInterface } from "node:readline";

import WsSocket from "ws";

import { Connection } from "../../tidings/web/reader/chat_connection.js";
import { Outbox, Sender, errorFrame } from "../../tidings/web/reader/chat_outbox.js";
import { MemoryStorage } from "../../tidings/web/reader/chat_storage.js";
import { openSocket, openStream } from "../../tidings/web/reader/chat_wires.js";

const TIMEOUT_MS = 10000;
const headers = process.env.CHAT_KEY
  ? { Authorization: `Bearer ${process.env.CHAT_KEY}` }
  : { "X-Reader": process.env.CHAT_READER ?? "" };
const [, , site, wanted] = process.argv;

async function ask(address, method = "GET", body = undefined) {
  const answer = await fetch(address, {
    method,
    headers: { ...headers, "Content-Type": "application/json" },
    body: body && JSON.stringify(body),
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
  const said = await answer.json();
  if (answer.headers.has("X-Reader") && !headers["X-Reader"] && !headers.Authorization) {
    headers["X-Reader"] = answer.headers.get("X-Reader");
    console.log(`reader ${headers["X-Reader"]}`);
  }
  if (answer.ok) return said;
  const seconds = Number(answer.headers.get("Retry-After"));
  const code = said.type?.split("#")[1]?.replaceAll("-", "_");
  // A key that was revoked, a site without a chat and a day's quota stay so; all else may pass.
  throw Object.assign(new Error(said.title), {
    again: ![401, 403, 404].includes(answer.status) && code !== "enough_for_today",
    status: answer.status,
    code,
    ...(seconds && { retryAfterMs: seconds * 1000 }),
  });
}

let conversation = Number(wanted) || null;
let printed = 0; // up to this seq; null while nothing is known of what was said before
const early = new Map(); // what came before its turn

function print(message) {
  if (message.seq <= printed) return;
  early.set(message.seq, message);
  for (let next = early.get(printed + 1); next; next = early.get(printed + 1)) {
    early.delete(next.seq);
    printed = next.seq;
    console.log(`${next.seq} ${next.sender_id}: ${next.body ?? ""}`);
  }
}

// Everything after what was printed, page by page; what is missing is asked for here and nowhere
// else.
async function catchUp() {
  for (;;) {
    const { results } = await ask(
      `${connection.rest}/conversations/${conversation}/messages?after=${printed}`,
    );
    // From its first message on it is ours to see.
    if (results.length) printed = Math.max(printed, results[0].seq - 1);
    results.forEach(print);
    if (!results.length) return;
  }
}

let catchingUp = Promise.resolve();
const catchUpInTurn = () => {
  catchingUp = catchingUp.then(catchUp).catch(tell);
};

// A conversation that is not the reader's will not be.
function tell(error) {
  console.error(`client: ${error.message}`);
  if (error.again === false) process.exit(1);
}

async function welcomed({ reader_id, recovered }) {
  console.log(`open ${reader_id} ${recovered ? "recovered" : "anew"}`);
  conversation ??= (await ask(`${connection.rest}/conversations`, "POST", { kind: "desk" }))
    .conversation_id;
  if (!recovered) catchUpInTurn();
  typed.splice(0).forEach(write);
}

const typed = []; // before it is known where
function write(line) {
  outbox.add(conversation, line, null);
  sender.kick();
}

function hear(frame) {
  sender.onFrame(frame);
  if (frame.type === "welcome") welcomed(frame).catch(tell);
  if (frame.type === "reset") catchUpInTurn();
  if (frame.type !== "message" || frame.conversation_id !== conversation) return;
  print(frame);
  if (frame.seq > printed) catchUpInTurn();
}

const connection = new Connection({
  getTicket: () => ask(`${site}/reader/chat-ticket`, "POST"),
  openSocket: openSocket(globalThis.WebSocket ?? WsSocket),
  openStream: openStream(fetch, headers),
  onFrame: hear,
  onState: (state, reason) => {
    if (state !== "open") console.log(state, reason ?? "");
    sender?.onState(state);
    if (state === "stopped") process.exit(reason === "stopped" ? 0 : 1);
  },
});

// By REST: what is too long for a frame, or all where only listening works.
async function post({ cid, conversation_id, body }) {
  const address = `${connection.rest}/conversations/${conversation_id}/messages`;
  try {
    return { type: "ack", ...(await ask(address, "POST", { cid, body })), cid };
  } catch (error) {
    return errorFrame(cid, error);
  }
}

const outbox = new Outbox({ storage: new MemoryStorage() });
const sender = new Sender({
  outbox,
  connection,
  post,
  onChange: (frame) =>
    console.log(frame.type === "ack" ? `sent ${frame.seq}` : `refused ${frame.code}`),
});

if (process.argv.length !== 4 || !/^(desk|\d+)$/.test(wanted)) {
  console.error("usage: chat SITE CONVERSATION, which is a number or desk");
  process.exit(2);
}
connection.start();
const lines = createInterface({ input: process.stdin });
lines.on("line", (line) => {
  if (line.trim() && conversation) write(line);
  else if (line.trim()) typed.push(line);
});
// What was typed is sent before the end.
lines.on("close", () => {
  const leave = setInterval(() => {
    if (typed.length || outbox.all().some(({ refused }) => !refused)) return;
    clearInterval(leave);
    connection.stop();
  }, 100);
});
