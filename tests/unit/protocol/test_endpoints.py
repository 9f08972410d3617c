"""How endpoints are spelled, and which one a call goes to next."""

from random import Random

import pytest

from etcd_async._protocol.endpoints import Endpoint, EndpointState, Pool, parse
from etcd_async.options import Backoff

STEADY = Backoff(initial=1.0, factor=2.0, maximum=5.0, jitter=0.0)


@pytest.mark.parametrize(
    ("text", "normal", "host", "port", "tls", "server_name", "authority"),
    [
        ("127.0.0.1", "127.0.0.1:2379", "127.0.0.1", 2379, None, "127.0.0.1", "127.0.0.1:2379"),
        ("localhost", "localhost:2379", "localhost", 2379, None, "localhost", "localhost:2379"),
        ("localhost:8080", "localhost:8080", "localhost", 8080, None, "localhost", "localhost:8080"),
        ("etcd.io", "etcd.io:2379", "etcd.io", 2379, None, "etcd.io", "etcd.io:2379"),
        ("http://127.0.0.1", "http://127.0.0.1:2379", "127.0.0.1", 2379, False, "127.0.0.1", "127.0.0.1:2379"),
        ("HTTP://h:1/", "http://h:1", "h", 1, False, "h", "h:1"),
        (
            "https://Localhost:20000",
            "https://localhost:20000",
            "localhost",
            20000,
            True,
            "localhost",
            "localhost:20000",
        ),
        ("[::1]", "[::1]:2379", "::1", 2379, None, "::1", "[::1]:2379"),
        (
            "[2001:db8::6e8]:100",
            "[2001:db8::6e8]:100",
            "2001:db8::6e8",
            100,
            None,
            "2001:db8::6e8",
            "[2001:db8::6e8]:100",
        ),
        ("http://[::1]:100/", "http://[::1]:100", "::1", 100, False, "::1", "[::1]:100"),
        ("http://[fe80::1%eth0]:1", "http://[fe80::1%eth0]:1", "fe80::1%eth0", 1, False, "fe80::1", "[fe80::1]:1"),
    ],
)
def test_a_tcp_endpoint_is_read(
    text: str, normal: str, host: str, port: int, tls: bool | None, server_name: str, authority: str
) -> None:
    assert parse(text) == Endpoint(normal, host, port, None, tls, server_name, authority)


@pytest.mark.parametrize(
    ("text", "normal", "path", "tls", "server_name"),
    [
        ("unix:127.0.0.1:8080", "unix:127.0.0.1:8080", "127.0.0.1:8080", None, "127.0.0.1"),
        ("unix://127.0.0.1", "unix:127.0.0.1", "127.0.0.1", None, "127.0.0.1"),
        ("unixs:127.0.0.1:8080", "unixs:127.0.0.1:8080", "127.0.0.1:8080", True, "127.0.0.1"),
        ("unix:///tmp/abc", "unix:///tmp/abc", "/tmp/abc", None, "abc"),
        ("unix:/tmp/abc", "unix:///tmp/abc", "/tmp/abc", None, "abc"),
        ("unixs:///tmp/abc:1234", "unixs:///tmp/abc:1234", "/tmp/abc:1234", True, "abc"),
        (
            "unix:un-expected_name#1$4",
            "unix:un-expected_name#1$4",
            "un-expected_name#1$4",
            None,
            "un-expected_name#1$4",
        ),
    ],
)
def test_a_socket_endpoint_is_read(text: str, normal: str, path: str, tls: bool | None, server_name: str) -> None:
    assert parse(text) == Endpoint(normal, None, None, path, tls, server_name, "localhost")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no host"),
        ("http://", "no host"),
        (":2379", "no host"),
        ("unix:", "no path"),
        ("unix://", "no path"),
        ("dns://something", "unknown scheme 'dns'"),
        ("ftp://h", "unknown scheme 'ftp'"),
        ("http://h:0", "port 0"),
        ("h:", "not a host with a port"),
        ("h:port", "not a host with a port"),
        ("h:70000", "not a host with a port"),
        ("::1", "not a host with a port"),
        ("[::1", "not a host with a port"),
        ("1:2:3", "not a host with a port"),
        ("http://h/path", "something after"),
        ("http://h?query", "something after"),
        ("http://h#fragment", "something after"),
        ("h h", "white space"),
        ("h\n", "white space"),
        ("h1:2379,h2:2379", "not a host with a port"),
        ("h1,h2:2379", "several endpoints are a list"),
    ],
)
def test_anything_else_is_refused_by_name(text: str, why: str) -> None:
    with pytest.raises(ValueError, match="bad endpoint") as caught:
        parse(text)
    assert why in str(caught.value)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize("text", ["http://root:secret@h:2379", "root:secret@h", "ftp://root:secret@h"])
