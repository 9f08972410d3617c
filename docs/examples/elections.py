"""Choose one of several to lead."""

import asyncio
import os

from etcd_async import Client, LeadershipLost

ENDPOINT = os.environ.get("ETCD_ENDPOINT", "http://localhost:2379")


# --8<-- [start:campaign]
async def stand(client: Client, node: str) -> None:
    election = client.election("leader/scheduler", identity=node, ttl=10)
    try:
        async with election.campaign() as leadership:  # enters on winning
            await leadership.proclaim(f"{node}, ready")
            print(node, "leads, term", leadership.fencing_token)
    except LeadershipLost as loss:
        print(node, "no longer leads:", loss)


# --8<-- [end:campaign]
# --8<-- [start:ask]
async def ask(client: Client) -> None:
    leader = await client.election("leader/scheduler").leader()
    print("the leader:", leader.decode() if leader is not None else "nobody")


# --8<-- [end:ask]
# --8<-- [start:observe]
async def observe(client: Client) -> None:
    async for word in client.election("leader/scheduler").observe():
        print("heard:", word.decode())


# --8<-- [end:observe]
async def main() -> None:
    async with Client(ENDPOINT, namespace="/examples/elections/") as client:
        watching = asyncio.create_task(observe(client))
        await stand(client, "node-1")
        await ask(client)
        await asyncio.gather(stand(client, "node-2"), stand(client, "node-3"))
        watching.cancel()


asyncio.run(main())
