"""Ports that no outgoing connection can take."""

import itertools
import os
import socket

import pytest

from etcd_async.testing import Ports, ports


def test_ports_are_below_those_of_outgoing_connections() -> None:
    assert all(10_000 <= ports.free_port() < 32_768 for _ in range(50))


def test_no_port_occurs_twice_in_one_choice() -> None:
    chosen = Ports.pick_many(20)
    assert len({port for one in chosen for port in (one.client, one.peer, one.metrics)}) == 60


def test_a_port_is_not_chosen_again_soon() -> None:
    chosen = [ports.free_port() for _ in range(1000)]
    assert len(set(chosen)) == 1000


def test_processes_side_by_side_choose_from_different_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    claims: dict[int, int] = {}
    monkeypatch.setattr(ports, "_claims", claims)
    monkeypatch.setattr(ports, "_candidates", {})
    chosen: list[set[int]] = []
    try:
        for process in range(1, 100, ports._SHARES):  # all of which would choose the same share
            monkeypatch.setattr(os, "getpid", lambda process=process: process)
            chosen.append({ports.free_port() for _ in range(900)})
    finally:
        for claim in claims.values():
            os.close(claim)
    assert len(set().union(*chosen)) == 5 * 900


def test_a_port_that_is_taken_is_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    with ports.listener() as taken:
        number = taken.getsockname()[1]
        free = ports.free_port()
        monkeypatch.setattr(ports, "_candidate", iter([number, number, free]).__next__)
        assert ports.free_port() == free


def test_running_out_of_ports_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with ports.listener() as taken:
        monkeypatch.setattr(ports, "_candidate", itertools.repeat(taken.getsockname()[1]).__next__)
        with pytest.raises(OSError, match="none of 100 ports"):
            ports.free_port()


def test_a_listener_accepts_on_the_port_asked_for() -> None:
    number = ports.free_port()
    with ports.listener(number), socket.create_connection(("127.0.0.1", number), timeout=5) as client:
        assert client.getpeername()[1] == number
