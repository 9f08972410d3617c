from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etcd_async import Service
from etcd_async.recipes._balance import REST, Balancer, Policy

A, B, C = (Service("web", id, f"10.0.0.{number}:80") for number, id in enumerate("abc"))
SICK = Service("web", "b", B.address, is_healthy=False)


def balancer(policy: Policy = "round_robin", *services: Service) -> Balancer:
    made = Balancer(policy, Random(1))
    for service in services or (A, B, C):
        made.put(service)
    return made


def picks(balancer: Balancer, number: int, now: float = 0.0) -> str:
    found = [balancer.pick(now) for _ in range(number)]
    return "".join(service.id if service else "-" for service in found)


def test_each_has_its_turn() -> None:
    assert picks(balancer(), 7) == "abcabca"


def test_turns_go_on_through_changes() -> None:
    it = balancer()
    assert picks(it, 2) == "ab"
    it.remove(B)
    assert picks(it, 3) == "cac"
    it.put(B)
    assert picks(it, 3) == "abc"


def test_nobody_is_picked_where_nobody_is_healthy() -> None:
    it = balancer("round_robin", SICK)
    assert picks(it, 1) == "-"
    it.put(B)
    assert picks(it, 1) == "b"


def test_the_sick_are_left_out() -> None:
    assert picks(balancer("round_robin", A, SICK, C), 4) == "acac"


@pytest.mark.parametrize("policy", ["round_robin", "random", "least_recently_failed"])
def test_one_that_failed_is_spared_for_a_while(policy: Policy) -> None:
    it = balancer(policy)
    it.failed(B, 10.0)
    assert "b" not in picks(it, 20, 10.0 + REST - 0.1)
    if policy != "least_recently_failed":
        assert "b" in picks(it, 40, 10.0 + REST)
    it.succeeded(B)
    assert "b" in picks(it, 40, 10.0)


def test_if_all_failed_the_one_that_failed_first_is_picked() -> None:
    it = balancer()
    for now, service in enumerate((B, C, A)):
        it.failed(service, float(now))
    assert picks(it, 3, 3.0) == "bbb"


def test_least_recently_failed_goes_by_time() -> None:
    it = balancer("least_recently_failed")
    it.failed(A, 1.0)
    assert picks(it, 3, 100.0) == "bcb"
    it.failed(B, 2.0)
    it.failed(C, 3.0)
    assert picks(it, 2, 100.0) == "aa"


def test_chance_reaches_everybody() -> None:
    assert set(picks(balancer("random"), 100)) == set("abc")


def test_a_stranger_can_not_fail() -> None:
    it = balancer("round_robin", A)
    it.failed(B, 0.0)
    it.put(B)
    assert picks(it, 2) == "ab"


@given(st.lists(st.tuples(st.sampled_from(["put", "sick", "remove", "fail", "pick"]), st.sampled_from("abcde"))))
def test_whoever_is_picked_is_there_and_healthy(steps: list[tuple[str, str]]) -> None:
    it = Balancer("round_robin", Random(1))
    there: dict[str, bool] = {}
    for now, (step, id) in enumerate(steps):
        service = Service("web", id, "a:1", is_healthy=step != "sick")
        if step in ("put", "sick"):
            it.put(service)
            there[id] = service.is_healthy
        elif step == "remove":
            it.remove(service)
            there.pop(id, None)
        elif step == "fail":
            it.failed(service, float(now))
        else:
            picked = it.pick(float(now))
            assert (picked is None) is (True not in there.values())
            assert picked is None or there[picked.id]


def test_other_policies_are_refused() -> None:
    with pytest.raises(ValueError, match="policy must be one of round_robin, random, least_recently_failed"):
        Balancer("fastest", Random(1))  # type: ignore[arg-type]
