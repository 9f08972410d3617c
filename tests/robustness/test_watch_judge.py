"""The judge of watches: each rule rejects what breaks it, and no other does."""

from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from etcd_async import Event, KeyValue, ops
from tests.robustness import watch_judge
from tests.robustness.history import Asked, Compact, Ended, Failure, Got, History, Started, WatchLog, Word
from tests.robustness.samples import A, B, Tape, with_words
from tests.robustness.simulation import simulate
from tests.robustness.watch_judge import RULES

EVERYTHING = (b"\0", b"\0")
LAST = 8
Words = list[Word]


def history(**asked: object) -> History:
    """Return revisions 2 to 8 (3 and 6 of two keys), seen by one watch of all that began with ``Started``."""
    tape = Tape()
    tape.do(ops.put(A, "1"))
    tape.do(ops.txn(then=[ops.put(A, "2"), ops.put(B, "3")]))
    tape.do(ops.put(A, "4"))
    tape.do(ops.delete(A))
    tape.do(ops.txn(then=[ops.put(A, "5"), ops.put(B, "6")]))
    tape.do(ops.put(B, "7"))
    tape.do(ops.put(A, "8"))
    options = {"start_revision": 2, "prev_kv": True, **asked}
    return tape.history(Asked(*EVERYTHING, **options))  # type: ignore[arg-type]


def broken(spoiled: History) -> set[str]:
    return watch_judge.judge(spoiled).rules


def spoil(change: Callable[[Words], object], **asked: object) -> set[str]:
    """Return the rules broken once *change* was made to the words of a good watch."""
    good = history(**asked)
    assert broken(good) == set()
    words = list(good.watches[0].words)
    change(words)
    return broken(with_words(good, 0, words))


def got(words: Words, revision: int) -> Got:
    """Return the batch of a revision: in a good watch it stands at its own place."""
    word = words[at(revision)]
    assert isinstance(word, Got)
    assert word.revision == revision
    return word


def at(revision: int) -> int:
    return revision - 1


def change_event(words: Words, revision: int, change: Callable[[Event], Event], number: int = 0) -> None:
    events = list(got(words, revision).events)
    events[number] = change(events[number])
    words[at(revision)] = Got(revision, tuple(events))


def swap(words: Words) -> None:
    words[at(4)], words[at(5)] = words[at(5)], words[at(4)]


def swap_within_a_batch(words: Words) -> None:
    words[at(4)] = Got(5, (*got(words, 5).events, *got(words, 4).events))
    del words[at(5)]


def repeat(words: Words) -> None:
    words[at(4)] = Got(4, got(words, 4).events * 2)


def split(words: Words) -> None:
    first, second = got(words, 3).events
    words[at(3) : at(3) + 1] = [Got(3, (first,)), Got(3, (second,))]


def lose_half(words: Words) -> None:
    words[at(6)] = Got(6, got(words, 6).events[:1])


def progress_ahead(words: Words) -> None:
    words.insert(at(5), Got(5))


def progress_goes_back(words: Words) -> None:
    words.append(Got(LAST - 1))


def batch_ahead_of_the_next(words: Words) -> None:
    words[at(4)] = Got(5, got(words, 4).events)


def foreign_key(words: Words) -> None:
    words[at(5)] = Got(5, (Event("put", KeyValue(b"z", b"1", 5, 5, 1)),))


