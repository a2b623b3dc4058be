"""What readers, the bank and bad luck do to a shop, and what of it was wrong.

Each scenario returns violations by invariant, and each mistake of `money_processes` is judged by
the same scenario as the right programs are.

    violations = run("equal orders", database, redis, seed=7, folder=folder, scale=1.0)
"""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from tests.faults.money_invariants import check, check_caps
from tests.faults.money_readers import Answer, Reader, Told
from tests.faults.money_site import DEAR, HOT, PLENTY, SCARCE, Shop, open_shop
from tests.lab.servers import MariaDBServer, RedisServer, wait_until

EQUAL = 8
CROWD, PER_CLIENT = 64, 4
SHOPPERS = 8
# Operations for each kill; 200 of them see each program killed.
KILL_EACH = 50
# Enough for repeated callbacks of every kind; and until a refund was refused, which some mistakes
# are about, or for so many times as long.
IN_PEACE, MORE_IN_PEACE = 120, 10


@dataclass
class Trial:
    """A shop, what is done to it, and what readers were told."""

    shop: Shop
    scale: float
    seed: int
    told: Told = field(default_factory=Told)
    found: Counter[str] = field(default_factory=Counter)
    about: dict[str, Any] = field(default_factory=dict)

    def tell(self) -> str:
        """What was violated, and by which answers."""
        wrong = +(self.told.wrong + self.shop.bank.wrong)
        return f"{dict(self.found)} {dict(wrong)} {self.shop.died or ''}"

    def reader(self, number: int, address: str | None = None) -> Reader:
        return Reader(self.shop.ports, number=number, told=self.told, address=address)


def equal_orders(trial: Trial) -> None:
    """One reader sends the same order eight times at once, to both gateways, for the last pieces:
    all eight answers are the same order."""
    rounds = round(250 * trial.scale)
    with ThreadPoolExecutor(EQUAL) as pool:
        for turn in range(rounds):
            # Eight connections of one reader: half of them begin at either gateway.
            twins = [trial.reader(2 * turn) for _ in range(EQUAL)]
            key = twins[0].new_key()
            gate = threading.Barrier(EQUAL)
            for twin in twins[::2]:
                twin.go_elsewhere()

            def order(twin: Reader, key: str = key, gate: threading.Barrier = gate) -> Answer:
                gate.wait(120)
                return twin.place({SCARCE: 5}, key)

            answers = list(pool.map(order, twins))
            ids = {answer.body["order_id"] for answer in answers if answer.status == 201}
            trial.found["false_refusals"] += any(answer.status != 201 for answer in answers)
            trial.found["doubled"] += max(0, len(ids) - 1)
            for order_id in ids:
                twins[0].cancel(order_id)
            for twin in twins:
                twin.close()
    trial.about["rounds"] = rounds


def hoarding(trial: Trial) -> None:
    """One reader, one address of many readers, and one of strangers without a name order as much as
    they can, many orders at once."""
    hoarder = [trial.reader(1, "127.9.0.1") for _ in range(8)]
    for wanted in ({PLENTY[0]: 60}, {PLENTY[1]: 1}, {DEAR: 2}, {PLENTY[2]: 30}):
        _order_at_once(hoarder, wanted, times=3)
    family = [trial.reader(100 + number, "127.9.0.2") for number in range(16)]
    _order_at_once(family, {PLENTY[0]: 1}, times=2)
    strangers = [trial.reader(200, "127.9.0.3") for _ in range(12)]
    for stranger in strangers:
        stranger.name = None
    _order_at_once(strangers, {PLENTY[0]: 1}, times=2)
    trial.found["over_cap"] += check_caps(
        trial.shop, per_reader=3, per_address=10, pieces=100, cents=500_000
    )
    for reader in (*hoarder, *family, *strangers):
        reader.close()
    assert len(trial.told.placed) > 10, f"hardly anything was sold: {trial.told.statuses}"


def _order_at_once(readers: list[Reader], wanted: dict[int, int], *, times: int) -> None:
    with ThreadPoolExecutor(len(readers)) as pool:
        for _ in range(times):
            list(pool.map(lambda reader: reader.place(wanted), readers))


