"""A site whose readers' tastes are known, because they were planted: articles, readers, and how
likely each reader is to click each article.

Real clicks cannot say whether a feed finds a reader's taste: what the reader would have liked and
was not shown is in no log. Here it is a table. A taste is two channels, one or two authors and some
words; liking an article is a logistic curve of how many of those it has and of its own quality, and
a click also needs the reader to get that far down the page. Rejected: fitting such a world to a
real log, which needs the very tastes that are asked for.

    world = make_world(SMALL, seed=1)
    world.liking[reader, article]  # the probability of a click at the top of a page
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

READERS = 200
FIRST_MS = 1_700_000_000_000
# An article is drawn this many words of its channel, and of the language that all share.
CHANNEL_WORDS = 6
SHARED_WORDS = 8
VOCABULARY = 60
SHARED_VOCABULARY = 400
LIKED_WORDS = 6
# Log-odds of a click at the top of a page: 4 % without any taste for the article, 50 % in a liked
# channel, 73 % if the author is liked too, and up to 92 % with words.
ODDS = -3.3
CHANNEL_ODDS = 3.3
AUTHOR_ODDS = 1.0
WORD_ODDS = 0.5
MOST_WORDS = 3
QUALITY = 0.4
# How many readers of ten that read the first article of a page get to its n-th.
EXAMINED = (np.arange(100) + 1.0) ** -0.4


@dataclass(frozen=True, slots=True)
class Shape:
    """How large a site is: `articles` may be shown, and as many are held out.

    Attributes:
        batches: that each reader sees.
        counted: the first of these, of which clicks are compared. On the small site they show
            half of all articles; later even a perfect feed has nothing left that the reader likes.
        after_change: batches after the readers' tastes have changed.
    """

    articles: int
    channels: int
    authors: int
    batches: int
    counted: int
    after_change: int


# The small one runs dry before a changed taste could show.
SMALL = Shape(articles=150, channels=12, authors=20, batches=24, counted=8, after_change=0)
LARGE = Shape(articles=5000, channels=24, authors=150, batches=24, counted=24, after_change=16)


@dataclass(frozen=True, slots=True, eq=False)
class Tastes:
    """What each reader likes.

    Attributes:
        channels: int64 (readers, 2).
        authors: int64 (readers, 2); 0 in the second place where there is but one.
        liking: float32 (readers, articles), the probability of a click at the top of a page.
        planted: bool (readers, articles), whether the article is of a liked channel or author.
    """

    channels: NDArray[np.int64]
    authors: NDArray[np.int64]
    liking: NDArray[np.float32]
    planted: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class World:
    """Articles in columns, (2n,): the first n are the site's, the others are held out. An article's
    id is its place plus one.

    Attributes:
        channels, authors: int64, from 1.
        published: int64, ms since the epoch, before the first visit.
        texts: the words of each.
        tastes: of the readers when they come first, and after they have changed.
    """

    shape: Shape
    ids: NDArray[np.int64]
    channels: NDArray[np.int64]
    authors: NDArray[np.int64]
    published: NDArray[np.int64]
    texts: list[str]
    tastes: tuple[Tastes, Tastes]


def make_world(shape: Shape, seed: int) -> World:
    """The same seed makes the same world."""
    rng = np.random.default_rng([seed, shape.articles])
    total = 2 * shape.articles
    size = (np.arange(shape.channels) + 3.0) ** -0.6
    channels = rng.choice(shape.channels, total, p=size / size.sum())
    authors = _draw_authors(rng, shape, channels)
    words = np.concatenate(
        [
            SHARED_VOCABULARY
            + channels[:, None] * VOCABULARY
            + _draw_words(rng, VOCABULARY, (total, CHANNEL_WORDS)),
            _draw_words(rng, SHARED_VOCABULARY, (total, SHARED_WORDS)),
        ],
        axis=1,
    )
    quality = rng.normal(0.0, QUALITY, total)
    articles = (channels, authors, words, quality)
    return World(
        shape=shape,
        ids=np.arange(1, total + 1),
        channels=channels + 1,
        authors=authors + 1,
        published=FIRST_MS - rng.integers(1, 10 * 86_400_000, total),
        texts=[" ".join(f"w{word}" for word in row) for row in words],
        tastes=(_draw_tastes(rng, shape, *articles), _draw_tastes(rng, shape, *articles)),
    )


def _draw_words(
    rng: np.random.Generator, vocabulary: int, size: tuple[int, int]
) -> NDArray[np.int64]:
    often = (np.arange(vocabulary) + 2.0) ** -0.8
    return rng.choice(vocabulary, size, p=often / often.sum())


def _draw_authors(
    rng: np.random.Generator, shape: Shape, channels: NDArray[np.int64]
) -> NDArray[np.int64]:
    """An author writes for one channel, and one article in five is by an author of another."""
    at_home = rng.permutation(np.arange(shape.authors) % shape.channels)
    authors = rng.integers(0, shape.authors, len(channels))
    for channel in range(shape.channels):
        own = np.flatnonzero(at_home == channel)
        here = np.flatnonzero((channels == channel) & (rng.random(len(channels)) < 0.8))
        authors[here] = rng.choice(own, len(here))
    return authors


def _draw_tastes(
    rng: np.random.Generator,
    shape: Shape,
    channels: NDArray[np.int64],
    authors: NDArray[np.int64],
    words: NDArray[np.int64],
    quality: NDArray[np.float64],
) -> Tastes:
    liked_channels = np.array(
        [rng.choice(shape.channels, 2, replace=False) for _ in range(READERS)]
    )
    liked_authors = np.array([rng.choice(shape.authors, 2, replace=False) for _ in range(READERS)])
    liked_authors[rng.random(READERS) < 0.5, 1] = -1
    all_words = SHARED_VOCABULARY + shape.channels * VOCABULARY
    liking = np.empty((READERS, len(channels)), np.float32)
    planted = np.empty((READERS, len(channels)), np.bool_)
    for reader in range(READERS):
        at = np.concatenate([liked_channels[reader].repeat(2), rng.choice(shape.channels, 2)])
        liked_words = np.zeros(all_words, np.bool_)
        liked_words[SHARED_VOCABULARY + at * VOCABULARY + rng.integers(2, 25, LIKED_WORDS)] = True
        by_channel = np.isin(channels, liked_channels[reader])
        by_author = np.isin(authors, liked_authors[reader])
        by_words = np.minimum(liked_words[words].sum(axis=1), MOST_WORDS)
        odds = ODDS + CHANNEL_ODDS * by_channel + AUTHOR_ODDS * by_author + WORD_ODDS * by_words
        liking[reader] = 1.0 / (1.0 + np.exp(-odds - quality))
        planted[reader] = by_channel | by_author
    return Tastes(
        channels=liked_channels + 1,
        authors=liked_authors + 1,
        liking=liking,
        planted=planted,
    )
