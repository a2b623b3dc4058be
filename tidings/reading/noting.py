"""Notes into a reader's state what they report, in the same round trip as the report: the next feed
is chosen by the latest click.

The scripts of a report go to Redis with it, in its transaction, and each changes one field of one
reader's hash. Reports come twice and in any order, so an act that is noted stays as it was, and one
that was undone does not act again by the same token; a mark on the article itself (stamp 0) may be
set as often as the reader likes. Rejected: reading the clicks out of the behaviour log, which all
readers share and nothing finds them in; and registered scripts, which ask Redis first whether it
still knows them.

    with redis.pipeline() as pipe:
        notes.note_acts(pipe, reader_id=7, acts=[Acted(Action.CLICK, 12, stamp_ms, now_ms())])
        pipe.execute()
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import IntEnum

from redis.client import Pipeline

from tidings.reading.packed import (
    ACT_BYTES,
    ACT_KEY_BYTES,
    HIDDEN_ITEM,
    STAMP,
    Acted,
    pack_act,
    pack_stamps,
)
from tidings.store.keys import FIRST_VISIT_S, READER

ACTS_KEPT = 128
EXPOSED_KEPT = 64
HIDDEN_KEPT = 128

# What each script begins with. KEYS: the reader's hash. ARGV: TTL in s, that of a reader on a first
# visit or nothing for one who came back, bytes of an item, items kept, new items one after the
# other. `place` finds an item by its first bytes. The field `first` says that the reader has not
# come back yet: a late report of a first visit does not make it so again.
_HEAD = """
local size, most = tonumber(ARGV[3]), tonumber(ARGV[4])
local function place(all, first, from)
    while true do
        local at = string.find(all, first, from, true)
        if not at or (at - 1) % size == 0 then return at end
        from = at + 1
    end
end
local function read(field)
    local all = redis.call('HGET', KEYS[1], field) or ''
    if #all % size ~= 0 then return '' end
    return all
end
local function write(field, all)
    if #all > most * size then all = string.sub(all, -most * size) end
    local ttl_s, is_new = ARGV[1], redis.call('EXISTS', KEYS[1]) == 0
    if ARGV[2] == '' then
        redis.call('HDEL', KEYS[1], 'first')
    elseif is_new or redis.call('HEXISTS', KEYS[1], 'first') == 1 then
        redis.call('HSET', KEYS[1], 'first', '')
        ttl_s = ARGV[2]
    end
    redis.call('HSET', KEYS[1], field, all)
    redis.call('EXPIRE', KEYS[1], ttl_s)
end
"""
# ARGV[6]: bytes that name an act. The last byte of an item says whether it was undone, the six
# bytes before the moment are the stamp.
_NOTE_ACTS = (
    _HEAD
    + """
local key, all = tonumber(ARGV[6]), read('acts')
for first = 1, #ARGV[5], size do
    local item = string.sub(ARGV[5], first, first + size - 1)
    local at = place(all, string.sub(item, 1, key), 1)
    if not at then
        all = all .. item
    elseif string.byte(all, at + size - 1) == 1
        and string.sub(item, key - 5, key) == string.rep(string.char(0), 6) then
        all = string.sub(all, 1, at - 1) .. string.sub(all, at + size) .. item
    end
end
write('acts', all)
"""
)
# An undoing that comes before its act is kept as well, or the act would come alive.
_UNDO_ACTS = (
    _HEAD
    + """
local key, all = tonumber(ARGV[6]), read('acts')
for first = 1, #ARGV[5], size do
    local item = string.sub(ARGV[5], first, first + size - 1)
    local of_article = string.sub(item, 1, key - 6)
    local at = place(all, of_article, 1)
    while at do
        all = string.sub(all, 1, at + size - 2) .. string.char(1) .. string.sub(all, at + size)
        at = place(all, of_article, at + size)
    end
    if not place(all, string.sub(item, 1, key), 1) then all = all .. item end
end
write('acts', all)
"""
)
_NOTE_EXPOSURES = (
    _HEAD
    + """