CASES: dict[str, tuple[str, Callable[[Words], object]]] = {
    "swapped batches": ("ordered", swap),
    "swapped in a batch": ("ordered", swap_within_a_batch),
    "a duplicated event": ("unique", repeat),
    "a split revision": ("atomic", split),
    "progress ahead of events": ("bookmarkable", progress_ahead),
    "progress that goes back": ("bookmarkable", progress_goes_back),
    "a batch that claims the next": ("bookmarkable", batch_ahead_of_the_next),
    "the first event lost": ("resumable", lambda words: words.pop(at(2))),
    "all events lost": ("resumable", lambda words: words.__setitem__(slice(1, -1), [])),
    "a lost event": ("reliable", lambda words: words.pop(at(4))),
    "half a revision lost": ("reliable", lose_half),
    "the last event lost, but progress": ("reliable", lambda words: words.pop(at(8))),
    "progress beyond the store": ("batch", lambda words: words.append(Got(LAST + 1))),
    "a batch behind its events": ("batch", lambda words: words.__setitem__(at(4), Got(3, got(words, 4).events))),
    "a wrong value": ("truthful", lambda words: change_event(words, 4, lambda e: with_kv(e, value=b"x"))),
    "a wrong version": ("truthful", lambda words: change_event(words, 4, lambda e: with_kv(e, version=9))),
    "a wrong lease": ("truthful", lambda words: change_event(words, 4, lambda e: with_kv(e, lease=9))),
    "a wrong is_create": ("is_create", lambda words: change_event(words, 4, lambda e: with_kv(e, create_revision=4))),
    "a creation not told": ("is_create", lambda words: change_event(words, 2, lambda e: with_kv(e, create_revision=1))),
    "a wrong prev_kv": ("prev_kv", lambda words: change_event(words, 4, lambda e: replace(e, prev_kv=KeyValue(A)))),
    "a missing prev_kv": ("prev_kv", lambda words: change_event(words, 5, lambda e: replace(e, prev_kv=None))),
    "a prev_kv of a creation": ("prev_kv", lambda words: change_event(words, 2, lambda e: replace(e, prev_kv=e.kv))),
    "an error to be survived": ("ended", lambda words: words.append(Ended("Unavailable"))),
    "a stalled watch": ("ended", lambda words: words.append(Ended("Stalled"))),
    "a compaction of nobody": ("ended", lambda words: words.append(Ended("Compacted", compact_revision=LAST + 5))),
}


def with_kv(event: Event, **changed: object) -> Event:
    return replace(event, kv=replace(event.kv, **changed))  # type: ignore[arg-type]


@pytest.mark.parametrize(("rule", "change"), CASES.values(), ids=CASES)
def test_a_spoiled_watch_is_rejected_by_the_rule_it_breaks(rule: str, change: Callable[[Words], object]) -> None:
    assert spoil(change) == {rule}


def test_every_rule_has_a_case_or_a_test() -> None:
    assert {rule for rule, _ in CASES.values()} | {"filter", "started"} == set(RULES)


def test_an_event_that_was_never_written_is_not_truthful() -> None:
    assert "truthful" in spoil(foreign_key)


def test_an_event_outside_the_filter_is_rejected() -> None:
    good = history()
    for narrower in (Asked(A, start_revision=2, prev_kv=True), Asked(B, b"z", 2, prev_kv=True)):
        watch = replace(good.watches[0], asked=narrower)
        assert broken(replace(good, watches=(watch,))) == {"filter"}
    puts_only = Asked(*EVERYTHING, start_revision=2, prev_kv=True, filters=("no_delete",))
    assert broken(replace(good, watches=(replace(good.watches[0], asked=puts_only),))) == {"filter"}


def test_an_event_from_before_the_start_is_rejected() -> None:
    later = history(start_revision=3)
    earlier = history().watches[0].words
    assert broken(with_words(later, 0, earlier)) == {"resumable"}


def test_a_prev_kv_nobody_asked_for_is_rejected() -> None:
    asked = history(prev_kv=False)
    assert broken(asked) == set()
    assert broken(with_words(asked, 0, history().watches[0].words)) == {"prev_kv"}


def test_a_prev_kv_that_was_compacted_away_may_be_missing() -> None:
    good = history()
    words = list(good.watches[0].words)
    change_event(words, 5, lambda event: replace(event, prev_kv=None))
    spoiled = with_words(good, 0, words)
    for revision, rules in ((5, set()), (4, {"prev_kv"})):
        tape = Tape(store=Tape().store)
        tape.lose(Compact(revision), applied=False)
        assert broken(replace(spoiled, operations=(*good.operations, *tape.operations))) == rules


def from_now(known: int, certain: int, first: int) -> set[str]:
    """Judge a watch from now that got everything from *first* on."""
    words = [Started(certain), *history().watches[0].words[first - 1 :]]
    return broken(with_words(history(start_revision=0, known_revision=known), 0, words))


