"""Bytes to records and back: jute, frames, the client protocol, txns. Pure."""
