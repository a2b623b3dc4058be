// The parts of the page of which one is shown, and what is said when something goes wrong.

export const byId = (id) => document.getElementById(id);
export const SITE = document.querySelector("meta[name='application-name']").content;
let retry = null;

export function show(section) {
  for (const id of ["feed", "article", "talk", "trouble"]) byId(id).hidden = id !== section;
}

// What went wrong, in words, with a way to go on; what is on the page already stays there.
export async function attempt(work, { keep = false, then = null } = {}) {
  byId("trouble").hidden = true;
  try {
    return await work();
  } catch (error) {
    if (!keep) show("trouble");
    byId("trouble").hidden = false;
    const words = error.message || "something went wrong";
    byId("trouble-text").textContent = words[0].toUpperCase() + words.slice(1);
    byId("trouble").scrollIntoView({ block: "nearest" });
    retry = then ?? (() => attempt(work, { keep }));
    return undefined;
  }
}

byId("retry").addEventListener("click", () => {
  byId("trouble").hidden = true;
  retry?.();
});
