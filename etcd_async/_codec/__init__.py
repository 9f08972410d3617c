"""
From messages and operations to bytes, and from bytes to messages and to the types that users see.

`encode` and `decode` serve every wire message.
"""

from __future__ import annotations

from etcd_async._codec.messages import decode, encode
from etcd_async._codec.reading import DecodeError

__all__ = ["DecodeError", "decode", "encode"]
