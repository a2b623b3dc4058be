"""Regression trees as plain arrays, scored in numpy by bit masks.

A learned ranker is a few dozen small trees. Serving must not import the library that grew them: it
brings its own threads (a p99 of 4 ms where this takes .1), and a model file that only its own
version reads. So each split is turned into a mask of the leaves that stay reachable, after
QuickScorer (Lucchese and others, SIGIR 2015): all splits on one feature, sorted by threshold, give
one row of masks for each interval of that feature, and one AND over a candidate's features leaves
the bit of its leaf. Rejected: walking the trees level by level, four dependent gathers a tree where
this has one.

    trees = Trees(nodes)
    trees.score(features)  # (n, features) float32 → (n,) float32
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

MOST_LEAVES = 16
MOST_TREES = 1000
# Below this lightgbm takes a value for 0 (its kZeroThreshold, a float32).
ZERO = np.float32(1e-35)


class BadTreesError(ValueError):
    """The arrays are no trees that can be scored; the message says what is wrong with them."""


@dataclass(frozen=True, slots=True)
class Nodes:
    """The trees as they are stored: inner nodes and leaves, each tree's one after another.

    A child ≥ 0 is the number of an inner node within its tree, and a child < 0 is the leaf
    -child - 1. Node 0 is the root of its tree; a tree of one leaf has no inner node.

    Attributes:
        splits: (trees,) int32, inner nodes of each tree, its leaves are one more.
        feature: (nodes,) int32, column that the split looks at.
        threshold: (nodes,) float64; a value ≤ threshold goes left.
        left, right: (nodes,) int32, children.
        missing_left: (nodes,) bool, whether NaN goes left.
        leaf: (leaves,) float64, what a leaf adds to the score.
    """

    splits: NDArray[np.int32]
    feature: NDArray[np.int32]
    threshold: NDArray[np.float64]
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    missing_left: NDArray[np.bool_]
    leaf: NDArray[np.float64]


DTYPES = {
    "splits": np.int32,
    "feature": np.int32,
    "threshold": np.float64,
    "left": np.int32,
    "right": np.int32,
    "missing_left": np.bool_,
    "leaf": np.float64,
}


class Trees:
    """A ranker made of trees.

    Args:
        nodes: the trees.
        features: how many columns a candidate has.
        name: what the ranker is called in traces and metrics.

    Raises:
        BadTreesError: the arrays are no trees.
    """

    def __init__(self, nodes: Nodes, features: int, name: str = "trees") -> None:
        check_nodes(nodes, features)
        self.name = name
        self._places = _places_of_bits()
        trees = len(nodes.splits)
        self._leaves = _leaf_table(nodes)
        self._leaf_starts = (np.arange(trees) * MOST_LEAVES).astype(np.intp)
        tree_of, masks = _masks(nodes)
        all_leaves = ((1 << (nodes.splits + 1)) - 1).astype(np.uint16)
        self._edges: list[NDArray[np.float32]] = []
        rows: list[NDArray[np.uint16]] = []
        starts: list[int] = []
        for feature in range(features):
            mine = np.flatnonzero(nodes.feature == feature)
            edges = _float32_below(nodes.threshold[mine])
            mine = mine[np.argsort(edges, kind="stable")]
            starts.append(sum(len(block) for block in rows))
            rows.append(_rows(mine, tree_of, masks, all_leaves, nodes.missing_left))
            # After the last threshold: +inf stays below this edge, and NaN, which sorts last, falls
            # behind it into the row of its own.
            self._edges.append(np.append(np.sort(edges), np.float32(np.inf)))
        self._used = [f for f in range(features) if len(self._edges[f]) > 1]
        self._starts = np.array([starts[f] for f in self._used], dtype=np.intp)
        self._rows = np.concatenate(rows) if rows else np.empty((0, trees), dtype=np.uint16)

    def score(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """One number a candidate, the higher the better.

        Args:
            features: (n, features) float32; NaN is "not known", infinities are numbers.
        """
        return self.sums(features).astype(np.float32)

    def sums(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """As `score`, with all its digits: (n,) float64."""
        if not self._used:
            return np.full(len(features), self._leaves[self._leaf_starts].sum())
        columns = np.ascontiguousarray(features.T, dtype=np.float32)
        places = np.empty((len(self._used), columns.shape[1]), dtype=np.intp)
        for place, feature in enumerate(self._used):
            places[place] = self._edges[feature].searchsorted(columns[feature])
        places += self._starts[:, None]
        reachable = np.bitwise_and.reduce(self._rows.take(places, axis=0), axis=0)
        leaves = self._places.take(reachable) + self._leaf_starts
        sums: NDArray[np.float64] = self._leaves.take(leaves).sum(axis=1)
        return sums


def check_nodes(nodes: Nodes, features: int) -> None:
    """See that the arrays are trees of at most `MOST_LEAVES` leaves over that many features.

    Raises:
        BadTreesError: naming the first thing that is wrong.
    """
    for field in fields(nodes):
        array = getattr(nodes, field.name)
        if array.ndim != 1 or array.dtype != DTYPES[field.name]:
            raise BadTreesError(f"{field.name} is {array.dtype} with {array.ndim} dimensions")
    inner = len(nodes.feature)
    for name in ("threshold", "left", "right", "missing_left"):
        if len(getattr(nodes, name)) != inner:
            raise BadTreesError(f"{name} and feature differ in length")
    if not 0 < len(nodes.splits) <= MOST_TREES:
        raise BadTreesError(f"{len(nodes.splits)} trees; from 1 to {MOST_TREES} can be served")
    if nodes.splits.min() < 0 or nodes.splits.max() >= MOST_LEAVES:
        raise BadTreesError(f"a tree has more than {MOST_LEAVES} leaves")
    if nodes.splits.sum() != inner or len(nodes.leaf) != inner + len(nodes.splits):
        raise BadTreesError("the numbers of splits, nodes and leaves do not fit each other")
    if not np.isfinite(nodes.leaf).all() or np.isnan(nodes.threshold).any():
        raise BadTreesError("a leaf or a threshold is no number")
    if inner and not (nodes.feature.min() >= 0 and nodes.feature.max() < features):
        raise BadTreesError(f"a split looks at a feature beyond the {features} there are")
    start = 0
    for splits in nodes.splits.tolist():
        _check_tree(
            nodes.left[start : start + splits].tolist(),
            nodes.right[start : start + splits].tolist(),
        )
        start += splits


def _check_tree(left: list[int], right: list[int]) -> None:
    """Each inner node but the root, and each leaf, is the child of exactly one node before it."""
    children = sorted(left + right)
    splits = len(left)
    expected = [*range(-splits - 1, 0), *range(1, splits)] if splits else []
    if children != expected:
        raise BadTreesError("the nodes of a tree do not hang together")
    for node, pair in enumerate(zip(left, right, strict=True)):
        if any(0 <= child <= node for child in pair):
            raise BadTreesError("a node stands before its parent")


def _masks(nodes: Nodes) -> tuple[NDArray[np.intp], NDArray[np.uint16]]:
    """Each inner node's tree, and (nodes, 2) the leaves that are left after going right, and after
    going left: bit i is the i-th leaf from the left."""
    inner = len(nodes.feature)
    tree_of = np.repeat(np.arange(len(nodes.splits), dtype=np.intp), nodes.splits)
    masks = np.zeros((inner, 2), dtype=np.uint16)
    start = 0
    for splits in nodes.splits.tolist():
        spans = _spans(nodes.left[start : start + splits], nodes.right[start : start + splits])
        for node, (first, middle, end) in enumerate(spans):
            masks[start + node] = (
                0xFFFF & ~_bits(first, middle),
                0xFFFF & ~_bits(middle, end),
            )
        start += splits
    return tree_of, masks


def _bits(first: int, end: int) -> int:
    return (1 << end) - (1 << first)


def _spans(left: NDArray[np.int32], right: NDArray[np.int32]) -> list[tuple[int, int, int]]:
    """For each inner node the first leaf below it, the first below its right child, and the end,
    counted from the left."""
    sizes = _sizes(left, right)
    spans = [(0, 0, 0)] * len(left)
    firsts = {0: 0}
    for node in range(len(left)):
        first = firsts[node]
        middle = first + _size(int(left[node]), sizes)
        spans[node] = (first, middle, first + sizes[node])
        firsts[int(left[node])], firsts[int(right[node])] = first, middle
    return spans


def _sizes(left: NDArray[np.int32], right: NDArray[np.int32]) -> list[int]:
    """How many leaves hang below each inner node; children stand after their parents."""
    sizes = [0] * len(left)
    for node in reversed(range(len(left))):
        sizes[node] = _size(int(left[node]), sizes) + _size(int(right[node]), sizes)
    return sizes


def _size(child: int, sizes: list[int]) -> int:
    return 1 if child < 0 else sizes[child]


def _leaf_table(nodes: Nodes) -> NDArray[np.float64]:
    """(trees * MOST_LEAVES,) each tree's leaves from left to right, padded with zeros."""
    table = np.zeros((len(nodes.splits), MOST_LEAVES))
    start = 0
    for tree, splits in enumerate(nodes.splits.tolist()):
        leaves = nodes.leaf[start + tree : start + tree + splits + 1]
        order = _leaf_order(nodes.left[start : start + splits], nodes.right[start : start + splits])
        table[tree, : splits + 1] = leaves[order]
        start += splits
    return table.reshape(-1)


