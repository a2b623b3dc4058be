// What this page knows of the reader's conversations and notices: first by REST, then kept right by
// frames. A frame may come twice, late, or not at all; counts that cannot be kept right from frames
// alone are asked for anew. Rejected: asking anew after every frame, which makes of one message as
// many requests as there are tabs.
//
//     const store = new Store({ rest, onChange: (what) => draw(what) });
//     store.apply({ type: "message", conversation_id: 7, seq: 5, sender_id: 9, body: "Good morning" });

import { Room } from "./chat_room.js";
import { Typing } from "./chat_typing.js";

const RELOAD_WITHIN_MS = 3000; // all clients of a server hear "reload" in the same moment
const COUNT_AFTER_MS = 500;
const GAP_AFTER_MS = 300; // two nodes may put neighbours onto the bus in the other order

export class Store {
  constructor({ rest, onChange, clock, random = Math.random }) {
    Object.assign(this, { rest, onChange, clock, random });
    this.readerId = null;
    this.conversations = new Map();
    this.rooms = new Map();
    this.notices = [];
    this.unreadNotices = 0;
    this.heard = new Set();
    this.typing = new Typing({ clock, onChange: (id) => onChange("typing", id) });
    this.timers = new Map();
    this.isLoaded = false;
  }

  get unread() {
    return (
      this.unreadNotices +
      [...this.conversations.values()]
        .filter(({ muted }) => !muted)
        .reduce((sum, { unread }) => sum + unread, 0)
    );
  }

  // The last spoken in first.
  get list() {
    return [...this.conversations.values()].sort(
      (one, other) => new Date(other.changed_at) - new Date(one.changed_at),
    );
  }

  async load() {
    const [conversations, notices, unread] = await Promise.all([
      this.rest.conversations(),
      this.rest.notices(),
      this.rest.unread(),
    ]);
    this.conversations = new Map(
      conversations.map((each) => [each.conversation_id, this.newer(each)]),
    );
    this.notices = notices;
    this.unreadNotices = unread.notices;
    this.isLoaded = true;
    this.onChange("list");
    for (const notice of this.notices)
      if (this.heard.delete(notice.seq)) this.onChange("notice", notice);
    await Promise.all([...this.rooms.keys()].map((id) => this.open(id)));
  }

  // Frames that came while the list was on its way are newer than the list.
  newer(fetched) {
    const known = this.conversations.get(fetched.conversation_id);
    if (!known || (known.last_seq <= fetched.last_seq && known.read_seq <= fetched.read_seq))
      return fetched;
    this.count();
    return {
      ...fetched,
      last_seq: known.last_seq,
      last: known.last,
      read_seq: known.read_seq,
      unread: known.unread,
    };
  }

  // A conversation that is looked at: its newest messages, kept complete from then on.
  async open(id) {
    const room = this.rooms.get(id) ?? new Room(id);
    this.rooms.set(id, room);
    // One in which nothing was said yet is in no list.
    if (!this.conversations.has(id)) this.conversations.set(id, await this.rest.conversation(id));
    await this.fill(room);
    return room;
  }

  async earlier(room) {
    const found = await this.rest.messages(room.id, { before: room.oldest });
    found.forEach((message) => room.put(message));
    room.isAtBeginning = !found.length;
    this.onChange("room", room.id);
  }

  // What this page has of a conversation, up to its newest message, without holes.
  async fill(room) {
    const latest = await this.rest.messages(room.id, {});
    if (!room.bySeq.size && !latest.length) room.isAtBeginning = true;
    latest.forEach((message) => room.put(message));
    for (let gap = room.gap(); gap !== null; gap = room.gap()) {
      const found = await this.rest.messages(room.id, { after: gap });
      if (!found.some((message) => room.put(message))) break; // not ours to see
    }
    this.onChange("room", room.id);
  }

  apply(frame) {
    this[`on_${frame.type}`]?.(frame);
  }

  on_welcome({ reader_id, recovered, unread }) {
    const isFirst = !this.isLoaded;
    this.readerId = reader_id;
    if (unread) this.unreadNotices = unread.notices;
    if (!recovered)
      this.soon("load", isFirst ? 0 : RELOAD_WITHIN_MS * this.random(), () => this.load());
  }

  on_reset() {
    this.soon("load", RELOAD_WITHIN_MS * this.random(), () => this.load());
  }

  on_message(message) {
    const known = this.conversations.get(message.conversation_id);
    if (!known) return this.count();
    if (message.seq === known.last_seq + 1) {
      if (message.sender_id !== this.readerId && !message.hidden) known.unread += 1;
    } else if (
      message.seq > known.last_seq ||
      !this.rooms.get(known.conversation_id)?.bySeq.has(message.seq)
    )
      this.count();
    if (message.seq > known.last_seq)
      Object.assign(known, { last_seq: message.seq, last: message, changed_at: message.at });
    this.typing.stopped(message.conversation_id, message.sender_id);
    this.keep(message);
    return this.onChange("message", message);
  }

  keep(message) {
    const room = this.rooms.get(message.conversation_id);
    if (!room) return;
    room.put(message);
    if (room.gap() !== null)
      this.soon(`gap:${room.id}`, GAP_AFTER_MS, () =>
        room.gap() === null ? null : this.fill(room),
      );
    this.onChange("room", room.id);
  }

  on_edited(frame) {
    this.rooms.get(frame.conversation_id)?.edit(frame);
    const known = this.conversations.get(frame.conversation_id);
    if (known?.last?.seq === frame.seq) known.last = { ...known.last, body: frame.body };
    this.onChange("room", frame.conversation_id);
  }

  on_deleted(frame) {
    this.rooms.get(frame.conversation_id)?.erase(frame);
    const known = this.conversations.get(frame.conversation_id);
    if (known?.last?.seq === frame.seq)
      known.last = { ...known.last, body: null, deleted_at: frame.at };
    if (known && frame.seq > known.read_seq) this.count();
    this.onChange("room", frame.conversation_id);
  }

  on_read({ conversation_id, reader_id, seq }) {
    const known = this.conversations.get(conversation_id);
    if (reader_id !== this.readerId)
      return this.onChange("seen", { conversation_id, reader_id, seq });
    if (!known || seq <= known.read_seq) return undefined;
    known.read_seq = seq;
    if (seq >= known.last_seq) known.unread = 0;
    else this.count();
    return this.onChange("list");
  }

  on_conversation() {
    this.count();
  }

  // Its words come with the list.
  on_notice({ notice }) {
    if (
      notice.audience !== this.readerId ||
      this.notices.some(({ seq, times }) => seq === notice.seq && times >= notice.times)
    )
      return;
    this.heard.add(notice.seq);
    this.count();
  }

  on_notices_read() {
    this.count();
  }

  on_presence(frame) {
    this.onChange("presence", frame);
  }

  on_typing({ conversation_id, reader_id }) {
    this.typing.heard(conversation_id, reader_id);
  }

  // Together with all else that happens in this moment.
  count() {
    this.soon("load", COUNT_AFTER_MS, () => this.load());
  }

  soon(name, ms, work) {
    if (this.timers.has(name)) return;
    this.timers.set(
      name,
      this.clock.setTimeout(async () => {
        this.timers.delete(name);
        try {
          await work();
        } catch {
          // The site is away for a moment.
          this.soon(name, RELOAD_WITHIN_MS * (0.5 + this.random()), work);
        }
      }, ms),
    );
  }
}
