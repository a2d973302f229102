"""The replay against exact cases for each rule, and against a slow allocator that searches every segment for every
request."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estimator.memory.allocator import FREE, CachingAllocator, Event, OutOfMemory, Replay, replay

KIB, MIB = 1 << 10, 1 << 20


def sizes(*events: Event) -> tuple[int, int]:
    """(reserved, allocated) bytes at the end."""
    made = replay(events)
    return made.reserved_bytes, made.allocated_bytes


@pytest.mark.parametrize(("size", "block"), [(1, 512), (512, 512), (513, 1024), (MIB - 511, MIB), (MIB, MIB)])
def test_requests_round_to_512_bytes_and_small_ones_share_a_segment_of_2_mib(size, block):
    assert sizes(("a", size)) == (2 * MIB, block)


@pytest.mark.parametrize(
    ("size", "segment"),
    [
        (MIB, 2 * MIB),
        (MIB + 1, 20 * MIB),
        (10 * MIB - 512, 20 * MIB),
        (10 * MIB - 511, 10 * MIB),
        (10 * MIB, 10 * MIB),
        (10 * MIB + 1, 12 * MIB),
        (64 * MIB + 1, 66 * MIB),
    ],
)
def test_the_segment_asked_of_the_device(size, segment):
    assert sizes(("a", size))[0] == segment


def test_no_bytes_take_no_block():
    assert sizes(("a", 0)) == (0, 0)
    assert sizes(("a", 0), ("a", FREE), ("a", 1)) == (2 * MIB, 512)


def test_a_large_block_keeps_a_remainder_of_up_to_1_mib_and_counts_it():
    assert sizes(("a", 11 * MIB)) == (12 * MIB, 12 * MIB)
    assert sizes(("a", 11 * MIB - 512)) == (12 * MIB, 11 * MIB - 512)


def test_a_small_block_splits_down_to_512_bytes():
    fill = [(i, 128 * KIB) for i in range(15)]
    assert sizes(*fill, ("last but one", 128 * KIB - 512), ("last", 1)) == (2 * MIB, 2 * MIB)


def test_pools_never_mix():
    assert sizes(("a", 20 * MIB), ("a", FREE), ("b", MIB)) == (22 * MIB, MIB)
    assert sizes(("a", MIB), ("a", FREE), ("b", MIB + 1)) == (22 * MIB, MIB + 512)


def test_the_smallest_block_that_fits_is_taken():
    held = (("large", 40 * MIB), ("middle", 30 * MIB), ("large", FREE), ("middle", FREE))
    # 25 MiB come out of the 30: the 40 are then still whole.
    assert sizes(*held, ("b", 25 * MIB), ("c", 40 * MIB)) == (70 * MIB, 65 * MIB)


def test_the_lowest_address_among_equals():
    # Three holes of 2 MiB in one segment; the lowest is filled, so that the other two and what lies between can merge.
    cut = [(i, 2 * MIB) for i in range(10)]
    holes = [(i, FREE) for i in (1, 5, 7)]
    assert sizes(*cut, *holes, ("fill", 2 * MIB), (6, FREE), ("b", 6 * MIB)) == (20 * MIB, 20 * MIB)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (0, 2, 1), (1, 0, 2)])
def test_free_neighbours_merge_in_whatever_order_they_are_freed(order):
    cut = [(i, 6 * MIB) for i in range(3)]
    assert sizes(*cut, *((i, FREE) for i in order), ("b", 20 * MIB)) == (20 * MIB, 20 * MIB)


def test_blocks_of_two_segments_do_not_merge():
    assert sizes(("a", 10 * MIB), ("b", 10 * MIB), ("a", FREE), ("b", FREE), ("c", 20 * MIB)) == (40 * MIB, 20 * MIB)


def test_peaks_are_of_moments_and_freed_segments_stay_reserved():
    made = replay([("a", 30 * MIB), ("a", FREE), ("b", 12 * MIB)])
    assert made == Replay(30 * MIB, 30 * MIB, 30 * MIB, 12 * MIB, retries=0)


def test_out_of_memory_gives_whole_free_segments_back_and_tries_again():
    events = [("a", 30 * MIB), ("small", 1), ("a", FREE), ("b", 34 * MIB)]
    assert replay(events, 66 * MIB).retries == 0
    assert replay(events, 65 * MIB) == Replay(36 * MIB, 34 * MIB + 512, 36 * MIB, 34 * MIB + 512, retries=1)


def test_out_of_memory_says_what_was_asked_and_what_there_is():
    # The split segment cannot go back, the whole one can.
    events = [("a", 11 * MIB - 512), ("whole", 16 * MIB), ("whole", FREE), ("b", 29 * MIB)]
    with pytest.raises(OutOfMemory) as caught:
        replay(events, 40 * MIB)
    error = caught.value
    assert (error.requested_bytes, error.reserved_bytes, error.capacity_bytes) == (30 * MIB, 12 * MIB, 40 * MIB)
    assert str(error) == "30.0 MiB asked for; of 40.0 MiB the allocator holds 12.0 MiB, 11.0 MiB of it in use"


def test_empty_cache_and_new_peaks():
    allocator = CachingAllocator()
    allocator.allocate("a", 30 * MIB)
    allocator.allocate("b", 12 * MIB)
    allocator.free("a")
    allocator.empty_cache()
    allocator.reset_peaks()
    assert allocator.stats() == Replay(12 * MIB, 12 * MIB, 12 * MIB, 12 * MIB, retries=0)


@pytest.mark.parametrize("events", [[("a", 1), ("a", 1)], [("a", FREE)], [("a", 1), ("a", FREE), ("a", FREE)]])
def test_a_stream_that_contradicts_itself_is_refused(events):
    with pytest.raises(ValueError, match="'a'"):
        replay(events)


class Slow:
    """The same rules the plain way: each segment a list of [bytes, storage or None], searched from the first every
    time."""

    def __init__(self, capacity: float):
        self.segments: list[tuple[bool, list[list]]] = []
        self.capacity, self.retries = capacity, 0

    def allocate(self, storage: int, size: int) -> None:
        size = (size + 511) // 512 * 512
        small = size <= MIB
        free = [
            (b[0], s, i)
            for s, (kind, blocks) in enumerate(self.segments)
            for i, b in enumerate(blocks)
            if kind == small and b[1] is None
        ]
        fits = [place for place in free if place[0] >= size]
        _, s, i = min(fits) if fits else (0, self._segment(size, small), 0)
        blocks = self.segments[s][1]
        rest = blocks[i][0] - size
        if rest >= 512 if small else rest > MIB:
            blocks[i : i + 1] = [[size, storage], [rest, None]]
        else:
            blocks[i][1] = storage

    def _segment(self, size: int, small: bool) -> int:
        asked = 2 * MIB if small else 20 * MIB if size < 10 * MIB else (size + 2 * MIB - 1) // (2 * MIB) * 2 * MIB
        if self.reserved + asked > self.capacity:
            self.retries += 1
            self.segments = [
                (kind, blocks) for kind, blocks in self.segments if len(blocks) > 1 or blocks[0][1] is not None
            ]
            if self.reserved + asked > self.capacity:
                raise MemoryError
        self.segments.insert(0, (small, [[asked, None]]))  # below the others
        return 0

    def free(self, storage: int) -> None:
        for _, blocks in self.segments:
            for block in blocks:
                if block[1] == storage:
                    block[1] = None
            for i in range(len(blocks) - 1, 0, -1):
                if blocks[i][1] is None and blocks[i - 1][1] is None:
                    blocks[i - 1][0] += blocks.pop(i)[0]

    @property
    def reserved(self) -> int:
        return sum(b[0] for _, blocks in self.segments for b in blocks)

    @property
    def allocated(self) -> int:
        return sum(b[0] for _, blocks in self.segments for b in blocks if b[1] is not None)


SIZES = st.one_of(
    st.integers(1, 4 * KIB),
    st.integers(1, 2 * MIB),
    st.integers(1, 40 * MIB),
    st.sampled_from([512, MIB, 2 * MIB, 10 * MIB, 11 * MIB, 20 * MIB]),
)


@st.composite
def streams(draw) -> list[Event]:
    """Allocations and frees in any order; the sizes sit around every limit of the rules and come back, as in
    training."""
    palette = draw(st.lists(SIZES, min_size=1, max_size=8))
    live: list[int] = []
    events: list[Event] = []
    for storage in range(draw(st.integers(1, 60))):
        for _ in range(draw(st.integers(0, 2))):
            if live:
                events.append((live.pop(draw(st.integers(0, len(live) - 1))), FREE))
        live.append(storage)
        events.append((storage, draw(st.sampled_from(palette))))
    return events


@settings(deadline=None, max_examples=200)
@given(streams(), st.one_of(st.just(float("inf")), st.integers(20 * MIB, 400 * MIB)))
def test_equals_the_slow_allocator_after_every_event(events, capacity):
    fast, slow, requests, refused = CachingAllocator(capacity), Slow(capacity), {}, set()
    for storage, size in events:
        if size == FREE and storage not in refused:
            fast.free(storage), slow.free(storage), requests.pop(storage)
        elif size != FREE:
            try:
                slow.allocate(storage, size)
            except MemoryError:
                refused.add(storage)
                with pytest.raises(OutOfMemory):
                    fast.allocate(storage, size)
            else:
                fast.allocate(storage, size)
                requests[storage] = size
        assert (fast.reserved_bytes, fast.allocated_bytes, fast.retries) == (
            slow.reserved,
            slow.allocated,
            slow.retries,
        )
        assert capacity >= fast.reserved_bytes >= fast.allocated_bytes >= sum(requests.values())


@settings(deadline=None)
@given(streams())
def test_live_blocks_do_not_overlap_and_freeing_all_leaves_only_whole_segments(events):
    allocator, live = CachingAllocator(), set()
    for storage, size in events:
        allocator.free(storage) if size == FREE else allocator.allocate(storage, size)
        live ^= {storage}
        ranges = sorted((block.address, block.address + block.size) for block in allocator._live.values())
        assert all(end <= start for (_, end), (start, _) in zip(ranges, ranges[1:]))
    for storage in live:
        allocator.free(storage)
    peak = allocator.reserved_bytes
    assert (allocator.allocated_bytes, allocator.peak_reserved_bytes) == (0, peak)
    allocator.empty_cache()
    assert allocator.stats() == Replay(peak, allocator.peak_allocated_bytes, 0, 0, retries=0)


def test_a_hundred_thousand_events_take_well_under_a_second_of_cpu():
    draw, live, events = random.Random(0), [], []
    for storage in range(62_000):
        events.append((storage, int(2 ** draw.uniform(9, 24))))
        live.append(storage)
        if draw.random() < 0.62:
            events.append((live.pop(draw.randrange(len(live))), FREE))
    assert len(events) > 100_000
    start = time.process_time()
    replay(events)
    assert time.process_time() - start < 1.0
