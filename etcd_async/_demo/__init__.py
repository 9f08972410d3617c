"""
The guided tour, ``python -m etcd_async demo``.

`keys`, `leases`, `locks`, `elections` and `services` hold one function per step, and are meant to be read; `tour` runs
them; `stage` is how a step speaks and checks what it sees; `holder` is the second process of the lock's step.
"""
