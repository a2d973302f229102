"""Streams kept on this machine, and reserved memory by them: a replay of the very recipe in a fraction of a second,
without torch."""

from __future__ import annotations

from typing import Any

from estimator.law.law import Law
from estimator.law.question import Question
from estimator.memory.replay import replay_run
from estimator.memory.stream import Stream
from estimator.recipe.batches import shape
from estimator.shelf import laws
from estimator.shelf.shelf import Shelf


def reserved_bytes(question: Question, law: Law, step_temporary_bytes: int) -> int | None:
    """Peak reserved bytes by the replay of the law's step, or None where its stream is not at hand or its layers do not
    repeat.

    A question that derives has a stream that is not at hand traced (about a second for a decoder) and kept, also that
    there is none; but not beside a law that is shipped, whose answer takes no torch.
    """
    model, recipe = question.model, question.recipe
    if law.engine != "traced" or not model.config:
        return None
    place = laws.place_of(law, question)
    key = (place, *law.versions.items())
    stream = STREAMS.kept(model, key, question.cache_dir)
    if stream is None and question.derive and not laws.is_shipped(model, place):
        stream = _traced(question)
        STREAMS.keep(stream, model, key, question.cache_dir)
    if not isinstance(stream, Stream):
        return None
    kept, step = stream.at(law.phi(*shape(recipe), recipe.r, question.batches.trained_share), recipe.r)
    workspace = question.platform.workspace_bytes
    replayed = replay_run(recipe, question.loop, kept, step, workspace, step_temporary_bytes=step_temporary_bytes)
    return replayed.peak_reserved_bytes


def _traced(question: Question) -> Stream | str:
    """The stream, or why there is none."""
    model, batches = question.model, question.batches
    try:
        from estimator.trace.stream_trace import derive_stream

        known = question.loop_name, question.platform, model.inventory.class_name, batches
        return derive_stream(question.recipe, model.known_config, *known)
    except Exception as error:  # as in `laws.traced`; the law is there, its range is wider
        return f"{type(error).__name__}: {error}"[:200]


def _read(data: dict[str, Any]) -> Stream | str:
    return str(data["none"]) if "none" in data else Stream.from_dict(data)


def _written(made: Stream | str) -> dict[str, Any]:
    return {"none": made} if isinstance(made, str) else made.to_dict()


STREAMS: Shelf[Stream | str] = Shelf("streams", _read, _written)
