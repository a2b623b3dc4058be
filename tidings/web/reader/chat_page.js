// Messages and notices in the page: the badge at its top, what is told while the reader is
// elsewhere, and which of the two views is shown. It is fetched after the articles, which do not
// wait for it.

import { Chat } from "./chat.js";
import { ConversationView } from "./chat_conversation.js";
import { ListView } from "./chat_list.js";
import { conversationTitle, countWords, language, noticeWords } from "./chat_words.js";
import { element } from "./elements.js";
import { attempt, byId, SITE } from "./sections.js";

const TOLD_MS = 8000;
let view = null;
let forget = null;

const chat = new Chat({ onChange: changed });

export function startChat() {
  chat.start();
}

// `id` is null for the list.
export function showMessages(id) {
  leaveMessages();
  const tools = { go, attempt: (work) => attempt(work, { keep: true }) };
  view = id === null ? new ListView(chat, tools) : new ConversationView(chat, id, tools);
  byId("talk").replaceChildren(view.root);
  byId("talk-news").replaceChildren();
  changed("state");
}

export function leaveMessages() {
  view?.close();
  view = null;
}

function go(conversation) {
  location.hash = `#/messages/${conversation.conversation_id}`;
}

// The chat's address comes with the first ticket, and until then a view says that it connects.
function openView() {
  if (!view || view.isOpened || !chat.store.isLoaded) return;
  view.isOpened = true;
  const opened = view;
  attempt(() => opened.open(), { keep: true });
}

function changed(what, detail) {
  openView();
  view?.draw();
  if (view) document.title = `${view.title} · ${SITE}`;
  const { unread } = chat.store;
  byId("talk-count").hidden = !unread;
  byId("talk-count").firstElementChild.textContent = countWords(unread);
  if (what === "seen" && view?.id === detail.conversation_id) view.saw(detail);
  if (what === "presence" && view?.otherId === detail.reader_id) view.isHere(detail.is_here);
  if (what === "notice") tell(noticeWords(detail), "#/messages", language);
  if (what === "message") tellMessage(detail);
}

function tellMessage(message) {
  const known = chat.store.conversations.get(message.conversation_id);
  const isSeen =
    view instanceof ConversationView &&
    view.id === message.conversation_id &&
    document.visibilityState === "visible";
  if (
    !known ||
    known.muted ||
    message.hidden ||
    isSeen ||
    message.sender_id === chat.store.readerId
  )
    return;
  tell(`New message from ${conversationTitle(known)}`, `#/messages/${known.conversation_id}`);
}

// Read out by a screen reader as well; what was told stays in the list.
function tell(words, href, lang = "en") {
  clearTimeout(forget);
  byId("talk-news").replaceChildren(element("a", { href, lang }, words));
  forget = setTimeout(() => byId("talk-news").replaceChildren(), TOLD_MS);
}
