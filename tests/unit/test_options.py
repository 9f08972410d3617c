import warnings
from math import nan
from pathlib import Path
from typing import Any

import pytest

from etcd_async.options import CLIENT_DEFAULT, TLS, Credentials, InsecureTLSWarning, TransportOptions


def test_a_password_never_shows() -> None:
    assert "hunter2" not in repr(Credentials("root", "hunter2"))
    with pytest.raises(ValueError, match="password is not text that UTF-8 can hold") as caught:
        Credentials("root", "hunter2\udc80")
    assert "hunter2" not in repr(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("arguments", "error", "complaint"),
    [
        ({"cert": "c.pem"}, ValueError, "cert and key must be given together"),
        ({"key": "k.pem"}, ValueError, "cert and key must be given together"),
        ({"ca": ""}, ValueError, "ca must be the path of a file, not ''"),
        ({"ca": "a\0b"}, ValueError, "ca must be the path of a file"),
        ({"cert": "", "key": "k"}, ValueError, "cert must be the path of a file"),
        ({"cert": "c", "key": "k\0"}, ValueError, "key must be the path of a file"),
        ({"ca": Path("a\0b")}, ValueError, "ca must be the path of a file"),
        ({"ca": b"-----BEGIN CERTIFICATE-----"}, TypeError, "ca must be the path of a file, not bytes"),
        ({"server_name": ""}, ValueError, "server_name must be a host name"),
        ({"server_name": "a\0b"}, ValueError, "server_name must be a host name"),
        ({"server_name": ".example"}, ValueError, "server_name must be a host name"),
        ({"server_name": "a..b"}, ValueError, "server_name must be a host name"),
        ({"server_name": "a" * 64}, ValueError, "server_name must be a host name"),
        ({"server_name": b"etcd"}, TypeError, "server_name must be str, not bytes"),
        ({"verify": "ca.pem"}, TypeError, "verify must be True or False, not str; authorities go into ca"),
        ({"verify": None}, TypeError, "verify must be True or False"),
    ],
)
def test_certificates_and_names_that_can_be_none_are_refused_when_they_are_given(
    arguments: dict[str, Any], error: type[Exception], complaint: str
) -> None:
    with pytest.raises(error, match=complaint):
        TLS(**arguments)


@pytest.mark.parametrize("name", ["etcd.example", "127.0.0.1", "::1", "bücher.example", "h"])
def test_names_and_addresses_may_be_expected(name: str) -> None:
    assert TLS(server_name=name).server_name == name


def test_to_verify_nothing_warns_where_it_is_said() -> None:
    with pytest.warns(InsecureTLSWarning, match="trusts whoever answers") as caught:
        TLS(verify=False)
    assert [each.filename for each in caught] == [__file__]


def test_the_warning_is_given_once_for_each_place_in_the_program() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(3):
            TLS(verify=False)
    assert len(caught) == 1


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"connect_timeout": 0}, "connect_timeout must be positive"),
        ({"ping_timeout": -1}, "ping_timeout must be positive"),
        ({"ping_timeout": nan}, "ping_timeout must be positive"),
        ({"ping_interval": nan}, "ping_interval must be at least 5 s"),
        ({"max_send_bytes": 0}, "max_send_bytes must be positive"),
        ({"max_receive_bytes": 0}, "max_receive_bytes must be positive"),
        ({"ping_interval": 4.9}, "ping_interval must be at least 5 s"),
        ({"stream_window": 1}, "stream_window must be at least 65535"),
        ({"stream_window": 2**25, "connection_window": 2**24}, "at most connection_window"),
        ({"connection_window": 2**31}, "below 2\\*\\*31"),
    ],
)
def test_options_out_of_bounds_are_refused_by_name(arguments: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        TransportOptions(**arguments)


def test_the_clients_default_is_told_from_no_limit() -> None:
    assert CLIENT_DEFAULT is not None
    assert repr(CLIENT_DEFAULT) == "CLIENT_DEFAULT"
