// Where a message is written, or another text for one that was sent.

import { countTooMany } from "./chat_outbox.js";
import { tooLongWords } from "./chat_words.js";
import { button, element } from "./elements.js";

const HINT = "Enter sends, Shift and Enter begin a new line.";

export class Composer {
  constructor(view) {
    this.view = view;
    this.editing = null;
    this.text = element("textarea", {
      id: "talk-text",
      rows: "2",
      enterkeyhint: "send",
      "aria-describedby": "talk-hint",
    });
    this.label = element("label", { for: "talk-text" }, "Write a message");
    this.cancel = button("Do not change it", () => this.begin());
    this.cancel.hidden = true;
    this.hint = element("span", { id: "talk-hint", class: "hint", role: "status" }, HINT);
    this.root = element(
      "form",
      { class: "composer" },
      this.label,
      this.text,
      element(
        "div",
        { class: "acts-row" },
        element("button", { type: "submit" }, "Send"),
        this.cancel,
        this.hint,
      ),
    );
    this.root.addEventListener("submit", (event) => {
      event.preventDefault();
      this.send();
    });
    this.text.addEventListener("keydown", (event) => this.press(event));
    this.text.addEventListener("input", () => {
      this.measure();
      if (this.text.value.trim()) view.chat.type(view.id);
    });
  }

  // While a word is being composed, as in Chinese, Enter belongs to the composing.
  press(event) {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      this.send();
    }
    if (event.key === "Escape" && this.editing) this.begin();
  }

  send() {
    const { view, editing } = this;
    const body = this.text.value.trim();
    if (!body || this.measure()) return;
    view.attempt(async () => {
      if (editing) await view.chat.rest.edit(view.id, editing.seq, body);
      else view.chat.write(view.id, body);
      this.begin();
      if (!editing) view.log.scrollTop = view.log.scrollHeight;
    });
  }

  // How much too long it is, which stands beside it.
  measure() {
    const tooMany = countTooMany(this.text.value.trim());
    const words = tooMany ? tooLongWords(tooMany) : HINT;
    if (this.hint.textContent !== words) this.hint.textContent = words;
    this.text.setAttribute("aria-invalid", String(tooMany > 0));
    return tooMany;
  }

  edit(message) {
    this.editing = message;
    this.text.value = message.body;
    this.measure();
    this.label.textContent = "Change your message";
    this.cancel.hidden = false;
    this.text.focus();
  }

  begin() {
    this.editing = null;
    this.text.value = "";
    this.measure();
    this.label.textContent = "Write a message";
    this.cancel.hidden = true;
    this.text.focus();
  }
}
