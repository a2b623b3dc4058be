// What the reader wrote and the server has not acknowledged yet. It is kept in the browser's
// storage before it is sent, each message under a key of its own so that two tabs never overwrite
// each other's; after a reload, a crash or a night offline it is sent again under the same `cid`,
// which the server stores once. One after another, so that order is kept, and no faster than the
// server allows.
//
//     const outbox = new Outbox({ storage: localStorage });
//     const sender = new Sender({ outbox, connection, post, onChange });
//     outbox.add(7, "Good morning", readerId);
//     sender.kick();

const PREFIX = "tidings.chat.out.";
const MOST_WAITING = 100;
const KEPT_MS = 7 * 864e5;
const PACE_MS = 150; // the server's limit is 10 messages/s
const ACK_WITHIN_MS = 15000;
const AGAIN_MS = 2000;
const MOST_FRAME_BYTES = 16384; // the server closes a socket over a longer one
const MOST_BODY_BYTES = 16384; // and refuses a longer message, also by REST
// What a later try may change. Anything else is the reader's to decide.
const PASSING = new Set(["unavailable"]);

export class Outbox {
  constructor({ storage, now = Date.now, makeCid = newCid }) {
    Object.assign(this, { storage, now, makeCid });
    this.last = 0;
  }

  add(conversationId, body, readerId) {
    if (this.all().length >= MOST_WAITING)
      throw new Error("Too many messages are waiting to be sent.");
    this.last = Math.max(this.last + 1, this.now());
    const entry = {
      cid: this.makeCid(),
      conversation_id: conversationId,
      body,
      at: this.last,
      readerId,
    };
    this.keep(entry);
    return entry;
  }

  // In the order in which they were written.
  all() {
    const keys = Array.from({ length: this.storage.length }, (_, index) => this.storage.key(index));
    return keys
      .filter((key) => key.startsWith(PREFIX))
      .map((key) => read(this.storage, key))
      .filter(Boolean)
      .sort((one, other) => one.at - other.at || (one.cid < other.cid ? -1 : 1));
  }

  get(cid) {
    return read(this.storage, PREFIX + cid);
  }

  remove(cid) {
    this.storage.removeItem(PREFIX + cid);
  }

  // It stays, with the reason, until the reader sends it again or gives it up.
  refuse(cid, code) {
    const entry = this.get(cid);
    if (entry) this.keep({ ...entry, refused: code });
  }

  // As a new message: the old `cid` may have been stored with another body.
  again(cid) {
    const entry = this.get(cid);
    if (!entry) return;
    this.remove(cid);
    this.add(entry.conversation_id, entry.body, entry.readerId);
  }

  // What another reader of this browser wrote, or what is too old to be still meant, is not sent.
  sweep(readerId) {
    for (const { cid, at, readerId: by } of this.all()) {
      if ((by && by !== readerId) || at < this.now() - KEPT_MS) this.remove(cid);
    }
  }

  keep(entry) {
    this.storage.setItem(PREFIX + entry.cid, JSON.stringify(entry));
  }
}

export class Sender {
  // post(entry) sends by REST, for a line that only listens; it resolves to an `ack` or an `error`
  // frame.
  constructor({
    outbox,
    connection,
    post,
    onChange,
    clock = connection.clock,
    random = Math.random,
  }) {
    Object.assign(this, { outbox, connection, post, onChange, clock, random });
    this.inFlight = null;
    this.timer = null;
  }

  // Also after another tab has written something.
  kick() {
    if (this.inFlight || this.timer || !this.connection.isOpen) return;
    const entry = this.outbox.all().find(({ refused }) => !refused);
    if (!entry) return;
    this.inFlight = entry.cid;
    const { cid, conversation_id, body } = entry;
    const frame = { type: "send", cid, conversation_id, body };
    if (fits(frame) && this.connection.send(frame))
      this.wait(ACK_WITHIN_MS, () => this.silent(cid));
    else
      this.post(entry).then(
        (frame) => this.onFrame(frame),
        () => this.onFrame({ type: "error", cid, code: "unavailable" }),
      );
  }

  onFrame(frame) {
    if (!frame.cid || (frame.type !== "ack" && frame.type !== "error")) return;
    const entry = this.outbox.get(frame.cid);
    if (frame.type === "ack") this.outbox.remove(frame.cid);
    else if (!PASSING.has(frame.code)) this.outbox.refuse(frame.cid, frame.code);
    if (frame.cid === this.inFlight) {
      this.inFlight = null;
      const isPassing = frame.type === "error" && PASSING.has(frame.code);
      this.wait(
        isPassing ? (frame.retry_after_ms ?? AGAIN_MS * (0.5 + this.random())) : PACE_MS,
        () => this.kick(),
      );
    }
    this.onChange(frame, entry);
  }

  // What was on its way when the line ended is sent again over the next one.
  onState(state) {
    this.inFlight = null;
    this.cancel();
    if (state === "open") this.kick();
  }

  silent(cid) {
    if (this.inFlight !== cid) return;
    this.inFlight = null;
    this.connection.wake();
    this.kick();
  }

  wait(ms, work) {
    this.cancel();
    this.timer = this.clock.setTimeout(() => {
      this.timer = null;
      work();
    }, ms);
  }

  cancel() {
    this.clock.clearTimeout(this.timer);
    this.timer = null;
  }
}

// What a message that was refused by REST would have been told over a socket. A server that is
// away, a slow line and a minute's limit pass; a day's quota, which is 429 as well, does not soon.
export function errorFrame(cid, { status, code, message, retryAfterMs }) {
  const isPassing =
    !status || status >= 500 || status === 408 || (status === 429 && code !== "enough_for_today");
  return {
    type: "error",
    cid,
    code: isPassing ? "unavailable" : (code ?? message),
    ...(isPassing && retryAfterMs && { retry_after_ms: retryAfterMs }),
  };
}

// How many characters at its end a message has too many, about: the limit is one of bytes.
export function countTooMany(body) {
  const bytes = countBytes(body);
  const over = Math.max(0, bytes - MOST_BODY_BYTES);
  return over && Math.ceil((over * body.length) / bytes);
}

function fits(frame) {
  return countBytes(JSON.stringify(frame)) <= MOST_FRAME_BYTES;
}

function countBytes(text) {
  return new TextEncoder().encode(text).length;
}

// 128 random bits; crypto.randomUUID is missing where a page came over plain HTTP.
function newCid() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) =>
    byte.toString(16).padStart(2, "0"),
  ).join("");
}

function read(storage, key) {
  try {
    return JSON.parse(storage.getItem(key));
  } catch {
    return null;
  }
}
