// The connection to the chat, kept alive: ticket, hello, resume, back-off, and the fallback. It
// knows no page: how a ticket is fetched, how a line is opened and what time it is are handed in,
// so that the same file runs in a page, in node, and in a test with a made-up clock. Rejected: a
// socket library, whose reconnecting knows neither tickets nor positions.
//
//     const connection = new Connection({ getTicket, openSocket, openStream, onFrame, onState });
//     connection.start();
//     connection.send({ type: "typing", conversation_id: 7 }); // false: there is no line just now

import { LOST, backOff, decide } from "./chat_closing.js";
import { Line, realClock } from "./chat_line.js";

const SOCKETS_BEFORE_STREAM = 2;
const SOCKET_AGAIN_MS = 120000;
const WELCOME_WITHIN_MS = 10000;
const STABLE_AFTER_MS = 10000; // a line that lasted this long starts the back-off anew
const LOOK_MS = 15000;
const QUIET_MS = 25000; // then we ask; the server's own pings cannot be seen from a page
const DEAD_MS = 60000;
const ANSWER_WITHIN_MS = 5000;

export class Connection {
  // getTicket() -> { ticket, url, rest }; what it throws may have `again: false` or `retryAfterMs`.
  // openSocket(url, line) and openStream(rest, pos, line) -> { send(text), close(code) }; they call
  // line.opened(), line.text(text), line.alive() and line.closed(code).
  constructor({
    getTicket,
    openSocket,
    openStream,
    onFrame,
    onState,
    clock = realClock,
    random = Math.random,
    pos = null,
  }) {
    Object.assign(this, {
      getTicket,
      openSocket,
      openStream,
      onFrame,
      onState,
      clock,
      random,
      pos,
    });
    this.state = "stopped";
    this.line = null; // the one that was welcomed
    this.trial = null; // the one that was not yet
    this.attempt = 0;
    this.failedSockets = 0;
    this.retryAfterMs = null;
    this.timers = new Map();
  }

  get isOpen() {
    return this.line !== null;
  }

  // Whether frames can be sent, rather than only heard.
  get canSend() {
    return this.line?.kind === "socket";
  }

  get rest() {
    return this.offer?.rest ?? null;
  }

  start() {
    if (this.state !== "stopped") return;
    this.say("connecting");
    this.after("look", LOOK_MS, () => this.look());
    this.connect();
  }

  stop(reason = "stopped") {
    this.state = "stopped"; // before the lines close: what they say is not looked at any more
    for (const name of [...this.timers.keys()]) this.cancel(name);
    for (const line of [this.line, this.trial]) line?.end(1000);
    this.line = this.trial = this.retryAfterMs = null;
    this.onState("stopped", reason);
  }

  send(frame) {
    if (!this.canSend) return false;
    this.line.wire.send(JSON.stringify(frame));
    return true;
  }

  // The network is back, the page can be seen again, the machine woke up.
  wake() {
    if (this.state === "waiting") this.connect();
    else if (this.isOpen) this.check();
  }

  // A line that answers nothing is dead, even if the operating system has not noticed.
  check() {
    const { line } = this;
    const asked = this.clock.now();
    this.send({ type: "ping" });
    if (line.kind === "socket")
      this.after("answer", ANSWER_WITHIN_MS, () => {
        if (line.heard < asked) line.closed(LOST);
      });
  }

  async connect(kind = this.failedSockets < SOCKETS_BEFORE_STREAM ? "socket" : "stream") {
    this.cancel("again");
    if (!this.isOpen) this.say("connecting");
    const line = new Line(this, kind);
    this.trial = line;
    this.after("welcome", WELCOME_WITHIN_MS, () => line.closed(LOST));
    try {
      this.offer = await this.getTicket();
    } catch (error) {
      if (this.trial !== line || this.state === "stopped") return;
      this.retryAfterMs = error.retryAfterMs ?? null;
      if (error.again === false && !this.isOpen) this.stop("no ticket");
      else this.lost(line, null);
      return;
    }
    if (this.trial !== line || this.state === "stopped") return;
    const { url, rest, ticket } = this.offer;
    line.hello = { type: "hello", ticket, ...(this.pos ? { pos: this.pos } : {}) };
    line.wire =
      kind === "socket" ? this.openSocket(url, line) : this.openStream(rest, this.pos, line);
  }

  welcomed(line) {
    this.cancel("welcome");
    this.line?.end(1000);
    this.line = line;
    this.trial = null;
    line.since = this.clock.now();
    if (line.kind === "socket") this.failedSockets = 0;
    else
      this.after("socket", SOCKET_AGAIN_MS * (0.5 + this.random()), () => this.connect("socket"));
  }

  frame(line, text) {
    const frame = JSON.parse(text);
    if (frame.type === "welcome") this.welcomed(line);
    if (frame.type === "bye") this.retryAfterMs = frame.retry_after_ms;
    if (this.line !== line) return; // what a line says that was replaced, its successor says too
    this.onFrame(frame);
    // Only now, and not before a replay has come: what breaks off in between is asked for again.
    if (frame.pos && !frame.recovered) this.pos = frame.pos;
    if (frame.type === "welcome") this.say("open"); // who this is was told before
  }

  // `code` is null when there was no ticket.
  lost(line, code) {
    if (this.state === "stopped" || (line !== this.line && line !== this.trial)) return;
    if (line === this.trial) {
      this.trial = null;
      this.cancel("welcome");
      // Other codes are said by the server itself, so the socket got through.
      if (line.kind === "socket" && code === LOST) this.failedSockets += 1;
      if (this.isOpen) {
        // the stream goes on, and the socket is tried once more later
        this.after("socket", SOCKET_AGAIN_MS * (0.5 + this.random()), () => this.connect("socket"));
        return;
      }
      // Neither way works: begin with the better one.
      if (line.kind === "stream") this.failedSockets = 0;
    } else {
      this.line = null;
      this.cancel("socket");
      if (this.clock.now() - line.since >= STABLE_AFTER_MS) this.attempt = 0;
      if (this.trial) return; // it is on its way already
    }
    if (code !== null && !decide(code).again) this.stop(code);
    else this.later();
  }

  later() {
    const delayMs = this.retryAfterMs ?? backOff(this.attempt, this.random);
    this.retryAfterMs = null;
    this.attempt += 1;
    this.say("waiting");
    this.after("again", delayMs, () => this.connect());
  }

  look() {
    this.after("look", LOOK_MS, () => this.look());
    if (!this.isOpen) return;
    const quietMs = this.clock.now() - this.line.heard;
    if (quietMs > DEAD_MS) this.line.closed(LOST);
    else if (quietMs > QUIET_MS) this.check();
  }

  say(state) {
    this.state = state;
    this.onState(state);
  }

  after(name, ms, work) {
    this.cancel(name);
    this.timers.set(
      name,
      this.clock.setTimeout(() => {
        this.timers.delete(name);
        work();
      }, ms),
    );
  }

  cancel(name) {
    this.clock.clearTimeout(this.timers.get(name));
    this.timers.delete(name);
  }
}
