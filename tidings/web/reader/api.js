// Talks to the gateway: reads articles, and reports what the reader did without ever making the reader wait.

const FLUSH_AFTER_MS = 1500;
const RETRY_AFTER_MS = 10000;
const MOST_WAITING = 500;
const MOST_AT_ONCE = 100;

export class Trouble extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

export async function get(path) {
  let answer;
  try {
    answer = await fetch(path, { headers: { Accept: "application/json" } });
  } catch {
    throw new Trouble("The site cannot be reached. Are you online?", 0);
  }
  if (answer.ok) return answer.json();
  const problem = await answer.json().catch(() => ({}));
  throw new Trouble(problem.detail || problem.title || `The site answered ${answer.status}.`, answer.status);
}

const waiting = [];
const sent = new Set();
let timer = null;
let sending = Promise.resolve();

// Each token is reported once, however often the reader does the same thing.
export function report(track, readMs) {
  if (!track || sent.has(track)) return;
  sent.add(track);
  push(readMs === undefined ? { track, at: Date.now() } : { track, at: Date.now(), read_ms: Math.round(readMs) });
}

// A like, a save or a "not for me", pressed or taken back. The first time by the token of the card, which
// says where the article stood; a token acts once, so from then on by the article's own path.
export function mark({ id, name, token, pressed }) {
  if (pressed && token && !sent.has(token)) {
    report(token);
  } else {
    flush();
    const method = pressed ? "PUT" : "DELETE";
    inTurn(() => fetch(`/articles/${id}/${name}`, { method, keepalive: true })).catch(() => {});
  }
}

function push(event) {
  waiting.push(event);
  waiting.splice(0, waiting.length - MOST_WAITING);
  schedule(FLUSH_AFTER_MS);
}

function schedule(afterMs) {
  timer ??= setTimeout(flush, afterMs);
}

// What is sent arrives in the order in which it was done.
function inTurn(work) {
  const done = sending.then(work);
  sending = done.catch(() => {});
  return done;
}

function flush() {
  clearTimeout(timer);
  timer = null;
  inTurn(send);
}

async function send() {
  if (!waiting.length) return;
  const events = waiting.splice(0, MOST_AT_ONCE);
  try {
    const answer = await fetch("/behaviors", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ events }),
      keepalive: true,
    });
    // What the gateway refuses as such it would refuse again; what it cannot take just now is kept.
    if (answer.status >= 500) throw new Trouble("not stored", answer.status);
    if (waiting.length) schedule(FLUSH_AFTER_MS);
  } catch {
    waiting.unshift(...events);
    schedule(RETRY_AFTER_MS);
  }
}

// A page that is being left gets no answer, so this is the last chance; the same token counts once in any case.
export function flushNow() {
  while (waiting.length) {
    const events = waiting.splice(0, MOST_AT_ONCE);
    const body = new Blob([JSON.stringify({ events })], { type: "application/json" });
    if (!navigator.sendBeacon("/behaviors", body)) {
      waiting.unshift(...events);
      return;
    }
  }
}
