// The page's connection where no socket gets through: prints each state, with its reason.
//
//     node page_stream.mjs REST SIGNED_READER

import { Connection } from "../../../tidings/web/reader/chat_connection.js";
import { openStream } from "../../../tidings/web/reader/chat_wires.js";

const [, , rest, reader] = process.argv;
const connection = new Connection({
  getTicket: async () => ({ rest }),
  openStream: openStream(fetch, { "X-Reader": reader }),
  onFrame: () => {},
  onState: (...state) => console.log(...state),
});
connection.failedSockets = 2;
connection.start();
