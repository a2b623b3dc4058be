// Who is writing: told every few seconds while they do, and forgotten when nothing more is heard.

const FORGOTTEN_AFTER_MS = 5000;

export class Typing {
  constructor({ clock, onChange }) {
    Object.assign(this, { clock, onChange });
    this.timers = new Map(); // of "conversation:reader"
  }

  heard(conversationId, readerId) {
    const key = `${conversationId}:${readerId}`;
    this.clock.clearTimeout(this.timers.get(key));
    const forget = () => this.stopped(conversationId, readerId);
    this.timers.set(key, this.clock.setTimeout(forget, FORGOTTEN_AFTER_MS));
    this.onChange(conversationId);
  }

  stopped(conversationId, readerId) {
    const key = `${conversationId}:${readerId}`;
    this.clock.clearTimeout(this.timers.get(key));
    if (this.timers.delete(key)) this.onChange(conversationId);
  }

  who(conversationId) {
    return [...this.timers.keys()]
      .filter((key) => key.startsWith(`${conversationId}:`))
      .map((key) => Number(key.split(":")[1]));
  }
}
