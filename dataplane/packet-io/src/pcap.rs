//! Captures in, captures out (in the making).
