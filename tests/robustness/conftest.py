"""A cluster for what is to be tested of the runs' own machinery."""

from collections.abc import AsyncIterator

import pytest

from tests.robustness.cluster import Cluster


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    async with Cluster() as cluster:
        yield cluster
