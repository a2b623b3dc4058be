"""Which ranker a reader is served by: the one in use, or one of those that are being compared.

A reader's bucket follows from their id alone, so that they meet the same ranker at each request and
in each process, and nothing has to be kept. The hash is salted with the numbers of the variants: a
share that grows keeps the readers it has, and a new comparison divides them anew. Rejected: drawing
at each request, which mixes two rankers in one reader's session.

    shares = Shares(("1:blend:10", "2:in-use:90"))
    shares.of(reader_id)  # Share(number=1, ranker="blend", percent=10)
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from tidings.process.settings.recommender import Share, split_share

IN_USE = "in-use"
BUCKETS = 10_000
# What a reader outside of every comparison is served by.
REST = Share(number=0, ranker=IN_USE, percent=100)


class Shares:
    """The shares of the setting `TIDINGS_RECOMMENDER_VARIANTS`.

    Args:
        variants: `NUMBER:RANKER:PERCENT`, checked when the settings were read.
    """

    def __init__(self, variants: Sequence[str]) -> None:
        self._shares = tuple(map(split_share, variants))
        self._salt = ",".join(str(share.number) for share in self._shares).encode()

    @property
    def rankers(self) -> frozenset[str]:
        """The rankers that are compared, by name."""
        return frozenset(share.ranker for share in self._shares)

    def of(self, reader_id: int) -> Share:
        """The share that this reader belongs to."""
        if not self._shares:
            return REST
        key = reader_id.to_bytes(8, "big", signed=True)
        digest = hashlib.blake2b(key, digest_size=8, salt=self._salt[:16]).digest()
        bucket = int.from_bytes(digest, "big") % BUCKETS
        end = 0.0
        for share in self._shares:
            end += share.percent * BUCKETS / 100
            if bucket < end:
                return share
        return REST
