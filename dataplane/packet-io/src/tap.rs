//! TAP devices (in the making).
