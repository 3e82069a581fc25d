//! Who is there: what AUTH proves, how it is made and how it is checked (RFC 7296 §2.15).
//!
//! Both sides prove that they know the IKE_SA_INIT message that they sent ([`octets`]): with a pre-shared key ([`psk`]) or with a
//! signature. Everything of the peer is untrusted here, its certificates included.

pub mod octets;
pub mod psk;
