"""Which of several servers gets the next call: of two drawn at random, the one with fewer calls in
flight.

That is nearly as even as always asking the least busy one, and does not send every client to the
same server at once. An endpoint that fails several times in a row is left alone for a while, then
probed with a single call; when there is no other to ask it is asked all the same, since a wrong
suspicion must not be an outage.

    endpoint = balancer.pick(deadline)
    balancer.done(endpoint, healthy=True)
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence

from tidings.process.deadline import Deadline
from tidings.process.errors import SettingsError
from tidings.process.listening import Address, parse_address, resolve
from tidings.rpc.calling.observer import SILENT, Observer
from tidings.rpc.calling.policy import Policy
from tidings.rpc.calling.pool import Pool
from tidings.rpc.errors import TransportFaultError


class Endpoint:
    """One server as this client sees it. All but its calls change only under the balancer's
    lock."""

    __slots__ = (
        "_answered",
        "_observer",
        "address",
        "calls",
        "ejected_until_s",
        "ejection_s",
        "failures",
        "name",
        "pool",
        "probing",
    )

    def __init__(self, address: Address, policy: Policy, observer: Observer = SILENT) -> None:
        self.address = address
        self.name = str(address)  # in metrics
        self.pool = Pool(address, policy, observer)
        # One entry for each call. PERF: appending and popping are one step each of the
        # interpreter's, without a lock.
        self.calls: list[None] = []
        self._observer = observer
        self._answered = observer.answers_of(self.name)
        self.failures = 0
        self.ejected_until_s = 0.0
        self.ejection_s = policy.ejection_s
        self.probing = False

    def count(self, outcome: str) -> None:
        """One more attempt has come to this."""
        if outcome == "ok":
            self._answered.append(0.0)
        else:
            self._observer.attempted(self.name, outcome)

    @property
    def in_flight(self) -> int:
        return len(self.calls)

    def is_ejected(self) -> bool:
        return self.ejected_until_s > 0

    def may_be_asked(self, now_s: float) -> bool:
        return not self.is_ejected() or (now_s >= self.ejected_until_s and not self.probing)

    def recover(self, ejection_s: float) -> None:
        self.failures = 0
        self.ejected_until_s = 0.0
        self.ejection_s = ejection_s
        self.probing = False


class Balancer:
    """The endpoints of one service; host names among them are resolved again in the background."""

    def __init__(
        self, endpoints: Sequence[str], policy: Policy, observer: Observer = SILENT
    ) -> None:
        self._names = tuple(endpoints)
        self._policy = policy
        self._observer = observer
        self._lock = threading.Lock()
        self._resolved = threading.Event()
        self._resolving = False
        self._closed = False
        self._stale_at_s = 0.0
        literal = [parse_address(name) for name in self._names]
        if not literal:
            raise SettingsError("a client needs at least one endpoint")
        self._endpoints = [
            Endpoint(address, policy, observer) for address in literal if address is not None
        ]
        self._has_names = None in literal

    def pick(self, deadline: Deadline) -> Endpoint:
        """The endpoint to ask. Each pick wants one `done`.

        Raises:
            TransportFaultError: no host name among the endpoints could be resolved.
        """
        if self._has_names:
            self._resolve_if_stale(deadline)
        endpoints = self._endpoints
        if len(endpoints) == 1 and not endpoints[0].ejected_until_s:
            endpoints[0].calls.append(None)
            return endpoints[0]
        endpoint = self.pick_other(None)
        if endpoint is None:
            raise TransportFaultError(
                f"no address is known for {', '.join(self._names)}", sent=False
            )
        return endpoint

    def pick_other(self, avoid: Endpoint | None) -> Endpoint | None:
        """An endpoint that is not `avoid`; None if there is no other."""
        with self._lock:
            others = [endpoint for endpoint in self._endpoints if endpoint is not avoid]
            if not others:
                return None
            now_s = time.monotonic()
            healthy = [
                endpoint
                for endpoint in others
                if not endpoint.ejected_until_s or endpoint.may_be_asked(now_s)
            ]
            chosen = _less_busy_of_two(healthy or others)
            chosen.calls.append(None)
            if chosen.ejected_until_s and now_s >= chosen.ejected_until_s:
                chosen.probing = True
            return chosen

    def done(self, endpoint: Endpoint, *, healthy: bool | None) -> None:
        """One call to `endpoint` is over; `healthy` is None if it says nothing about the
        endpoint."""
        endpoint.calls.pop()
        if healthy and not endpoint.failures and not endpoint.ejected_until_s:
            return
        with self._lock:
            if healthy is None:
                endpoint.probing = False
            elif healthy:
                endpoint.recover(self._policy.ejection_s)
            else:
                self._count_failure(endpoint)

    def leave_alone(self, endpoint: Endpoint) -> None:
        """`endpoint` has said that it is about to stop: it will close its connections, perhaps just
        as one is used."""
        with self._lock:
            self._eject(endpoint)
        endpoint.pool.drop_idle("leaving")

    def close(self) -> None:
        with self._lock:
            self._closed = True
            endpoints = list(self._endpoints)
        for endpoint in endpoints:
            endpoint.pool.close()

    def _count_failure(self, endpoint: Endpoint) -> None:
        endpoint.failures += 1
        probe_failed = endpoint.probing
        endpoint.probing = False
        if probe_failed or (
            not endpoint.is_ejected() and endpoint.failures >= self._policy.eject_after
        ):
            self._eject(endpoint)
            endpoint.ejection_s = min(endpoint.ejection_s * 2, self._policy.max_ejection_s)

    def _eject(self, endpoint: Endpoint) -> None:
        jitter = random.uniform(0.9, 1.1)  # noqa: S311 - against probing in step
        endpoint.ejected_until_s = time.monotonic() + endpoint.ejection_s * jitter
        self._observer.ejected(endpoint.name)

    def _resolve_if_stale(self, deadline: Deadline) -> None:
        """The resolver knows no deadline, so it is asked in a thread; only the very first call
        waits for it."""
        with self._lock:
            start = (
                time.monotonic() >= self._stale_at_s and not self._resolving and not self._closed
            )
            self._resolving = self._resolving or start
        if start:
            threading.Thread(target=self._resolve, name="rpc-resolve", daemon=True).start()
        if not self._resolved.is_set():
            self._resolved.wait(max(0.0, deadline.remaining_ms() / 1000))

    def _resolve(self) -> None:
        found: dict[Address, None] = {}
        complete = True
        for name in self._names:
            try:
                found.update(dict.fromkeys(resolve(name)))
            except OSError as ex:
                complete = False
                self._observer.not_resolved(name, ex)
        with self._lock:
            known = {endpoint.address: endpoint for endpoint in self._endpoints}
            # What was known stays if the resolver failed: an old address is better than none.
            wanted = list(found) if complete else list(dict.fromkeys([*known, *found]))
            self._endpoints = [
                known.get(address) or Endpoint(address, self._policy, self._observer)
                for address in wanted
            ]
            gone = [known[address] for address in known.keys() - set(wanted)]
            self._stale_at_s = time.monotonic() + (
                self._policy.resolve_every_s if complete else 1.0
            )
            self._resolving = False
        self._resolved.set()
        for endpoint in gone:
            endpoint.pool.close()


def _less_busy_of_two(endpoints: list[Endpoint]) -> Endpoint:
    if len(endpoints) == 1:
        return endpoints[0]
    one, other = endpoints if len(endpoints) == 2 else random.sample(endpoints, 2)
    more = len(one.calls) - len(other.calls)
    if more == 0:
        more = random.random() < 0.5  # noqa: S311 - an even share
    return other if more > 0 else one
