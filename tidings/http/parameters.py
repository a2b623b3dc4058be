"""Query parameters: declared once, read by the door and described in `/openapi.json`.

All faults of a request are told at once, each with what would be right; a parameter that no
resource reads is one of them, since a misspelt `chanel_id` that is ignored shows the wrong
articles. Rejected: msgspec's lax conversion from text, which stops at the first fault and reads
`1e1` as 10.

    asked = read_parameters(req, [CHANNEL_ID, ARTICLE_NUM])  # {"channel_id": 10, "article_num": 10}
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import falcon

from tidings.http.errors import InvalidRequestError

_NUMBER = re.compile(r"-?[0-9]{1,19}", re.ASCII)
_SHOWN_CHARS = 40
# A query of 4 KiB could name 2,000 parameters that are unknown; the first few say what is wrong.
_MOST_TOLD = 20
MAX_ID = 2**63 - 1


@dataclass(frozen=True, slots=True)
class IntParameter:
    """A whole number from `low` to `high`, both included."""

    name: str
    low: int
    high: int
    default: int
    meaning: str

    def read(self, text: str) -> int | None:
        """The number; None unless `text` is one within the range."""
        if not _NUMBER.fullmatch(text):
            return None
        number = int(text)
        return number if self.low <= number <= self.high else None


@dataclass(frozen=True, slots=True)
class TextParameter:
    """A word of at most so many characters; absent it is empty."""

    name: str
    most_chars: int
    meaning: str


@dataclass(frozen=True, slots=True)
class HeaderParameter:
    """A header of the request, and the pattern of all that it may be; without one anything is
    taken."""

    name: str
    meaning: str
    pattern: str = ""
    is_required: bool = False


def read_id(name: str, text: str) -> int:
    """The number of a thing, out of a path.

    Raises:
        InvalidRequestError: it can be no number of a thing.
    """
    number = IntParameter(name, 1, MAX_ID, default=1, meaning="its number").read(text)
    if number is None:
        raise InvalidRequestError(
            {name: f"must be a whole number from 1 to {MAX_ID}, got {text[:_SHOWN_CHARS]!r}"}
        )
    return number


def read_text(req: falcon.Request, parameter: TextParameter) -> str:
    """The word that was given.

    Raises:
        InvalidRequestError: it is too long, or was given twice.
    """
    given = req.params.get(parameter.name, "")
    if isinstance(given, list) or len(given) > parameter.most_chars:
        raise InvalidRequestError(
            {parameter.name: f"must be one word of at most {parameter.most_chars} characters"}
        )
    return given


def read_choice(req: falcon.Request, parameter: TextParameter, choices: Sequence[str]) -> str:
    """The word that was given, one of these; absent it is empty.

    Raises:
        InvalidRequestError: it is none of them, or was given twice.
    """
    given = read_text(req, parameter)
    if given and given not in choices:
        raise InvalidRequestError({parameter.name: f"must be one of {', '.join(choices)}"})
    return given


def read_parameters(
    req: falcon.Request,
    parameters: Sequence[IntParameter] = (),
    texts: Sequence[TextParameter] = (),
) -> dict[str, int]:
    """name → value for each of `parameters`; those of `texts` may be there as well.

    Raises:
        InvalidRequestError: naming each parameter that is unknown, given twice, or out of range,
            or the first 20 of them.
    """
    values = {parameter.name: parameter.default for parameter in parameters}
    errors: dict[str, str] = {}
    known = {parameter.name: parameter for parameter in parameters}
    words = {parameter.name for parameter in texts}
    for name, given in req.params.items():
        if name in words:
            continue
        if len(errors) == _MOST_TOLD:
            break
        parameter = known.get(name)
        if parameter is None:
            errors[name[:_SHOWN_CHARS]] = (
                f"is unknown here; known are: {', '.join([*known, *words]) or 'none'}"
            )
        elif isinstance(given, list):
            errors[name] = "was given more than once"
        elif (number := parameter.read(given)) is None:
            errors[name] = _explain(parameter, given)
        else:
            values[name] = number
    if errors:
        raise InvalidRequestError(errors)
    return values


def _explain(parameter: IntParameter, given: str) -> str:
    shown = given if len(given) <= _SHOWN_CHARS else given[:_SHOWN_CHARS] + "…"
    return (
        f"must be a whole number from {parameter.low} to {parameter.high} "
        f"({parameter.meaning}), got {shown!r}"
    )
