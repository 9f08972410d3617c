"""Headers that the client adds to calls of its own accord."""

from __future__ import annotations

from typing import Final

from etcd_async._protocol.headers import Metadata

COMMON_METADATA: Final[Metadata] = (("client-api-version", "3.5"),)
"""Of every call."""
HAS_LEADER: Final[Metadata] = (("hasleader", "true"),)
"""Ends a stream on a member that has lost its leader, instead of leaving it silent: clientv3.WithRequireLeader."""
