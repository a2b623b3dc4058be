// The words of messages and notices. What the server says is a code; what a person reads stands
// here.

const DESK_ID = 2 ** 51;
const REFUSALS = {
  not_a_member: "you are no longer part of this conversation",
  blocked: "one of you blocks the other",
  too_long: "it is too long",
  cid_conflict: "it was sent already, in other words",
  not_yours: "it is not yours to change",
  too_late: "it is more than five minutes old",
  no_such_message: "it is not there any more",
  quota: "that were too many for now",
  // By REST the same have other names.
  unknown_conversation: "you are no longer part of this conversation",
  message_too_long: "it is too long",
  invalid_request: "the chat does not take it",
  // The same, as REST names them.
  unknown_conversation: "you are no longer part of this conversation",
  message_too_long: "it is too long",
  enough_for_today: "that were too many for now",
};
const STATES = {
  connecting: "Connecting…",
  waiting: "No connection. What you write is kept, and sent as soon as there is one.",
  stopped: "Not connected.",
};
const STOPS = {
  "no ticket": "This site does not let you into its chat.",
  4409: "Your chat is open in too many places, and this one was closed.",
};
const KINDS = {
  order_paid: "An order was paid",
  order_expiring: "An order is about to be cancelled",
  order_cancelled: "An order was cancelled",
  refund_sent: "Money went back to you",
  fresh_articles: "New articles wait for you",
};
const MOST = 99;
// Notices come in these two.
export const language = navigator.language.startsWith("zh") ? "zh" : "en";

export const isDesk = (readerId) => readerId === DESK_ID;
export const countWords = (count) => (count > MOST ? `${MOST}+` : String(count));
export const noticeKindWords = (type) => KINDS[type] ?? type.replaceAll("_", " ");
export const refusalWords = (code) => `Not sent: ${REFUSALS[code] ?? code}.`;
export const stateWords = ({ state, reason }) =>
  (state === "stopped" && STOPS[reason]) || STATES[state] || "";

// There are no names yet; the last digits tell the few readers of a conversation apart.
export function readerName(readerId, me) {
  if (readerId === me) return "You";
  return isDesk(readerId) ? "The editors’ desk" : `Reader …${String(readerId).slice(-5)}`;
}

export const conversationTitle = ({ title, other_id }) => title || readerName(other_id);

export function bodyWords({ hidden, deleted_at, body }) {
  if (deleted_at) return "This message was deleted.";
  return hidden ? "You do not see this reader’s messages." : body;
}
