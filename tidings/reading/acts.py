"""What a reader can do with an article that was shown: the one table of acts.

The numbers in tokens, the names in the IDL, in JSON and in SQL, what an act is worth in the
rankings and which tokens a card carries follow from these rows. Typed code cannot follow a table:
the classes that name acts as fields (`Counts` and `Track` of a card, `Article` of `TidingsClient`)
are written out, and a test holds them and the IDL against the rows and names the file that is
behind. Rejected: making those classes from the rows at run time, where a misspelt field is no type
error any more.

    Action.READING.json_name  # "read"
    [action.label for action in TRACKED]  # ["click", "collect", "reading", "liking", "dislike"]
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


@dataclass(frozen=True, slots=True)
class Act:
    """A row of the table.

    Attributes:
        number: of the act's tokens, and of its field of `Track` in `idl/recommend.thrift`.
        json_name: its name in JSON.
        weight: what one act is worth in the popularity rankings.
    """

    number: int
    json_name: str
    weight: float


class Action(IntEnum):
    """An act; its value is its number.

    Numbers and names stand in tokens, in stored behaviours and in other people's programs: a new
    act takes a new number, and neither 3 nor `share`, which is retired, is used again.
    """

    EXPOSURE = Act(number=0, json_name="exposure", weight=0.0)
    CLICK = Act(number=1, json_name="click", weight=1.0)
    COLLECT = Act(number=2, json_name="collect", weight=3.0)
    # A field `read` hides a method of the generated class in Python, so only JSON says `read`.
    READING = Act(number=4, json_name="read", weight=1.0)
    LIKING = Act(number=5, json_name="liking", weight=3.0)
    # It tells the reader's own feed, and nothing to other readers': a few who agree could otherwise
    # take an article out of every ranking.
    DISLIKE = Act(number=6, json_name="dislike", weight=0.0)

    json_name: str
    weight: float

    def __new__(cls, act: Act) -> Action:
        action = int.__new__(cls, act.number)
        action._value_ = act.number
        action.json_name = act.json_name
        action.weight = act.weight
        return action

    @property
    def label(self) -> str:
        """The act's name in the IDL, as a counter of an article, and in stored behaviours."""
        return self.name.lower()


# The acts that a card carries a token for, in the order of `Track`'s fields. A batch as a whole
# carries the token of its exposure.
TRACKED = tuple(action for action in Action if action is not Action.EXPOSURE)
