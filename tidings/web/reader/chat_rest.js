// The chat by REST: history, lists, and every change that needs no answer within the second.
//
//     const rest = makeRest(() => "http://127.0.0.1:8001");
//     await rest.messages(7, { before: 40 });

import { Trouble } from "./api.js";

const WITHIN_MS = 15000;

async function ask(address, method = "GET", body = undefined) {
  let answer;
  try {
    answer = await fetch(address, {
      method,
      credentials: "include",
      headers: {
        Accept: "application/json",
        ...(body === undefined ? {} : { "Content-Type": "application/json" }),
      },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: AbortSignal.timeout(WITHIN_MS),
    });
  } catch {
    throw new Trouble("The chat cannot be reached just now.", 0);
  }
  const said = await answer.json().catch(() => ({}));
  if (answer.ok) return said;
  const trouble = new Trouble(
    said.detail || said.title || `The chat answered ${answer.status}.`,
    answer.status,
  );
  const seconds = Number(answer.headers.get("Retry-After"));
  if (seconds) trouble.retryAfterMs = seconds * 1000;
  trouble.code = said.type?.split("#")[1]?.replaceAll("-", "_");
  throw trouble;
}

// Where the chat is, and the ticket that opens a socket.
export async function getTicket() {
  try {
    return await ask("/reader/chat-ticket", "POST");
  } catch (error) {
    // There is no chat, or none for this reader.
    if ([401, 403, 404].includes(error.status)) error.again = false;
    throw error;
  }
}

// `base` is known once there is a ticket.
export function makeRest(base) {
  const at = (path) => `${base()}${path}`;
  const of = (id, rest = "") => at(`/conversations/${id}${rest}`);
  return {
    conversations: async () => (await ask(at("/conversations?limit=100"))).results,
    conversation: (id) => ask(of(id)),
    create: (fields) => ask(at("/conversations"), "POST", fields),
    messages: async (id, cursor) =>
      (await ask(of(id, `/messages?${new URLSearchParams(cursor)}`))).results,
    post: (id, cid, body) => ask(of(id, "/messages"), "POST", { cid, body }),
    edit: (id, seq, body) => ask(of(id, `/messages/${seq}`), "PATCH", { body }),
    erase: (id, seq) => ask(of(id, `/messages/${seq}`), "DELETE"),
    report: (id, seq, reason) => ask(of(id, `/messages/${seq}/reports`), "POST", { reason }),
    read: (id, seq) => ask(of(id, "/read"), "PUT", { seq }),
    mute: (id, muted) => ask(of(id, "/mute"), muted ? "PUT" : "DELETE"),
    members: async (id) => (await ask(of(id, "/members"))).results,
    leave: (id) => ask(of(id), "DELETE"),
    blocks: async () => (await ask(at("/reader/blocks"))).results,
    block: (readerId, blocked) => ask(at(`/reader/blocks/${readerId}`), blocked ? "PUT" : "DELETE"),
    notices: async () => (await ask(at("/notices"))).results,
    unread: () => ask(at("/conversations/unread")),
    readNotices: (seq) => ask(at("/notices/read"), "PUT", { seq }),
    switches: async () => (await ask(at("/notices/switches"))).results,
    switchOff: (types) => ask(at("/notices/switches"), "PUT", { off: types }),
  };
}
