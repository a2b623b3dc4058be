"""What articles are about: the words of each one as a short vector, for readers who have read
something like it and for articles that no reader has opened yet.

A vector is the 32 words with the greatest tf-idf, hashed to 16 bits. It needs no model and no
dictionary, and works in any script: where a script writes no spaces, pairs of characters stand for
words. Rejected: dense embeddings. They would need a model of hundreds of megabytes in every worker
for one language at a time; and dense random projections of these words cost as much memory and lose
a fifth of the neighbours.

An article takes 32 words x 3 bytes, 128 bytes of weights and places, and an id: under 300 bytes.
The newest 100,000 are kept, 30 MB at most.

    texts = make_texts({7: "Ferry fares to rise", 8: "The ferry to the islands is late"})
    texts.similar(7, most=10)  # (ids, scores): [8], [.31]
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.recommender.sorted_ids import find_in

BUCKETS = 1 << 16
WORDS_KEPT = 32
MOST_ARTICLES = 100_000
# The beginning says what an article is about; the rest costs time and adds its digressions.
MOST_CHARACTERS = 2_000
# So many of the newest articles that hold a word are looked at for neighbours.
MOST_HOLDERS = 400
# A profile's strongest words; those after them moved no neighbour into the first ten.
PROFILE_WORDS = 48
# So many of the newest clicks: at the forty-first, an article weighs a quarter of the newest.
PROFILE_ARTICLES = 40
STEM = 7
# Bounds what fingerprinting takes: 1,000 articles x 32 words x 64 signs.
FINGERPRINTED_AT_ONCE = 1_000

Ids = NDArray[np.int64]
Floats = NDArray[np.float32]

# Scripts without spaces between words: Thai, Lao, Tibetan, Burmese, Khmer, kana, Han.
_UNSPACED = r"\u0e00-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
# `\w` leaves out the vowel signs of Hebrew, Arabic and the scripts of India.
_LETTER = r"\w\u0300-\u036f\u0591-\u05c7\u064b-\u065f\u0900-\u0963\u0966-\u0dff"
_RUN = re.compile(rf"[{_UNSPACED}]+|(?:(?![{_UNSPACED}_])[{_LETTER}])+")
_IS_UNSPACED = re.compile(rf"[{_UNSPACED}]")


def read_words(text: str) -> Counter[int]:
    """The words of a text, hashed to 16 bits, with how often each occurs. The same text gives the
    same numbers in every process."""
    words: Counter[int] = Counter()
    for run in _RUN.findall(unicodedata.normalize("NFKC", text[:MOST_CHARACTERS]).casefold()):
        if _IS_UNSPACED.match(run):
            pairs = [run[at : at + 2] for at in range(max(len(run) - 1, 1))]
        else:
            # The beginning of a word stands for its forms, in any language that has endings.
            pairs = [run[:STEM]] if len(run) > 1 else []
        for word in pairs:
            words[zlib.crc32(word.encode()) & (BUCKETS - 1)] += 1
    return words


@dataclass(frozen=True, slots=True, eq=False)
class Words:
    """The strongest words of articles, unweighted: what is kept between one `Texts` and the next.

    Attributes:
        ids: int64 (n,), sorted.
        stamps: int64 (n,), of the version that was read.
        words: uint16 (n, 32), the rest of a short text being word 0.
        counts: uint8 (n, 32), how often each occurs in its text; 0 for that rest.
        holders: int32 (65536,), how many articles that were read held each word.
        read: how many articles were read.
    """

    ids: Ids
    stamps: Ids
    words: NDArray[np.uint16]
    counts: NDArray[np.uint8]
    holders: NDArray[np.int32]
    read: int

    def without(self, gone: Ids) -> Words:
        """These without some articles."""
        kept = find_in(np.sort(gone), self.ids) < 0
        return replace(
            self,
            ids=self.ids[kept],
            stamps=self.stamps[kept],
            words=self.words[kept],
            counts=self.counts[kept],
        )

    def changed(self, texts: Mapping[int, str], stamps: Mapping[int, int]) -> Words:
        """These with some articles read anew, and for each the stamp of its version."""
        read = [(id_, read_words(text)) for id_, text in texts.items()]
        holders = self.holders.copy()
        for _, counted in read:
            holders[list(counted)] += 1
        total = self.read + len(read)
        rarity = np.log(1.0 + total / (1.0 + holders))
        words = np.zeros((len(read), WORDS_KEPT), np.uint16)
        counts = np.zeros((len(read), WORDS_KEPT), np.uint8)
        for row, (_, counted) in enumerate(read):
            found = np.fromiter(counted.keys(), np.int64, len(counted))
            often = np.minimum(np.fromiter(counted.values(), np.int64, len(counted)), 255)
            best = np.argsort((-1.0 - np.log(often)) * rarity[found], kind="stable")[:WORDS_KEPT]
            words[row, : len(best)] = found[best]
            counts[row, : len(best)] = often[best]
        new_ids = np.array([id_ for id_, _ in read], np.int64)
        new_stamps = np.array([stamps[id_] for id_, _ in read], np.int64)
        old = self.without(new_ids)
        ids = np.concatenate([old.ids, new_ids])
        order = np.argsort(ids)
        return Words(
            ids=ids[order],
            stamps=np.concatenate([old.stamps, new_stamps])[order],
            words=np.concatenate([old.words, words])[order],
            counts=np.concatenate([old.counts, counts])[order],
            holders=holders,
            read=total,
        )


NO_WORDS = Words(
    ids=np.zeros(0, np.int64),
    stamps=np.zeros(0, np.int64),
    words=np.zeros((0, WORDS_KEPT), np.uint16),
    counts=np.zeros((0, WORDS_KEPT), np.uint8),
    holders=np.zeros(BUCKETS, np.int32),
    read=0,
)


class Profile(NamedTuple):
    """What a reader's articles, or one article, are about.

    Attributes:
        words: uint16 (k,), ascending; those that occur.
        vector: float32 (65536,) of length 1.
        origins: int64 (k,), the article that brought most of each word.
    """

    words: NDArray[np.uint16]
    vector: Floats
    origins: Ids


class Texts:
    """The vectors of articles; never changed once made, so that requests share them unlocked."""

    def __init__(self, words: Words) -> None:
        self._ids = words.ids
        self._words = words.words
        rarity = np.log(1.0 + words.read / (1.0 + words.holders)).astype(np.float32)
        often = np.log(np.maximum(words.counts, 1).astype(np.float32))
        weights = np.where(words.counts > 0, (1.0 + often) * rarity[words.words], 0.0)
        lengths = np.sqrt((weights**2).sum(axis=1, keepdims=True))
        self._weights = (weights / np.maximum(lengths, 1e-9)).astype(np.float16)
        # The holders of each word, the newest first: `_starts[word]` is where they begin.
        rows, places = np.nonzero(words.counts[::-1])
        rows = len(self._ids) - 1 - rows
        order = np.argsort(self._words[rows, places], kind="stable")
        self._holders = rows[order].astype(np.int32)
        self._held = self._weights[rows, places][order]
        self._prints = _fingerprint(self._words, self._weights)
        self._starts = np.zeros(BUCKETS + 1, np.int64)
        held_by = np.bincount(self._words[rows, places], minlength=BUCKETS)
        np.cumsum(held_by, out=self._starts[1:])

    def __len__(self) -> int:
        return len(self._ids)

    def profile(self, article_ids: Ids, weights: Floats) -> Profile | None:
        """What several articles are about together; None if none of them is known.

        Args:
            article_ids: int64 (n,), the newest last.
            weights: float32 (n,), what each of them counts.
        """
        newest = slice(-PROFILE_ARTICLES, None)
        rows = self._rows_of(article_ids[newest])
        known = np.flatnonzero(rows >= 0)
        if not len(known):
            return None
        rows = rows[known]
        strengths = (self._weights[rows] * weights[newest][known, None]).ravel()
        words, places = np.unique(self._words[rows].ravel(), return_inverse=True)
        sums = np.bincount(places, strengths, len(words))
        length = float(np.sqrt(sums @ sums))
        if not length:
            return None
        order = np.argsort(strengths, kind="stable")
        origins = np.zeros(len(words), np.int64)
        origins[places[order]] = np.repeat(article_ids[newest][known], WORDS_KEPT)[order]
        # Only the pages of the words that occur are ever touched: .02 ms, where `bincount` over all
        # words takes a hundred times as long.
        vector = np.zeros(BUCKETS, np.float32)
        vector[words] = sums / length
        return Profile(words, vector, origins)

    def cosines(self, profile: Profile, article_ids: Ids) -> Floats:
        """How near each article is to a profile, float32 (n,), from 0 to 1; 0 for unknown ones."""
        rows = self._rows_of(article_ids)
        shared = profile.vector[self._words[rows]] * self._weights[rows]
        return np.where(rows >= 0, shared.sum(axis=1, dtype=np.float32), np.float32(0))

    def origins(self, profile: Profile, article_ids: Ids) -> Ids:
        """Of each known article the one in the profile that it shares its strongest word with."""
        rows = self._rows_of(article_ids)
        words = self._words[rows]
        best = (profile.vector[words] * self._weights[rows]).argmax(axis=1)
        found = np.searchsorted(profile.words, words[np.arange(len(rows)), best])
        found = np.minimum(found, len(profile.words) - 1)
        return np.asarray(profile.origins[found], np.int64)

    def nearest(self, profile: Profile, most: int) -> tuple[Ids, Floats]:
        """Up to `most` articles with words of the profile, the nearest first, with their cosine to
        its strongest words."""
        vector = profile.vector
        words = profile.words[vector[profile.words] > 0]
        if len(words) > PROFILE_WORDS:
            words = words[np.argpartition(-vector[words], PROFILE_WORDS)[:PROFILE_WORDS]]
        starts = self._starts[words]
        sizes = np.minimum(self._starts[words + 1] - starts, MOST_HOLDERS)
        firsts = np.cumsum(sizes) - sizes
        places = np.repeat(starts - firsts, sizes) + np.arange(int(sizes.sum()))
        strengths = np.repeat(vector[words], sizes) * self._held[places]
        scores = np.bincount(self._holders[places], strengths, len(self._ids))
        rows = np.flatnonzero(scores)
        if len(rows) > most:
            rows = rows[np.argpartition(-scores[rows], most)[:most]]
        rows = rows[np.argsort(-scores[rows], kind="stable")]
        return self._ids[rows], scores[rows].astype(np.float32)

    def prints(self, article_ids: Ids) -> NDArray[np.uint64]:
        """64 bits of each text, uint64 (n,), that differ in few places between texts that are
        nearly the same (Charikar 2002, simhash); 0 where unknown."""
        rows = self._rows_of(article_ids)
        if not len(self):
            return np.zeros(len(rows), np.uint64)
        return np.where(rows >= 0, self._prints[rows], np.uint64(0))

    def similar(self, article_id: int, most: int) -> tuple[Ids, Floats]:
        """Up to `most` other articles about the same, the nearest first, with their cosines; none
        for an article that is not known."""
        one = np.array([article_id], np.int64)
        profile = self.profile(one, np.ones(1, np.float32))
        if profile is None:
            return np.zeros(0, np.int64), np.zeros(0, np.float32)
        ids, scores = self.nearest(profile, most + 1)
        others = ids != article_id
        return ids[others][:most], scores[others][:most]

    def _rows_of(self, article_ids: Ids) -> NDArray[np.int64]:
        """Their rows, -1 where unknown."""
        return find_in(self._ids, article_ids)


def _fingerprint(words: NDArray[np.uint16], weights: NDArray[np.float16]) -> NDArray[np.uint64]:
    """The simhash of each row: a bit is which way the words lean together, each by its own sign."""
    signs = np.random.default_rng(0).choice(np.array([-1, 1], np.int8), (BUCKETS, 64))
    powers = np.uint64(1) << np.arange(64, dtype=np.uint64)
    prints = np.zeros(len(words), np.uint64)
    for start in range(0, len(words), FINGERPRINTED_AT_ONCE):
        part = slice(start, start + FINGERPRINTED_AT_ONCE)
        leaning = np.einsum("nk,nkb->nb", weights[part], signs[words[part]], dtype=np.float32)
        prints[part] = ((leaning > 0) * powers).sum(axis=1, dtype=np.uint64)
    return prints


def make_texts(texts: Mapping[int, str]) -> Texts:
    """The vectors of these texts, by article id."""
    return Texts(NO_WORDS.changed(texts, dict.fromkeys(texts, 0)))
