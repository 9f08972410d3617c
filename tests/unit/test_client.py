"""What the constructor refuses, by name and without a loop or a network."""

from typing import Any

import pytest

from etcd_async import TLS, Client


@pytest.mark.parametrize(
    ("arguments", "error", "complaint"),
    [
        ({"endpoints": 2379}, TypeError, "endpoints must be str or a sequence of str, not int"),
        ({"endpoints": []}, ValueError, "endpoints must name at least one server"),
        ({"endpoints": [2379]}, TypeError, "an endpoint must be a str, not int"),
        ({"endpoints": "ftp://h"}, ValueError, "unknown scheme 'ftp'"),
        ({"endpoints": "http://h:2379/path"}, ValueError, "something after the host and port"),
        ({"endpoints": "http://user:pw@h"}, ValueError, "pass user= and password= instead"),
        ({"user": "root"}, ValueError, "user and password must be given together"),
        ({"password": "pw"}, ValueError, "user and password must be given together"),
        ({"user": "", "password": "pw"}, ValueError, "user must not be empty"),
        ({"user": 1, "password": "pw"}, TypeError, "user must be str, not int"),
        ({"user": "root", "password": b"pw"}, TypeError, "password must be str, not bytes"),
        ({"user": "root", "password": "pw\udc80"}, ValueError, "password is not text that UTF-8 can hold"),
        ({"token": b"pw"}, TypeError, "token must be str, not bytes"),
        ({"token": "pw", "user": "root", "password": "p"}, ValueError, "token takes the place of user and password"),
        ({"token": ""}, ValueError, "token must be of printable ASCII"),
        ({"token": "pw pw"}, ValueError, "token must be of printable ASCII"),
        ({"token": "pw\n"}, ValueError, "token must be of printable ASCII"),
        ({"token": "pwé"}, ValueError, "token must be of printable ASCII"),
        ({"tls": "ca.pem"}, TypeError, "tls must be a TLS, not str"),
        ({"endpoints": "http://h", "tls": TLS()}, ValueError, "every endpoint is a plain one"),
        ({"namespace": 1}, TypeError, "namespace must be str or bytes"),
        ({"timeout": 0}, ValueError, "timeout must be positive, or None for no limit"),
        ({"timeout": "5"}, TypeError, "timeout must be a number of seconds"),
        ({"endpoint_sync": 0}, ValueError, "endpoint_sync must be positive, or None for never"),
        ({"endpoint_sync": float("inf")}, ValueError, "endpoint_sync must be positive"),
        ({"endpoint_sync": True}, TypeError, "endpoint_sync must be a number of seconds"),
        ({"transport": 5}, TypeError, "transport must be a TransportOptions, not int"),
    ],
)
def test_a_wrong_argument_is_named(arguments: dict[str, Any], error: type[Exception], complaint: str) -> None:
    with pytest.raises(error, match=complaint) as caught:
        Client(**arguments)
    assert "pw" not in str(caught.value).replace("password", "")


def test_endpoints_may_be_one_several_or_a_list_in_one_text() -> None:
    assert repr(Client()) == "<Client localhost:2379>"
    for several in ("http://a:1,http://b:2", ["http://a:1", "http://b:2"]):
        assert set(repr(Client(several))[len("<Client ") : -1].split(", ")) == {"http://a:1", "http://b:2"}
    assert "secret" not in repr(Client(user="root", password="secret"))
    assert "secret" not in repr(Client(token="secret"))
