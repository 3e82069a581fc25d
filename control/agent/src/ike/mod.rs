//! What `tombolod` does for IKE: the sockets that its datagrams come through and leave by.

pub mod counts;
pub mod marker;
pub mod sockets;
