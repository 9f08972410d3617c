"""What the documentation says of the running etcd's version is so."""

import pytest

from etcd_async.testing import EtcdServer
from tests.integration.compatibility import ROWS, Row
from tests.support.versions import VERSIONS

pytestmark = pytest.mark.timeout(120)


@pytest.mark.usefixtures("client")  # no lease that expires meanwhile, which would be a revision
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.observe.__name__)
async def test_what_the_table_says_of_this_etcd_is_so(row: Row, etcd_server: EtcdServer) -> None:
    if etcd_server.version not in VERSIONS:
        pytest.skip(f"the table is about etcd {', '.join(VERSIONS)}, not {etcd_server.version}")
    assert await row.observe(etcd_server) == row.cells[etcd_server.version]
