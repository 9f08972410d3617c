from typing import Any

import pytest

from etcd_async.options import CLIENT_DEFAULT, TLS, Credentials, TransportOptions


def test_a_password_never_shows() -> None:
    assert "hunter2" not in repr(Credentials("root", "hunter2"))


def test_a_certificate_needs_its_key() -> None:
    with pytest.raises(ValueError, match="cert and key must be given together"):
        TLS(cert="c.pem")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"connect_timeout": 0}, "connect_timeout must be positive"),
        ({"ping_timeout": -1}, "ping_timeout must be positive"),
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
