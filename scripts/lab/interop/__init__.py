"""Interoperability of IKEv2 with real peers: a table of checks, each a tunnel and what is measured on it."""
