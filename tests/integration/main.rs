//! quell against real parts: Postgres and the LiveKit double.
