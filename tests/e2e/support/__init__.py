"""The real parts that the tests and the benchmark start: Postgres, livekit-server, quell, clients."""
