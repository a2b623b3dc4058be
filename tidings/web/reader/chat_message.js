// One message as it is seen, and what can be done with it.

import { bodyWords, isDesk, readerName, refusalWords } from "./chat_words.js";
import { button, element } from "./elements.js";

const EDITABLE_MS = 300000;
const clock = new Intl.DateTimeFormat("en", { hour: "2-digit", minute: "2-digit" });
const day = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "short" });

export function drawMessage(message, view) {
  const { readerId } = view.chat.store;
  const isMine = message.sender_id === readerId;
  const at = new Date(message.at);
  const isGone = Boolean(message.deleted_at || message.hidden);
  const head = element(
    "p",
    { class: "said-by" },
    element(
      "span",
      { class: "who", title: `Reader ${message.sender_id}` },
      readerName(message.sender_id, readerId),
    ),
    " ",
    element(
      "time",
      { datetime: at.toISOString() },
      isToday(at) ? clock.format(at) : day.format(at),
    ),
    ...(message.edited_at && !isGone ? [" · changed"] : []),
  );
  const body = element(
    "p",
    { class: isGone ? "said-words gone" : "said-words", dir: "auto" },
    ...words(message),
  );
  const acts = isGone || isDesk(message.sender_id) ? [] : [actsOf(message, isMine, view)];
  return element("li", { class: isMine ? "message mine" : "message" }, head, body, ...acts);
}

// The desk names articles as `#12 Title`; here that is a link: of a list the whole line, in a
// sentence the number.
function words(message) {
  const text = bodyWords(message);
  if (!isDesk(message.sender_id)) return [text];
  return text.split(/(^#\d{1,18} .*$|#\d{1,18}\b)/m).map((part) => {
    const [, id] = part.match(/^#(\d+)/) ?? [];
    return id ? element("a", { href: `/articles/${id}` }, part) : part;
  });
}

function actsOf(message, isMine, view) {
  const { attempt, chat, id } = view;
  const { rest } = chat;
  const mine = () => [
    ...(Date.now() - new Date(message.at) < EDITABLE_MS
      ? [button("Change", () => view.composer.edit(message))]
      : []),
    button("Delete", () => attempt(() => rest.erase(id, message.seq))),
  ];
  const theirs = () => [
    button("Report", () =>
      attempt(async () => {
        await rest.report(id, message.seq, "reported from the page");
        view.say("Reported. The editors will look at it.");
      }),
    ),
    button("Block this reader", () =>
      attempt(async () => {
        await rest.block(message.sender_id, true);
        view.say("Blocked. You hear nothing of this reader any more.");
      }),
    ),
  ];
  const row = element("div", { class: "acts-row" });
  const details = element(
    "details",
    { class: "message-acts" },
    element("summary", { "aria-label": "What can be done with this message" }, "⋯"),
    row,
  );
  details.addEventListener("toggle", () =>
    row.replaceChildren(...(details.open ? (isMine ? mine() : theirs()) : [])),
  );
  return details;
}

export function drawWaiting(entry, view) {
  const made = element(
    "li",
    { class: "message mine waiting" },
    element("p", { class: "said-words", dir: "auto" }, entry.body),
  );
  if (!entry.refused) {
    made.append(element("p", { class: "said-by" }, "On its way…"));
    return made;
  }
  made.append(
    element("p", { class: "said-by refused" }, refusalWords(entry.refused)),
    element(
      "div",
      { class: "acts-row" },
      button("Send again", () => view.chat.writeAgain(entry.cid)),
      button("Give up", () => view.chat.giveUp(entry.cid)),
    ),
  );
  return made;
}

function isToday(at) {
  return at.toDateString() === new Date().toDateString();
}
