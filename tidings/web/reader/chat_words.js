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
  // The same, as REST names them.
  unknown_conversation: "you are no longer part of this conversation",
  message_too_long: "it is too long",
  invalid_request: "the chat does not take it",
  enough_for_today: "that were too many for today",
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
// Where a time is told: the server's text, made for all zones, says it in UTC.
const SAID = {
  order_expiring: {
    en: (id, until) => `Order ${id} is not paid yet, and is cancelled at ${until}.`,
    zh: (id, until) => `订单 ${id} 尚未付款，将于 ${until} 取消。`,
  },
};
const MOST = 99;
// Notices come in these two.
export const language = navigator.language.startsWith("zh") ? "zh" : "en";

export const isDesk = (readerId) => readerId === DESK_ID;
export const countWords = (count) => (count > MOST ? `${MOST}+` : String(count));
export const noticeKindWords = (type) => KINDS[type] ?? type.replaceAll("_", " ");
export const tooLongWords = (tooMany) =>
  `This is too long for one message, by about ${tooMany.toLocaleString("en")} characters.`;
export const refusalWords = (code) => `Not sent: ${REFUSALS[code] ?? code}.`;
export const stateWords = ({ state, reason }) =>
  (state === "stopped" && STOPS[reason]) || STATES[state] || "";

export function noticeWords({ type, data, text }) {
  if (!SAID[type] || !data.expires_at) return text[language];
  const until = new Date(data.expires_at).toLocaleTimeString([], { timeStyle: "short" });
  return SAID[type][language](data.order_id, until);
}

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