def test_a_watch_from_now_brings_all_that_was_written_after_its_body_began() -> None:
    assert from_now(known=3, certain=5, first=4) == set()
    assert from_now(known=3, certain=5, first=6) == set()
    assert from_now(known=3, certain=5, first=7) == {"started"}
    assert from_now(known=3, certain=5, first=3) == {"started"}
    assert from_now(known=0, certain=0, first=5) == set()


def test_a_watch_from_now_without_events_is_held_to_its_progress() -> None:
    good = history(start_revision=0, known_revision=4)
    assert broken(with_words(good, 0, [Started(5)])) == set()
    assert broken(with_words(good, 0, [Started(5), Got(5)])) == set()
    assert broken(with_words(good, 0, [Started(5), Got(6)])) == {"started"}


def test_a_watch_may_end_compacted_only_where_it_had_not_come_to() -> None:
    good = history()
    compacted = Failure("DeadlineExceeded", maybe_applied=True)
    operations = tuple(replace(each, request=Compact(5), outcome=compacted) for each in good.operations[:1])
    end = Ended("Compacted", compact_revision=5)
    for words, rules in (
        ((end,), set()),
        ((Started(), *good.watches[0].words[1:3], end), set()),
        ((Started(), *good.watches[0].words[1:4], end), {"ended"}),
        ((Ended("Compacted", compact_revision=6),), {"ended"}),
    ):
        assert broken(replace(with_words(good, 0, words), operations=operations)) == rules


def test_a_watch_that_never_began_may_have_timed_out() -> None:
    assert broken(with_words(history(), 0, [Ended("DeadlineExceeded")])) == set()
    assert broken(with_words(history(), 0, [Started(), Ended("DeadlineExceeded")])) == {"ended"}


Mutation = Callable[[Words, int, Random], None]


def _drop(words: Words, position: int, random: Random) -> None:
    word = words[position]
    assert isinstance(word, Got)
    gone = random.randrange(len(word.events))
    words[position] = replace(word, events=tuple(e for number, e in enumerate(word.events) if number != gone))


def _repeat_later(words: Words, position: int, random: Random) -> None:
    words.insert(random.randint(position + 1, len(words)), words[position])


def _alter(words: Words, position: int, random: Random) -> None:
    word = words[position]
    assert isinstance(word, Got)
    number = random.randrange(len(word.events))
    events = list(word.events)
    names = ["mod_revision", "version", "lease"]
    name = random.choice(names if events[number].type == "delete" else [*names, "create_revision"])
    events[number] = with_kv(events[number], **{name: getattr(events[number].kv, name) + random.choice([-1, 1])})
    words[position] = replace(word, events=tuple(events))


def _retype(words: Words, position: int, random: Random) -> None:
    word = words[position]
    assert isinstance(word, Got)
    first, *others = word.events
    words[position] = replace(
        word, events=(replace(first, type="put" if first.type == "delete" else "delete"), *others)
    )


@given(st.integers(min_value=0), st.sampled_from([_drop, _repeat_later, _alter, _retype]))
def test_any_single_change_to_what_a_watch_brought_is_rejected(seed: int, mutate: Mutation) -> None:
    random = Random(seed)
    good = simulate(seed, steps=200)
    # What a watch from now may have missed at its beginning is nobody's fault.
    spoilable = [
        (log, position)
        for log in good.watches
        for position, word in enumerate(log.words)
        if log.asked.start_revision and isinstance(word, Got) and word.events
    ]
    assume(spoilable)
    log, position = random.choice(spoilable)
    words = list(log.words)
    mutate(words, position, random)
    assert broken(replace(good, watches=(replace(log, words=tuple(words)),)))


def test_a_hundred_thousand_events_are_judged() -> None:
    kvs = [KeyValue(b"k", b"%d" % revision, 2, revision, revision - 1) for revision in range(2, 100_002)]
    events = tuple(Event("put", kv, before) for kv, before in zip(kvs, [None, *kvs], strict=False))
    words: tuple[Word, ...] = (Started(), *(Got(event.revision, (event,)) for event in events))
    log = WatchLog(0, Asked(*EVERYTHING, start_revision=2, prev_kv=True), words)
    assert broken(History(watches=(log,), reference=events)) == set()
    assert broken(History(watches=(replace(log, words=words[:-2] + words[-1:]),), reference=events)) == {"reliable"}
