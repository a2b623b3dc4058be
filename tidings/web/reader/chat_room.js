// The messages of one conversation as this page has them: each once, in order of `seq`, however
// they came, and it knows where one is missing. What is missing is fetched from the history; what
// comes twice changes nothing.
//
//     const room = new Room(7);
//     room.put({ seq: 4, sender_id: 9, body: "Good morning", at: 1764350000000 });
//     room.put({ seq: 6, … });
//     room.gap();                       // 4: what comes after it is missing

export class Room {
  constructor(id) {
    this.id = id;
    this.bySeq = new Map();
    this.later = new Map(); // what was said of a message that is not here yet
    this.isAtBeginning = false;
  }

  // In order.
  get messages() {
    return [...this.bySeq.values()].sort((one, other) => one.seq - other.seq);
  }

  get oldest() {
    return Math.min(...this.bySeq.keys());
  }

  get newest() {
    return this.bySeq.size ? Math.max(...this.bySeq.keys()) : 0;
  }

  // Whether it was new here.
  put(message) {
    const known = this.bySeq.get(message.seq);
    if (known) {
      if (!known.deleted_at && (message.deleted_at || isLater(message, known)))
        this.bySeq.set(message.seq, message);
      return false;
    }
    this.bySeq.set(message.seq, { ...message, ...this.later.get(message.seq) });
    this.later.delete(message.seq);
    return true;
  }

  edit({ seq, body, hidden, edited_at }) {
    this.change(
      seq,
      { body, hidden, edited_at },
      (known) => !known.deleted_at && isLater({ edited_at }, known),
    );
  }

  // A tombstone keeps its place.
  erase({ seq, at }) {
    this.change(seq, { body: null, deleted_at: at }, () => true);
  }

  change(seq, changes, applies) {
    const known = this.bySeq.get(seq) ?? this.later.get(seq) ?? {};
    if (!applies(known)) return;
    if (this.bySeq.has(seq)) this.bySeq.set(seq, { ...known, ...changes });
    else if (!this.bySeq.size || seq > this.oldest) this.later.set(seq, { ...known, ...changes });
  }

  // The `seq` after which one is missing, or null. Every `seq` is somebody's: there are no holes in
  // the history.
  gap() {
    const { newest } = this;
    for (let seq = this.oldest; seq < newest; seq += 1) if (!this.bySeq.has(seq + 1)) return seq;
    return null;
  }
}

const isLater = (one, other) => new Date(one.edited_at ?? 0) > new Date(other.edited_at ?? 0);