local all = read('exposed')
for first = 1, #ARGV[5], size do
    local item = string.sub(ARGV[5], first, first + size - 1)
    if not place(all, item, 1) then all = all .. item end
end
write('exposed', all)
"""
)
# Articles have a bound of their own: they are many, and grow old by themselves.
_HIDE = (
    _HEAD
    + """
local all, of_its_kind, oldest = read('hidden'), 0, nil
if not place(all, ARGV[5], 1) then
    all = all .. ARGV[5]
    local is_article = string.byte(ARGV[5], 1) == 0
    for at = 1, #all, size do
        if (string.byte(all, at) == 0) == is_article then
            of_its_kind, oldest = of_its_kind + 1, oldest or at
        end
    end
    if of_its_kind > most / 2 then
        all = string.sub(all, 1, oldest - 1) .. string.sub(all, oldest + size)
    end
end
write('hidden', all)
"""
)
_SHOW = (
    _HEAD
    + """
local all = read('hidden')
local at = place(all, ARGV[5], 1)
if at then write('hidden', string.sub(all, 1, at - 1) .. string.sub(all, at + size)) end
"""
)


class Hideable(IntEnum):
    """What a reader can hide."""

    ARTICLE = 0
    AUTHOR = 1
    CHANNEL = 2


class ReaderNotes:
    """Adds commands to a pipeline; the caller executes it.

    Args:
        ttl_s: a reader who was not there for so long is forgotten.
        first_visit_s: the same of a reader whose id has not come back; None if it has.
    """

    def __init__(self, ttl_s: int, first_visit_s: int | None = None) -> None:
        self._ttl_s = ttl_s
        self._first_visit_s = "" if first_visit_s is None else first_visit_s

    def of_first_visits(self) -> ReaderNotes:
        """Notes of readers whose id has not come back, which end within minutes."""
        return ReaderNotes(self._ttl_s, FIRST_VISIT_S)

    def note_acts(self, pipe: Pipeline, reader_id: int, acts: Sequence[Acted]) -> None:
        """Note these acts of a reader; those that are noted already stay as they are."""
        self._change_acts(pipe, reader_id, _NOTE_ACTS, acts, is_undone=False)

    def undo_acts(self, pipe: Pipeline, reader_id: int, acts: Sequence[Acted]) -> None:
        """Note that these acts were undone, in whatever batch they were done."""
        self._change_acts(pipe, reader_id, _UNDO_ACTS, acts, is_undone=True)

    def note_exposures(self, pipe: Pipeline, reader_id: int, stamps: Iterable[int]) -> None:
        """Note that the batches of these stamps were seen."""
        items = pack_stamps(stamps)
        self._eval(pipe, reader_id, _NOTE_EXPOSURES, STAMP.size, EXPOSED_KEPT, items)

    def hide(self, pipe: Pipeline, reader_id: int, kind: Hideable, id_: int) -> None:
        """Note that the reader does not want to see this. Of the latest `HIDDEN_KEPT`, half are
        articles."""
        self._change_hidden(pipe, reader_id, _HIDE, HIDDEN_ITEM.pack(kind, id_))

    def show(self, pipe: Pipeline, reader_id: int, kind: Hideable, id_: int) -> None:
        """Note that the reader wants to see this again."""
        self._change_hidden(pipe, reader_id, _SHOW, HIDDEN_ITEM.pack(kind, id_))

    def _change_acts(
        self, pipe: Pipeline, reader_id: int, script: str, acts: Sequence[Acted], *, is_undone: bool
    ) -> None:
        items = b"".join(pack_act(acted, is_undone=is_undone) for acted in acts)
        self._eval(pipe, reader_id, script, ACT_BYTES, ACTS_KEPT, items, ACT_KEY_BYTES)

    def _change_hidden(self, pipe: Pipeline, reader_id: int, script: str, item: bytes) -> None:
        self._eval(pipe, reader_id, script, HIDDEN_ITEM.size, HIDDEN_KEPT, item)

    def _eval(self, pipe: Pipeline, reader_id: int, script: str, *args: int | bytes) -> None:
        pipe.eval(script, 1, READER.of(reader_id), self._ttl_s, self._first_visit_s, *args)
