"""Many deadlines, of which the next is at hand: held against a plain dict."""

from hypothesis import given
from hypothesis import strategies as st

from etcd_async._protocol.timers import Timers

TIMES = st.integers(0, 20).map(float)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("set"), st.integers(0, 5), TIMES),
        st.tuples(st.just("discard"), st.integers(0, 5), TIMES),
        st.tuples(st.just("take"), st.just(0), TIMES),
    ),
    max_size=300,
)


@given(STEPS)
def test_the_next_time_and_what_is_due_are_those_of_a_plain_table(steps: list[tuple[str, int, float]]) -> None:
    timers, table = Timers(), dict[int, float]()
    for step, key, time in steps:
        if step == "set":
            timers.set(key, time)
            table[key] = time
        elif step == "discard":
            timers.discard(key)
            table.pop(key, None)
        else:
            due = sorted((at, each) for each, at in table.items() if at <= time)
            assert list(timers.take_due(time)) == [each for _, each in due]
            table = {each: at for each, at in table.items() if at > time}
        assert timers.next() == min(table.values(), default=None)


def test_settings_of_the_past_do_not_pile_up() -> None:
    timers = Timers()
    for time in range(100_000):
        timers.set(time % 10, float(time))
    assert len(timers._heap) < 200
    assert timers.next() == 99_990.0
