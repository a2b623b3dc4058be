// A clock that is moved by hand, and sockets that do what a test says.

export class FakeClock {
  constructor() {
    this.ms = 1_000_000;
    this.due = [];
    this.number = 0;
  }

  now = () => this.ms;

  setTimeout = (work, ms) => {
    this.number += 1;
    this.due.push({ id: this.number, at: this.ms + ms, work });
    return this.number;
  };

  clearTimeout = (id) => {
    this.due = this.due.filter((each) => each.id !== id);
  };

  // Everything that falls due on the way is done, in its order.
  async pass(ms) {
    const until = this.ms + ms;
    await settle();
    for (;;) {
      const next = this.due
        .filter(({ at }) => at <= until)
        .sort((one, other) => one.at - other.at || one.id - other.id)[0];
      if (!next) break;
      this.clearTimeout(next.id);
      this.ms = Math.max(this.ms, next.at);
      next.work();
      await settle();
    }
    this.ms = until;
    await settle();
  }
}

// Until every promise that is already decided has been acted on.
export const settle = () =>
  new Promise((resolve) => {
    setImmediate(resolve);
  });

export class FakeServer {
  constructor() {
    this.wires = [];
    this.tickets = 0;
    this.refusal = null;
  }

  getTicket = async () => {
    if (this.refusal) throw this.refusal;
    this.tickets += 1;
    return { ticket: `ticket-${this.tickets}`, url: "ws://chat/ws", rest: "http://chat" };
  };

  open =
    (kind) =>
    (address, ...rest) => {
      const line = rest.at(-1);
      const wire = {
        kind,
        address,
        line,
        pos: rest.length > 1 ? rest[0] : null,
        sent: [],
        isClosed: false,
        send: (text) => wire.sent.push(JSON.parse(text)),
        close: () => {
          wire.isClosed = true;
        },
        say: (frame) => line.text(JSON.stringify(frame)),
        cut: (code) => line.closed(code),
      };
      this.wires.push(wire);
      return wire;
    };

  get last() {
    return this.wires.at(-1);
  }

  welcome({ pos = "e.0", recovered = false } = {}) {
    const wire = this.last;
    if (wire.kind === "socket") wire.line.opened();
    wire.say({
      type: "welcome",
      reader_id: 7,
      pos,
      recovered,
      unread: { conversations: 0, notices: 0 },
    });
    return wire;
  }
}
