// The two ways in which a line reaches the server: a WebSocket, and server-sent events for networks
// that let no socket through. Events are read with fetch and not with EventSource, which cannot say
// where it was, hides the status of a refusal and comes back by a clock of its own.
//
//     openSocket(WebSocket)("ws://127.0.0.1:8001/ws", line)
//     openStream(fetch)("http://127.0.0.1:8001", pos, line)

import { LOST } from "./chat_closing.js";

export const openSocket = (WebSocket) => (url, line) => {
  const socket = new WebSocket(url);
  socket.onopen = () => line.opened();
  socket.onmessage = ({ data }) => line.text(data);
  socket.onclose = ({ code }) => line.closed(code || LOST);
  socket.onerror = () => {}; // a close follows, and says more
  return { send: (text) => socket.send(text), close: (code) => socket.close(code) };
};

export const openStream =
  (fetch, headers = {}) =>
  (rest, pos, line) => {
    const stop = new AbortController();
    const asked = {
      Accept: "text/event-stream",
      ...headers,
      ...(pos ? { "Last-Event-ID": pos } : {}),
    };
    read(
      fetch,
      `${rest}/events`,
      { headers: asked, credentials: "include", cache: "no-store", signal: stop.signal },
      line,
    )
      .catch(() => LOST)
      .then((code) => line.closed(code));
    return { send: () => {}, close: () => stop.abort() };
  };

async function read(fetch, url, options, line) {
  const answer = await fetch(url, options);
  if (!answer.ok) return answer.status === 401 || answer.status === 403 ? 4401 : 1013;
  const decoder = new TextDecoder();
  const parser = new EventParser((event) => {
    if (event.event !== "close") return line.text(event.data);
    // A socket is told in a frame when to come back, and a stream by the format's own word.
    const bye = { type: "bye", retry_after_ms: Number(event.retry) };
    if (event.retry) line.text(JSON.stringify(bye));
    line.closed(JSON.parse(event.data).code);
  });
  for (const reader = answer.body.getReader(); ;) {
    const { done, value } = await reader.read();
    if (done) return 1001;
    line.alive();
    parser.push(decoder.decode(value, { stream: true }));
  }
}

// The part of the format that the server uses: `event:`, `data:`, comments, an empty line at the
// end.
export class EventParser {
  constructor(onEvent) {
    this.onEvent = onEvent;
    this.rest = "";
    this.event = {};
  }

  push(text) {
    const lines = (this.rest + text).split("\n");
    this.rest = lines.pop();
    for (const line of lines) this.take(line.replace(/\r$/, ""));
  }

  take(line) {
    if (line === "") {
      if (this.event.data !== undefined) this.onEvent(this.event);
      this.event = {};
      return;
    }
    const [, name, value] = line.match(/^([^:]*):? ?(.*)$/);
    if (name === "data" && this.event.data !== undefined) this.event.data += `\n${value}`;
    else if (name) this.event[name] = value;
  }
}
