"""How endpoints are spelled."""

import pytest

from etcd_async._protocol.endpoints import Endpoint, parse


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


def test_an_endpoint_without_measure_is_refused_at_once_in_few_words() -> None:
    with pytest.raises(ValueError, match="white space") as caught:
        parse("x y" + "x" * 3_000_000)
    assert len(str(caught.value)) < 200


def test_an_endpoint_must_be_text() -> None:
    with pytest.raises(TypeError, match="not int"):
        parse(2379)  # type: ignore[arg-type]
