"""Connections over TLS, against an etcd with certificates made here."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from etcd_async import TLS, Client, EtcdError, InsecureTLSWarning, Unavailable
from etcd_async.testing import EtcdServer
from tests.faults.certificates import Authority
from tests.support.live import take, within

HOSTS = ("127.0.0.1", "etcd.test")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "authority")


@pytest.fixture
async def secure(authority: Authority) -> AsyncIterator[EtcdServer]:
    """A server over TLS that asks for a client's certificate."""
    cert, key = authority.sign("server", hosts=HOSTS)
    flags = [f"--cert-file={cert}", f"--key-file={key}", f"--trusted-ca-file={authority.path}", "--client-cert-auth"]
    async with EtcdServer(extra_args=flags) as server:
        yield server


async def test_a_client_with_certificates_works(secure: EtcdServer, authority: Authority) -> None:
    cert, key = authority.sign("client")
    async with Client(secure.endpoint, tls=TLS(ca=authority.path, cert=cert, key=key)) as client:
        async with client.watch("/k") as watch, client.lease(5) as lease:
            await client.put("/k", b"v" * 1_000_000, lease=lease)
            (event,) = await take(watch, 1)
        assert len(event.kv.value) == 1_000_000


async def test_a_bare_host_is_reached_over_tls_where_tls_is_given(secure: EtcdServer, authority: Authority) -> None:
    cert, key = authority.sign("client")
    bare = secure.endpoint.removeprefix("https://")
    async with Client(bare, tls=TLS(ca=authority.path, cert=cert, key=key, server_name="etcd.test")) as client:
        assert await client.get("/k") is None


async def test_an_unknown_authority_is_refused_by_name_unless_told_not_to_look(
    secure: EtcdServer, authority: Authority, tmp_path: Path
) -> None:
    cert, key = authority.sign("client")
    stranger = Authority(tmp_path, "stranger")
    with pytest.raises(Unavailable, match=r"(?i)certificate") as caught:
        await within(Client.connect(secure.endpoint, tls=TLS(ca=stranger.path, cert=cert, key=key)))
    assert caught.value.attempts[0].endpoint == secure.endpoint
    with pytest.warns(InsecureTLSWarning):
        unverified = TLS(cert=cert, key=key, verify=False)
    async with Client(secure.endpoint, tls=unverified) as client:
        assert await client.get("/k") is None


async def test_another_name_in_the_certificate_is_refused(secure: EtcdServer, authority: Authority) -> None:
    cert, key = authority.sign("client")
    tls = TLS(ca=authority.path, cert=cert, key=key, server_name="somebody.else")
    with pytest.raises(Unavailable, match=r"(?i)somebody\.else|hostname"):
        await within(Client.connect(secure.endpoint, tls=tls))


async def test_a_client_without_certificate_is_an_error_at_once(secure: EtcdServer, authority: Authority) -> None:
    with pytest.raises(EtcdError):
        await within(Client.connect(secure.endpoint, tls=TLS(ca=authority.path)))


async def test_plain_text_to_a_secure_server_is_an_error_at_once(secure: EtcdServer) -> None:
    plain = secure.endpoint.replace("https://", "http://")
    with pytest.raises(EtcdError, match=plain):
        await within(Client.connect(plain))
