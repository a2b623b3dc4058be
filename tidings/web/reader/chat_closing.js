// What a closed connection asks of its client: the same table as services/chat/closing.py (a test
// compares them), and how long to wait. Full jitter: a random part of a limit that doubles, so that
// ten thousand clients of a server that fell do not come back in the same moment. Rejected: a fixed
// delay plus a little noise, which keeps the herd together.
//
//     decide(1012)                    // { again: true }
//     backOff(3, Math.random)         // 0 to 8,000 ms

// What a browser says when a connection ended without a close frame; no server sends it.
export const LOST = 1006;
// 4401 too: every attempt has a new ticket, and where none is given that is the end.
const AGAIN = new Set([1001, LOST, 1012, 1013, 4401, 4408, 4429]);
const NEVER = new Set([1000, 1002, 1003, 1007, 1009, 4400, 4409]);
const FIRST_MS = 1000;
const MOST_MS = 30000;

// A code that is in no table is one of a newer server or of a proxy; coming back later is what it
// most likely wants.
export function decide(code) {
  return { again: AGAIN.has(code) || !NEVER.has(code) };
}

export const closingCodes = () => ({ again: [...AGAIN].sort(), never: [...NEVER].sort() });

// `attempt` counts from 0.
export function backOff(attempt, random) {
  return random() * Math.min(MOST_MS, FIRST_MS * 2 ** Math.min(attempt, 10));
}