def _leaf_order(left: NDArray[np.int32], right: NDArray[np.int32]) -> list[int]:
    """The numbers of a tree's leaves, from the left."""
    if not len(left):
        return [0]
    order, todo = [], [0]
    while todo:
        node = todo.pop()
        if node < 0:
            order.append(-node - 1)
        else:
            todo += (int(right[node]), int(left[node]))
    return order


def _rows(
    sorted_nodes: NDArray[np.intp],
    tree_of: NDArray[np.intp],
    masks: NDArray[np.uint16],
    all_leaves: NDArray[np.uint16],
    missing_left: NDArray[np.bool_],
) -> NDArray[np.uint16]:
    """(nodes + 2, trees) the leaves left for a value above the first 0, 1, 2 … thresholds of one
    feature, and in the last row for NaN."""
    rows = np.tile(all_leaves, (len(sorted_nodes) + 2, 1))
    for place, node in enumerate(sorted_nodes):
        rows[place + 1 : -1, tree_of[node]] &= masks[node, 0]
        rows[: place + 1, tree_of[node]] &= masks[node, 1]
        rows[-1, tree_of[node]] &= masks[node, 1 if missing_left[node] else 0]
    return rows


def _float32_below(thresholds: NDArray[np.float64]) -> NDArray[np.float32]:
    """The greatest float32 that is not above each threshold: a float32 is ≤ the one exactly when it
    is ≤ the other, so that the comparison needs no float64."""
    with np.errstate(over="ignore"):
        near = thresholds.astype(np.float32)
    near = np.where(near.astype(np.float64) > thresholds, _next_below(near), near)
    # All values that are taken for 0 go where 0 goes.
    near = np.where((near >= -ZERO) & (near < 0), _next_below(-ZERO), near)
    return np.where((near >= 0) & (near < ZERO), ZERO, near)


def _next_below(values: NDArray[np.float32] | np.float32) -> NDArray[np.float32]:
    return np.nextafter(values, np.float32(-np.inf), dtype=np.float32)


def _places_of_bits() -> NDArray[np.uint8]:
    """For each 16-bit number of one bit, the place of that bit."""
    places = np.zeros(1 << MOST_LEAVES, dtype=np.uint8)
    places[1 << np.arange(MOST_LEAVES)] = np.arange(MOST_LEAVES)
    return places
