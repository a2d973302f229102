"""The CUDA caching allocator of PyTorch, replayed: a stream of allocations in, reserved and allocated bytes out. No
torch.

The rules are those of `c10/cuda/CUDACachingAllocator.cpp` with default settings on one stream (no expandable segments,
no `garbage_collection_threshold`, `max_split_size`, `roundup_power2_divisions` or memory fraction), named as they are
there:

* `round_size`: a request takes a multiple of kMinBlockSize.
* `get_pool`: blocks up to kSmallSize come from the small pool, others from the large one; the pools never mix.
* `get_free_block`: the smallest cached block that fits, the lowest address among equals.
* `get_allocation_size`: where none fits, a new segment: kSmallBuffer for the small pool, kLargeBuffer below
  kMinLargeAlloc, else the request rounded up to kRoundLarge.
* `should_split`: what is left of a block becomes a block of its own if it is at least kMinBlockSize in the small pool,
  more
  than kSmallSize in the large one; otherwise it stays with the request and counts as allocated.
* `free_block`: a freed block merges with the free neighbours of its segment; segments are kept.
* `release_cached_blocks`: where the device refuses a segment, all that are wholly free go back, and it is asked once
  more.

Where segments lie is the driver's choice, and decides between free blocks of one size. Here each lies below the one
before, as Linux places mappings (mm/mmap.c, arch_get_unmapped_area_topdown): every published eager LoRA run then comes
out to the MiB, and none of those of large scores does with rising addresses.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Hashable, Iterable
from dataclasses import dataclass

from estimator.core.units import human_bytes

MIN_BLOCK_BYTES = 512  # kMinBlockSize
SMALL_BYTES = 1 << 20  # kSmallSize
SMALL_SEGMENT_BYTES = 2 << 20  # kSmallBuffer
LARGE_SEGMENT_BYTES = 20 << 20  # kLargeBuffer; in newer versions the default of `large_segment_size`
MIN_OWN_SEGMENT_BYTES = 10 << 20  # kMinLargeAlloc
ROUND_LARGE_BYTES = 2 << 20  # kRoundLarge

FREE = -1
Event = tuple[Hashable, int]
"""(id of a storage, its bytes) where it is allocated, (id, FREE) where it is freed; an id may come back once it is
freed."""


class OutOfMemory(Exception):
    """The device refused a segment (`requested_bytes`, as in torch's message) even after the free ones went back."""

    def __init__(self, requested_bytes: int, allocated_bytes: int, reserved_bytes: int, capacity_bytes: float):
        self.requested_bytes, self.allocated_bytes = requested_bytes, allocated_bytes
        self.reserved_bytes, self.capacity_bytes = reserved_bytes, capacity_bytes
        sizes = map(human_bytes, (requested_bytes, capacity_bytes, reserved_bytes, allocated_bytes))
        super().__init__("{} asked for; of {} the allocator holds {}, {} of it in use".format(*sizes))


@dataclass(frozen=True)
class Replay:
    """What `torch.cuda.memory_stats` would say after the events; `retries` is its `num_alloc_retries`."""

    peak_reserved_bytes: int
    peak_allocated_bytes: int
    reserved_bytes: int
    allocated_bytes: int
    retries: int


def replay(events: Iterable[Event], capacity_bytes: float = math.inf) -> Replay:
    """The statistics after `events`, on an empty allocator that may reserve `capacity_bytes`.

    Raises `OutOfMemory`; `ValueError` for an id that is allocated twice or freed without being allocated.
    """
    allocator = CachingAllocator(capacity_bytes)
    for storage, size_bytes in events:
        if size_bytes < 0:
            allocator.free(storage)
        else:
            allocator.allocate(storage, size_bytes)
    return allocator.stats()


class _Block:
    """A range of a segment's addresses; `prev` and `next` are its neighbours there, if it was split."""

    __slots__ = ("address", "size", "pool", "free", "prev", "next")

    def __init__(self, address: int, size: int, pool: _Pool, prev: _Block | None = None, next: _Block | None = None):
        self.address, self.size, self.pool, self.free = address, size, pool, False
        self.prev, self.next = prev, next


class _Pool:
    """The free blocks of one pool, sorted by size, then address."""

    def __init__(self, smallest_remainder_bytes: int):
        self.smallest_remainder_bytes = smallest_remainder_bytes
        self.order: list[tuple[int, int, _Block]] = []

    def add(self, block: _Block) -> None:
        block.free = True
        insort(self.order, (block.size, block.address, block))

    def remove(self, block: _Block) -> None:
        block.free = False
        del self.order[bisect_left(self.order, (block.size, block.address))]

    def take(self, size: int) -> _Block | None:
        """The best fit for `size`, taken out of the pool."""
        index = bisect_left(self.order, (size,))
        if index == len(self.order):
            return None
        block = self.order.pop(index)[2]
        block.free = False
        return block


class CachingAllocator:
    """The state between events; `replay` is the short way. `capacity_bytes` is what the device lets it reserve."""

    def __init__(self, capacity_bytes: float = math.inf):
        self.capacity_bytes = capacity_bytes
        self.reserved_bytes = self.allocated_bytes = self.retries = 0
        self.peak_reserved_bytes = self.peak_allocated_bytes = 0
        self._small, self._large = _Pool(MIN_BLOCK_BYTES), _Pool(SMALL_BYTES + 1)
        self._live: dict[Hashable, _Block | None] = {}
        self._next_address = 0

    def allocate(self, storage: Hashable, size_bytes: int) -> None:
        """No bytes take no block: `allocate` in the source returns a null pointer for them."""
        if storage in self._live:
            raise ValueError(f"storage {storage!r} is allocated twice")
        self._live[storage] = block = self._block(size_bytes) if size_bytes else None
        if block:
            self.allocated_bytes += block.size
            self.peak_allocated_bytes = max(self.peak_allocated_bytes, self.allocated_bytes)

    def free(self, storage: Hashable) -> None:
        if storage not in self._live:
            raise ValueError(f"storage {storage!r} is freed but was not allocated")
        block = self._live.pop(storage)
        if block:
            self.allocated_bytes -= block.size
            self._merge(block)
            block.pool.add(block)

    def empty_cache(self) -> None:
        """Give back every segment that is wholly free, as `torch.cuda.empty_cache` does."""
        for pool in (self._large, self._small):
            for _, _, block in tuple(pool.order):
                if block.prev is None and block.next is None:
                    pool.remove(block)
                    self.reserved_bytes -= block.size

    def reset_peaks(self) -> None:
        self.peak_reserved_bytes, self.peak_allocated_bytes = self.reserved_bytes, self.allocated_bytes

    def stats(self) -> Replay:
        return Replay(**{name: getattr(self, name) for name in Replay.__dataclass_fields__})

    def _block(self, size_bytes: int) -> _Block:
        size = -(-size_bytes // MIN_BLOCK_BYTES) * MIN_BLOCK_BYTES
        pool = self._small if size <= SMALL_BYTES else self._large
        block = pool.take(size) or self._segment(size, pool)
        if block.size - size >= pool.smallest_remainder_bytes:
            rest = _Block(block.address + size, block.size - size, pool, block, block.next)
            if rest.next:
                rest.next.prev = rest
            block.next, block.size = rest, size
            pool.add(rest)
        return block

    def _segment(self, size: int, pool: _Pool) -> _Block:
        segment_bytes = segment_size(size)
        if self.reserved_bytes + segment_bytes > self.capacity_bytes:
            self.retries += 1
            self.empty_cache()
            if self.reserved_bytes + segment_bytes > self.capacity_bytes:
                raise OutOfMemory(segment_bytes, self.allocated_bytes, self.reserved_bytes, self.capacity_bytes)
        self.reserved_bytes += segment_bytes
        self.peak_reserved_bytes = max(self.peak_reserved_bytes, self.reserved_bytes)
        self._next_address -= segment_bytes
        return _Block(self._next_address, segment_bytes, pool)

    @staticmethod
    def _merge(block: _Block) -> None:
        """Take free neighbours into `block`, which is in no pool itself."""
        before, after = block.prev, block.next
        if before and before.free:
            before.pool.remove(before)
            block.address, block.size, block.prev = before.address, before.size + block.size, before.prev
            if block.prev:
                block.prev.next = block
        if after and after.free:
            after.pool.remove(after)
            block.size, block.next = block.size + after.size, after.next
            if block.next:
                block.next.prev = block


def segment_size(block_bytes: int) -> int:
    """Bytes asked of the device for a block that no cached one fits (`get_allocation_size`)."""
    if block_bytes <= SMALL_BYTES:
        return SMALL_SEGMENT_BYTES
    if block_bytes < MIN_OWN_SEGMENT_BYTES:
        return LARGE_SEGMENT_BYTES
    return -(-block_bytes // ROUND_LARGE_BYTES) * ROUND_LARGE_BYTES