def test_a_password_in_an_endpoint_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(ValueError, match="bad endpoint") as caught:
        parse(text)
    assert "secret" not in str(caught.value)


def test_an_endpoint_must_be_text() -> None:
    with pytest.raises(TypeError, match="not int"):
        parse(2379)  # type: ignore[arg-type]


A, B, C = (parse(f"http://{name}:1") for name in "abc")


def pool(*endpoints: Endpoint, seed: int = 0) -> Pool:
    return Pool(endpoints or (A, B, C), backoff=STEADY, random=Random(seed))


def test_endpoints_are_taken_in_turn() -> None:
    turns = pool()
    chosen = [turns.choose(0.0) for _ in range(6)]
    assert chosen[:3] == chosen[3:]
    assert set(chosen) == {A, B, C}


def test_clients_with_one_list_start_at_different_members() -> None:
    assert {pool(seed=seed).choose(0.0) for seed in range(30)} == {A, B, C}


def test_the_same_endpoint_twice_counts_once() -> None:
    assert len(pool(A, B, A)) == 2


def test_no_endpoint_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Pool([], backoff=STEADY, random=Random(0))


def test_a_failed_endpoint_is_passed_over_until_it_is_due() -> None:
    turns = pool(A, B)
    turns.failed(A, 10.0, "refused")
    assert {turns.choose(10.9) for _ in range(4)} == {B}
    assert {turns.choose(11.0) for _ in range(4)} == {A, B}


def test_a_success_takes_an_endpoint_back_at_once() -> None:
    turns = pool(A, B)
    turns.failed(A, 10.0, "refused")
    turns.succeeded(A)
    assert {turns.choose(10.0) for _ in range(4)} == {A, B}


def test_excluded_endpoints_are_left_out_while_others_are_left() -> None:
    turns = pool()
    assert {turns.choose(0.0, [A, B]) for _ in range(4)} == {C}
    turns.failed(C, 0.0, "refused")
    assert {turns.choose(0.0, [A, B]) for _ in range(4)} == {C}
    assert {turns.choose(0.0, [A, B, C]) for _ in range(4)} == {A, B}


def test_if_all_are_set_aside_the_one_due_soonest_is_taken() -> None:
    turns = pool()
    for endpoint, at in ((B, 0.0), (C, 0.1), (A, 0.2)):
        turns.failed(endpoint, at, "refused")
    assert [turns.choose(0.3) for _ in range(3)] == [B, B, B]


def test_the_wait_grows_with_failures_in_a_row_up_to_its_maximum() -> None:
    turns = pool(A, B)
    now, waits = 0.0, []
    for _ in range(5):
        turns.failed(A, now, "refused")
        waits.append(next(after for after in (1, 2, 4, 5) if A in {turns.choose(now + after) for _ in range(2)}))
        now += waits[-1]
    assert waits == [1, 2, 4, 5, 5]


def test_many_calls_failing_at_once_count_as_one_failure() -> None:
    turns = pool(A, B)
    for _ in range(64):
        turns.failed(A, 5.0, "connection lost")
    turns.failed(A, 5.5, "refused")
    assert turns.state()[0] == EndpointState("http://a:1", False, 1, 5.0, "refused")
    assert A in {turns.choose(6.0) for _ in range(2)}


def test_the_state_tells_since_when_and_why() -> None:
    turns = pool(A, B)
    turns.failed(B, 3.0, "refused")
    turns.failed(B, 9.0, "timed out")
    assert turns.state() == (EndpointState("http://a:1"), EndpointState("http://b:1", False, 2, 3.0, "timed out"))
