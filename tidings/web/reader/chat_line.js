// One attempt at a connection, and the clock that it goes by. It ends once, however many of its
// ends are reported: a deadline, a close frame and an error may all come.

export class Line {
  constructor(connection, kind) {
    Object.assign(this, {
      connection,
      kind,
      wire: null,
      hello: null,
      isOver: false,
      heard: connection.clock.now(),
    });
  }

  opened() {
    if (!this.isOver) this.wire.send(JSON.stringify(this.hello));
  }

  text(text) {
    if (this.isOver) return;
    this.alive();
    this.connection.frame(this, text);
  }

  alive() {
    this.heard = this.connection.clock.now();
  }

  closed(code) {
    if (this.isOver) return;
    this.end(1000);
    this.connection.lost(this, code);
  }

  end(code) {
    this.isOver = true;
    this.wire?.close(code);
  }
}

export const realClock = {
  now: () => Date.now(),
  setTimeout: (work, ms) => setTimeout(work, ms),
  clearTimeout: (timer) => clearTimeout(timer),
};
