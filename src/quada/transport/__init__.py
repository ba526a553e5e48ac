"""transport: sockets and what travels on them. Knows nothing of DNS data."""
