// Which kinds of notices a reader wants to hear of.

import { noticeKindWords } from "./chat_words.js";
import { element } from "./elements.js";

export function makeSwitches(rest, attempt) {
  const list = element("ul", { class: "switches" });
  const details = element("details", {}, element("summary", {}, "Which notices to get"), list);
  details.addEventListener("toggle", () => {
    if (details.open) attempt(show);
  });

  async function show() {
    const kinds = await rest.switches();
    list.replaceChildren(...kinds.map(({ type, on }) => element("li", {}, choice(type, on))));
  }

  function choice(type, on) {
    const box = element("input", { type: "checkbox", value: type });
    box.checked = on;
    box.addEventListener("change", () => attempt(store));
    return element("label", {}, box, noticeKindWords(type));
  }

  const store = () =>
    rest.switchOff([...list.querySelectorAll("input:not(:checked)")].map(({ value }) => value));
  return details;
}
