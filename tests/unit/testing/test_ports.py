"""Ports that no outgoing connection can take."""

import socket

import pytest

from etcd_async.testing import Ports, ports


def test_ports_are_below_those_of_outgoing_connections() -> None:
    assert all(10_000 <= ports.free_port() < 32_768 for _ in range(50))


def test_no_port_occurs_twice_in_one_choice() -> None:
    chosen = Ports.pick_many(20)
    assert len({port for one in chosen for port in (one.client, one.peer, one.metrics)}) == 60


def test_a_port_that_is_taken_is_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    with ports.listener() as taken:
        number = taken.getsockname()[1]
        free = ports.free_port()
        monkeypatch.setattr(ports, "_random", Choices(number, number, free))
        assert ports.free_port() == free


def test_running_out_of_ports_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with ports.listener() as taken:
        monkeypatch.setattr(ports, "_random", Choices(*[taken.getsockname()[1]] * 100))
        with pytest.raises(OSError, match="none of 100 ports"):
            ports.free_port()


def test_a_listener_accepts_on_the_port_asked_for() -> None:
    number = ports.free_port()
    with ports.listener(number), socket.create_connection(("127.0.0.1", number), timeout=5) as client:
        assert client.getpeername()[1] == number


class Choices:
    def __init__(self, *values: int) -> None:
        self._values = iter(values)

    def choice(self, _: range) -> int:
        return next(self._values)
