"""What clients of the chat write down, and what must be true of it in the end.

Every body is written once in a run, so that a message which is stored or shown twice shows, under
whatever number.

    violations(site, ledgers)  # Counter(): nothing lost, nothing twice
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.faults.chat_site import ChatSite
from tidings.talk.marks import MOST_COUNTED


@dataclass
class Ledger:
    """Of one reader.

    Attributes:
        members: the conversations that the reader sees all of.
        sent: conversation and body by cid.
        acked: conversation and seq by cid.
        shown: bodies by seq, a conversation each, in the order in which they were shown.
        marks: up to which seq a conversation was read, where a node said so.
        repeats: messages that came again, and were dropped by their number.
        told: what went against the protocol, in words.
    """

    reader_id: int
    members: set[int]
    sent: dict[str, tuple[int, str]] = field(default_factory=dict)
    acked: dict[str, tuple[int, int]] = field(default_factory=dict)
    shown: dict[int, dict[int, str]] = field(default_factory=lambda: defaultdict(dict))
    marks: dict[int, int] = field(default_factory=dict)
    repeats: int = 0
    reconnects: int = 0
    reloads: int = 0
    recovered: int = 0
    told: Counter[str] = field(default_factory=Counter)

    def show(self, conversation_id: int, seq: int, body: str) -> None:
        """Show a message; what was shown before is dropped."""
        mine = self.shown[conversation_id]
        if seq in mine:
            self.repeats += 1
            if mine[seq] != body:
                self.told["altered"] += 1
            return
        if mine and seq < max(mine):
            self.told["out_of_order"] += 1
        mine[seq] = body

    def unread(self, conversation_id: int) -> int:
        """What the badge of this conversation has to say."""
        mark = self.marks.get(conversation_id, 0)
        mine = {body for id_, body in self.sent.values() if id_ == conversation_id}
        shown = self.shown[conversation_id]
        return min(sum(seq > mark and shown[seq] not in mine for seq in shown), MOST_COUNTED)

    def last(self, conversation_id: int) -> int:
        return max(self.shown[conversation_id], default=0)


def has_all(site: ChatSite, ledgers: Sequence[Ledger]) -> bool:
    """Every message that is stored has been shown to every member, and every one sent is stored."""
    for conversation_id in set().union(*(ledger.members for ledger in ledgers)):
        stored = set(site.stored(conversation_id))
        for ledger in ledgers:
            if conversation_id in ledger.members and stored - set(ledger.shown[conversation_id]):
                return False
    return all(
        set(ledger.sent) == set(ledger.acked)
        and ledger.marks.get(min(ledger.members), 0) == ledger.last(min(ledger.members))
        for ledger in ledgers
    )


def violations(site: ChatSite, ledgers: Sequence[Ledger]) -> Counter[str]:
    """How often each promise was broken; nothing is counted that was kept."""
    broken = Counter[str]()
    everything = {
        conversation_id: site.stored(conversation_id)
        for conversation_id in set().union(*(ledger.members for ledger in ledgers))
    }
    for conversation_id, stored in everything.items():
        broken["holes"] += sorted(stored) != list(range(1, len(stored) + 1))
        bodies = Counter(body for _, body in stored.values())
        broken["doubled"] += bodies.total() - len(bodies)
        for ledger in ledgers:
            shown = ledger.shown.get(conversation_id, {})
            if conversation_id in ledger.members:
                broken["lost"] += len(stored.keys() - shown.keys())
            broken["never_stored"] += sum(
                seq not in stored or stored[seq][1] != body for seq, body in shown.items()
            )
            seen = Counter(shown.values())
            broken["doubled"] += seen.total() - len(seen)
            broken["out_of_order"] += list(shown) != sorted(shown)
    for ledger in ledgers:
        for cid, (conversation_id, seq) in ledger.acked.items():
            body = ledger.sent[cid][1]
            if everything[conversation_id].get(seq) != (cid, body):
                broken["lost"] += 1
        broken["unanswered"] += len(ledger.sent.keys() - ledger.acked.keys())
        broken += ledger.told
    return +broken
