"""What is written down in a run is what the judges read, and is counted."""

from pathlib import Path

from etcd_async import Unavailable, put
from etcd_async.types import Event, KeyValue
from tests.robustness import history
from tests.robustness.history import Answer, Asked, Ended, Failure, Got, Operation, Started, WatchLog
from tests.robustness.recorder import Recorder, summary

EVENT = Event("put", KeyValue(b"/k/1", b"1", 5, 5, 1))


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    with Recorder(tmp_path, clock=iter(range(10, 100)).__next__) as recorder:
        client = recorder.new_client()
        recorder.operation(client, put("/k/1", "1"), 3, Answer(5))
        watch = recorder.asked(Asked(b"/k/", b"/k0"))
        for word in (Started(4), Got(5, (EVENT,)), Ended()):
            recorder.watch(watch, word)
    (tmp_path / history.REFERENCE).touch()
    (tmp_path / history.RUN).write_text("{}")

    read = history.read(tmp_path)
    assert read.operations == (Operation(client, put("/k/1", "1"), 3, 10, Answer(5)),)
    assert read.watches == (WatchLog(watch, Asked(b"/k/", b"/k0"), (Started(4), Got(5, (EVENT,)), Ended())),)


def test_outcomes_are_counted(tmp_path: Path) -> None:
    request = put("/k/1", "1")
    with Recorder(tmp_path) as recorder:
        recorder.operation(1, request, 0, Answer(5))
        recorder.operation(1, request, 0, history.failure(Unavailable([], maybe_applied=False)))
        recorder.operation(1, request, 0, Failure("TimeoutError", maybe_applied=True))
    assert recorder.total == 3
    assert summary(recorder.operations) == "put 1/1/1"


def test_the_highest_revision_is_remembered(tmp_path: Path) -> None:
    with Recorder(tmp_path) as recorder:
        recorder.operation(1, put("/k/1", "1"), 0, Answer(5))
        recorder.watch(1, Got(4))
        assert recorder.revision == 5
        recorder.watch(1, Got(7, (Event("put", KeyValue(b"/k/1", mod_revision=7)),)))
        assert recorder.revision == 7
        assert recorder.events == 1
