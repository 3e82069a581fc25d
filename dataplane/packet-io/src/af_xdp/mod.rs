//! Devices by AF_XDP (in the making).
