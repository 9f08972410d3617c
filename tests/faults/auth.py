"""Servers with users, and their passwords."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from etcd_async import Client
from etcd_async.testing import EtcdServer
from tests.faults.support import QUICK, UNFORGETFUL
from tests.support.live import metric

ROOT_PASSWORD = "correct horse battery staple"
ANN_PASSWORD = "hunter2-hunter2"


async def enable_auth(client: Client, *, with_passwords: bool = True) -> None:
    """Make ``root``, and ``ann`` who may read and write ``/ann/``, and turn authentication on."""
    auth = client.auth
    for user, password in (("root", ROOT_PASSWORD), ("ann", ANN_PASSWORD)):
        await auth.add_user(user, password if with_passwords else None)
        await auth.add_role(user)
        await auth.grant_role(user, user)
    await auth.grant_permission("ann", prefix="/ann/")
    await auth.enable()


@asynccontextmanager
async def guarded_server(*arguments: str) -> AsyncIterator[EtcdServer]:
    """A server with `enable_auth` done, whose passwords are cheap to check."""
    async with EtcdServer(extra_args=(*QUICK, *UNFORGETFUL, "--bcrypt-cost=4", *arguments)) as server:
        async with Client(server.endpoint) as client:
            await enable_auth(client)
        yield server


def ann(endpoint: str, password: str = ANN_PASSWORD) -> Client:
    return Client(endpoint, user="ann", password=password)


def root(server: EtcdServer) -> Client:
    return Client(server.endpoint, user="root", password=ROOT_PASSWORD)


def jwt(directory: Path, *, ttl: str) -> str:
    """Return the argument of an etcd that signs its tokens, with a key of its own; each names the users' revision."""
    key = ec.generate_private_key(ec.SECP256R1())
    private, public = directory / "jwt.key", directory / "jwt.pub"
    form = serialization.PrivateFormat.TraditionalOpenSSL  # all that etcd 3.4 and 3.5 can read
    private.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    info = serialization.PublicFormat.SubjectPublicKeyInfo
    public.write_bytes(key.public_key().public_bytes(serialization.Encoding.PEM, info))
    return f"--auth-token=jwt,pub-key={public},priv-key={private},sign-method=ES256,ttl={ttl}"


async def logins(server: EtcdServer) -> int:
    """Return how often anybody has asked for a token since the server's start."""
    labels = 'grpc_method="Authenticate",grpc_service="etcdserverpb.Auth",grpc_type="unary"'
    return round(await metric(server, f"grpc_server_started_total{{{labels}}}"))
