"""What to say to etcd and what its answers mean: decisions without any I/O, clock or randomness of their own."""