def one_product(trial: Trial) -> None:
    """Sixty-four readers at once want what there is not enough of; some cancel, some pay."""
    gate = threading.Barrier(CROWD)

    def buy(number: int) -> None:
        draw = random.Random(f"{trial.seed}:{number}")
        reader = trial.reader(number)
        gate.wait(120)
        for _ in range(PER_CLIENT):
            answer = reader.place({HOT: draw.randint(1, 3)})
            if answer.status == 201 and draw.random() < 0.5:
                act = draw.choice((reader.cancel, reader.pay))
                act(answer.body["order_id"])
        reader.close()

    with ThreadPoolExecutor(CROWD) as pool:
        list(pool.map(buy, range(CROWD)))
    refused = trial.told.statuses["place: 409 out-of-stock"]
    assert refused, f"the product was never sold out: {trial.told.statuses}"


def mixed(trial: Trial) -> None:
    """Readers order, pay, cancel and forget; the bank fails, repeats and talks nonsense; gateways
    and daemon are killed in turn."""
    _mixed(trial, round(2000 * trial.scale), is_deadly=True)


def mixed_in_peace(trial: Trial) -> None:
    """The same while nothing is killed: what a mistake does must not need luck."""
    _mixed(trial, IN_PEACE, is_deadly=False)


def _mixed(trial: Trial, number: int, *, is_deadly: bool) -> None:
    done = itertools.count(1)
    killer = threading.Thread(target=_kill_in_turn, args=(trial, number // KILL_EACH))

    def is_too_peaceful(turn: int) -> bool:
        return turn <= number * MORE_IN_PEACE and not trial.shop.bank.books.refunds_refused

    def shop_on(who: int) -> None:
        shopper = Shopper(trial, who)
        # Longer than asked for, if by then not everything was killed in its turn, or refused.
        while (turn := next(done)) <= number or killer.is_alive() or is_too_peaceful(turn):
            shopper.act()
            trial.about["operations"] = turn
        shopper.close()

    with ThreadPoolExecutor(SHOPPERS) as pool:
        if is_deadly:
            killer.start()
        shopping = [pool.submit(shop_on, who) for who in range(SHOPPERS)]
        for one in shopping:
            one.result()


def _kill_in_turn(trial: Trial, kills: int) -> None:
    """kill -9 a gateway, the daemon, the other gateway and again the daemon, each while the others
    run."""
    draw = random.Random(f"{trial.seed}:killer")
    shop = trial.shop
    turns = itertools.cycle((shop.gateways[0], shop.daemon, shop.gateways[1], shop.daemon))
    for kill in range(kills):
        time.sleep(draw.uniform(0.3, 1.2))  # under load
        victim = next(turns)
        shop.kill(victim)
        time.sleep(draw.uniform(0, 0.5))
        shop.start(victim)
        trial.about["kills"] = kill + 1


class Shopper:
    """Someone who does one thing after the other, as a new reader now and then."""

    def __init__(self, trial: Trial, who: int) -> None:
        self._trial = trial
        self._draw = random.Random(f"{trial.seed}:shopper{who}")
        self._numbers = iter(range(1000 * who, 1000 * who + 1000))
        self._reader = trial.reader(next(self._numbers))
        self._orders: list[int] = []
        self._acts = (
            (40, self._place),
            (25, self._pay),
            (10, self._cancel),
            (5, self._pay_again),
            (5, self._read),
            (15, self._talk_nonsense),
        )

    def act(self) -> None:
        weights, acts = zip(*self._acts, strict=True)
        (act,) = self._draw.choices(acts, weights) if self._orders else (self._place,)
        act()
        time.sleep(self._draw.uniform(0, 0.1))

    def close(self) -> None:
        self._reader.close()

    def _place(self) -> None:
        if self._draw.random() < 0.4:
            self._reader.close()
            self._reader = self._trial.reader(next(self._numbers))
            self._orders.clear()
        ids = self._draw.sample(PLENTY, self._draw.choice((1, 1, 2)))
        answer = self._reader.place({id_: self._draw.randint(1, 3) for id_ in ids})
        if answer.status == 201:
            self._orders.append(answer.body["order_id"])

    def _pay(self) -> None:
        self._reader.pay(self._orders[-1])

    def _pay_again(self) -> None:
        self._reader.pay(self._draw.choice(self._orders))

    def _cancel(self) -> None:
        self._reader.cancel(self._draw.choice(self._orders))

    def _read(self) -> None:
        self._reader.read(self._draw.choice(self._orders))

    def _talk_nonsense(self) -> None:
        bank = self._trial.shop.bank
        with self._trial.told.lock:
            # Whose start was answered: the site knows the bank's name for it.
            known = list(self._trial.told.paying)
        if not known:
            self._pay()
            return
        bank.talk_nonsense(self._draw, bank.books.charges[self._draw.choice(known)])


@dataclass(frozen=True)
class Scenario:
    """What is done, by which settings, and for a mistake the invariant that has to notice."""

    act: Callable[[Trial], None]
    settings: Mapping[str, object] = field(default_factory=dict)
    invariant: str = ""
    gateways: int = 2


def scarcity(trial: Trial) -> None:
    """Equal orders, hoarding and a crowd, one after the other in one shop."""
    equal_orders(trial)
    hoarding(trial)
    one_product(trial)


SOON = {"order_timeout_s": 3, "order_first_visit_timeout_s": 3}
SCENARIOS = {
    "what is scarce": Scenario(scarcity),
    "everything mixed, killed in turn": Scenario(mixed, SOON),
}
NO_CAPS = {f"order_most_{what}": 0 for what in ("unpaid", "unpaid_per_address", "pieces", "cents")}
# What brings each mistake to light; nothing here is left to the luck of a kill.
TEETH = {
    "never_looks_again": Scenario(equal_orders, invariant="false_refusals"),
    "no_caps": Scenario(hoarding, NO_CAPS, "over_cap"),
    "reads_then_writes": Scenario(one_product, invariant="oversold"),
    **{
        mistake: Scenario(mixed_in_peace, SOON, invariant, gateways=1)
        for mistake, invariant in (
            ("marks_first", "refunds_adrift"),
            ("judges_again", "doubled"),
            ("forgets_callbacks", "callbacks_lost"),
            ("believes_callbacks", "wrong_answers"),
            ("writes_behind", "lost"),
            ("never_expires", "overdue"),
        )
    },
}
BY_SETTINGS = ("no_caps",)
SETTLE_S, SETTLE_WRONG_S = 90.0, 10.0
LOOK_S = 120


def run(
    name: str,
    database: MariaDBServer,
    redis_server: RedisServer,
    *,
    seed: int,
    folder: Path,
    scale: float,
) -> Trial:
    """One scenario with the right programs, or one mistake under the scenario that fits it."""
    scenario = (SCENARIOS | TEETH)[name]
    mistake = name if name in TEETH and name not in BY_SETTINGS else ""
    with open_shop(
        database,
        redis_server,
        seed=seed,
        folder=folder,
        mistake=mistake,
        gateways=scenario.gateways,
        **scenario.settings,
    ) as shop:
        trial = Trial(shop, scale, seed)
        try:
            scenario.act(trial)
        except AssertionError:
            if name not in TEETH:
                raise
            trial.found["wrong_answers"] += 1
        _settle(trial, SETTLE_S if name in SCENARIOS else SETTLE_WRONG_S)
        trial.found += check(shop, trial.told)
    trial.found = +trial.found
    return trial


def _settle(trial: Trial, within_s: float) -> None:
    """Wait until nothing is planned, overdue or owed; what still is then is counted."""
    shop = trial.shop
    shop.look_after()
    with suppress(TimeoutError):
        shop.bank.settle(within_s)
        wait_until(lambda: is_calm(shop), within_s, "nothing to be owed")
    shop.look_after()


def is_calm(shop: Shop) -> bool:
    """No order's time is up, nor will be while the invariants are looked at."""
    try:
        return not shop.count(
            "SELECT COUNT(*) FROM orders WHERE status = 'unpaid'"
            f" AND expires_at < UTC_TIMESTAMP(3) + INTERVAL {LOOK_S} SECOND"
        ) and not shop.count("SELECT COUNT(*) FROM refund WHERE state = 'owed'")
    except SQLAlchemyError:
        return False
