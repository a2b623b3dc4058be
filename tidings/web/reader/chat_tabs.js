// One connection a browser: of all tabs of the page, the one that holds a lock leads; it has the
// connection, and tells the others what it hears. When it is closed the lock falls to the next,
// which goes on from the position that it has followed. Without Web Locks, as over plain HTTP, each
// tab leads itself. Rejected: a SharedWorker, which Chrome on Android does not have.
//
//     const channel = new BroadcastChannel("tidings-chat");
//     const tabs = new Tabs({ locks: navigator.locks, channel, lead, hear, serve });
//     tabs.start();
//     tabs.tell({ frame });             // to every other tab
//     tabs.ask({ say: { type: "typing", conversation_id: 7 } }); // to the one that leads

const NAME = "tidings-chat";

export class Tabs {
  // lead() is called once this tab leads; hear(message) for what another tab told; serve(message)
  // where this one leads.
  constructor({ locks, channel, lead, hear, serve }) {
    Object.assign(this, { locks, channel, lead, hear, serve });
    this.isLeader = false;
  }

  start() {
    this.channel.onmessage = ({ data }) => {
      if (data.tell) this.hear(data.tell);
      else if (this.isLeader) this.serve(data.ask);
    };
    if (!this.locks) this.take();
    // The lock is held until the tab is gone: the promise is never kept.
    else
      this.locks
        .request(NAME, () => {
          this.take();
          return new Promise(() => {});
        })
        .catch(() => this.take());
    if (!this.isLeader) this.ask({ news: true });
  }

  take() {
    this.isLeader = true;
    this.lead();
  }

  tell(message) {
    this.channel.postMessage({ tell: message });
  }

  ask(message) {
    if (this.isLeader) this.serve(message);
    else this.channel.postMessage({ ask: message });
  }
}
