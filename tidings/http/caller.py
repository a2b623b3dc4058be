"""Who calls: an anonymous reader with a signed id, or a program or a member of staff with a key.

Told once a request, before its resource. A key wins over a cookie that comes along, since a browser
sends cookies by itself and a key only on purpose. An `Authorization` that is no good key is refused
on every route: a program whose key was revoked must not go on as a stranger without noticing. What
a resource wants stands on it, `needs_reader`, `mints_reader`, `renews_reader` and `needs_role`,
where the review of a route sees it. Rejected: a check in each responder, which the next one would
leave out.

    class MoneyResource:
        needs_role = {"get": Role.OPERATOR}

    req.context.caller  # Caller(reader_id=2251799813685249, key=Key(name="desk", …))
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import falcon

from tidings.http.errors import KeyNeededError, ReaderNeededError, RoleTooSmallError
from tidings.http.reader_id import IDENTIFIED, ReaderSigner, find_claim, give_reader
from tidings.readers.checking import KeyCheck, KeyRefusedError, KeyUntoldError
from tidings.readers.keys import Key, Role


@dataclass(frozen=True, slots=True)
class Caller:
    """Who a request is from.

    Attributes:
        reader_id: as whom it reads; None where the resource needs no reader, or none may be made.
        is_new: this request brought no id, and was given this one.
        key: the key that it brought.
    """

    reader_id: int | None = None
    is_new: bool = False
    key: Key | None = None


NOBODY = Caller()


class TellCaller:
    """Falcon middleware: sets `req.context.caller` and `req.context.reader_id`, and refuses a
    caller whose role is too small.

    Args:
        may_mint: whether a request on a resource that brought no id may be given a new one.
        count_refused: told of a request whose key is not known to open a door; may raise for one
            too many.
    """

    def __init__(
        self,
        signer: ReaderSigner,
        keys: KeyCheck,
        may_mint: Callable[[falcon.Request, object], bool],
        count_refused: Callable[[falcon.Request, falcon.Response], None],
    ) -> None:
        self._signer = signer
        self._keys = keys
        self._may_mint = may_mint
        self._count_refused = count_refused

    def process_request(self, req: falcon.Request, _resp: falcon.Response) -> None:
        req.context.caller = NOBODY

    def process_resource(
        self,
        req: falcon.Request,
        resp: falcon.Response,
        resource: object,
        _params: dict[str, object],
    ) -> None:
        if req.method == "OPTIONS":  # a preflight brings neither key nor cookie
            return
        key = self._find_key(req, resp)
        needed = role_needed(resource, req.method)
        if key is None and needed is not None:
            raise KeyNeededError  # before an id is made for a caller who comes without
        if key is not None:
            req.context.key = key.name
            caller = Caller(key.reader_id, key=key)
        elif getattr(resource, "needs_reader", False):
            caller = self._find_reader(req, resp, resource)
        else:
            caller = NOBODY
        req.context.caller = caller
        req.context.reader_id = caller.reader_id
        if key is not None and needed is not None and not key.role.covers(needed):
            raise RoleTooSmallError(key.role, needed)

    def _find_key(self, req: falcon.Request, resp: falcon.Response) -> Key | None:
        authorization: str | None = req.env.get("HTTP_AUTHORIZATION")
        if authorization is None:
            return None
        scheme, _, text = authorization.partition(" ")
        try:
            key = self._keys.find(text.strip(" ") if scheme.lower() == "bearer" else "")
        except KeyRefusedError:
            IDENTIFIED.labels("key_refused").inc()
            self._count_refused(req, resp)
            raise
        except KeyUntoldError as ex:
            IDENTIFIED.labels("key_untold").inc()
            # Or invented keys would be free for as long as they keep the database from answering.
            if not ex.was_good:
                self._count_refused(req, resp)
            raise
        IDENTIFIED.labels("key").inc()
        return key

    def _find_reader(self, req: falcon.Request, resp: falcon.Response, resource: object) -> Caller:
        claim = find_claim(req, self._signer)
        if claim is None and not getattr(resource, "mints_reader", True):
            raise ReaderNeededError
        if claim is None:
            if not self._may_mint(req, resource):
                return NOBODY
            reader_id = self._signer.new_id()
            give_reader(req, resp, self._signer.sign(reader_id))
            return Caller(reader_id, is_new=True)
        IDENTIFIED.labels(claim.outcome).inc()
        if claim.outcome != "known" or getattr(resource, "renews_reader", False):
            give_reader(req, resp, self._signer.sign(claim.reader_id))
        return Caller(claim.reader_id)


def role_needed(resource: object, method: str) -> Role | None:
    """The role that a key needs for a method of a resource; None where no key is needed.

    Args:
        method: in capitals.
    """
    roles: Mapping[str, Role] = getattr(resource, "needs_role", {})
    return roles.get("get" if method == "HEAD" else method.lower())
