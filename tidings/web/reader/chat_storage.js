// Where the outbox is kept.

// What `localStorage` is, for a program that has none.
export class MemoryStorage {
  constructor() {
    this.kept = new Map();
  }

  get length() {
    return this.kept.size;
  }

  key(index) {
    return [...this.kept.keys()][index] ?? null;
  }

  getItem(key) {
    return this.kept.get(key) ?? null;
  }

  setItem(key, value) {
    this.kept.set(key, value);
  }

  removeItem(key) {
    this.kept.delete(key);
  }
}

// A browser that lets a site keep nothing has the messages of this tab kept in its memory.
export function findStorage() {
  try {
    localStorage.setItem("tidings.chat.try", "1");
    localStorage.removeItem("tidings.chat.try");
    return localStorage;
  } catch {
    return new MemoryStorage();
  }
}
