"""Endpoints from SRV records, asked of a real DNS server on the loopback."""

import sys
from urllib.parse import urlsplit

import pytest
from dns.resolver import BaseResolver, NoResolverConfiguration

from etcd_async import Client, Unavailable, endpoints_from_srv
from etcd_async.testing import EtcdServer
from tests.support.dnsserver import DnsServer

pytestmark = pytest.mark.loops("asyncio", "uvloop")

SECURE, PLAIN = "_etcd-client-ssl._tcp.example.com", "_etcd-client._tcp.example.com"


async def look_up(server: DnsServer, domain: str = "example.com", *, service_name: str = "") -> list[str]:
    return await endpoints_from_srv(domain, service_name=service_name, nameserver=server.address)


async def test_both_kinds_of_records_are_endpoints_in_the_order_of_their_priority() -> None:
    records = {
        SECURE: ["20 0 2379 b.example.com.", "10 0 2379 a.example.com."],
        PLAIN: ["10 10 12379 c.example.com.", "10 20 22379 c.example.com."],
    }
    async with DnsServer(records) as server:
        assert await look_up(server) == [
            "https://a.example.com:2379",
            "https://b.example.com:2379",
            "http://c.example.com:22379",
            "http://c.example.com:12379",
        ]
        assert set(server.asked) == {SECURE, PLAIN}  # a slow answer is asked for again


@pytest.mark.parametrize(
    "records", [{PLAIN: ["0 0 1 a.example.com."]}, {PLAIN: ["0 0 1 a.example.com."], SECURE: ["0 0 0 ."]}]
)
async def test_one_kind_is_enough(records: dict[str, list[str]]) -> None:
    async with DnsServer(records) as server:
        assert await look_up(server) == ["http://a.example.com:1"]


async def test_a_name_tells_clusters_of_one_domain_apart() -> None:
    async with DnsServer({"_etcd-client-ssl-blue._tcp.example.com": ["0 0 1 a.example.com."]}) as server:
        assert await look_up(server, service_name="blue") == ["https://a.example.com:1"]
        with pytest.raises(Unavailable):
            await look_up(server)


@pytest.mark.parametrize(
    ("records", "reason"),
    [({}, "does not exist"), ({SECURE: ["0 0 0 ."], PLAIN: ["0 0 0 ."]}, "not offered")],
)
async def test_if_there_is_nothing_the_error_names_each_lookup(records: dict[str, list[str]], reason: str) -> None:
    async with DnsServer(records) as server:
        with pytest.raises(Unavailable) as caught:
            await look_up(server)
        assert [attempt.endpoint for attempt in caught.value.attempts] == [SECURE, PLAIN]
        assert all(reason in attempt.reason for attempt in caught.value.attempts)


async def test_a_server_that_does_not_answer_is_an_error_in_time() -> None:
    async with DnsServer({SECURE: None, PLAIN: None}) as server:
        with pytest.raises(Unavailable, match="expired"):
            await endpoints_from_srv("example.com", timeout=0.2, nameserver=server.address)


@pytest.mark.parametrize("domain", ["a..b", "x" * 64])
async def test_what_is_no_domain_is_refused(domain: str) -> None:
    with pytest.raises(ValueError, match="no name in the DNS"):
        await endpoints_from_srv(domain, nameserver="127.0.0.1:1")


@pytest.mark.parametrize("nameserver", ["ns.example.com", "127.0.0.1:99999", "127.0.0.1:0", "127.0.0.1:dns"])
async def test_what_is_no_address_of_a_nameserver_is_refused(nameserver: str) -> None:
    with pytest.raises(ValueError, match=r"address|port|int"):
        await endpoints_from_srv("example.com", nameserver=nameserver)


async def test_a_system_that_knows_no_nameserver_is_an_error_of_etcd_async(monkeypatch: pytest.MonkeyPatch) -> None:
    def read_nothing(resolver: BaseResolver, path: object) -> None:
        raise NoResolverConfiguration

    monkeypatch.setattr(BaseResolver, "read_resolv_conf", read_nothing)
    with pytest.raises(Unavailable, match="the system's resolver"):
        await endpoints_from_srv("example.com")


async def test_without_dnspython_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dns.asyncresolver", None)
    with pytest.raises(ImportError, match=r"etcd-async\[srv\]"):
        await endpoints_from_srv("example.com")


async def test_a_client_reaches_what_was_found(etcd_server: EtcdServer) -> None:
    port = urlsplit(etcd_server.endpoint).port
    async with DnsServer({PLAIN: [f"0 0 {port} localhost."]}) as server, Client(await look_up(server)) as client:
        assert (await client.put("/srv/k", "v")).revision > 0
