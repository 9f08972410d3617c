"""Bytes to and from etcd: connections, calls and streams. The only code that imports grpclib, h2 and hpack."""
