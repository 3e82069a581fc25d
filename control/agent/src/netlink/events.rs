//! News from the kernel. Only the kind of change is told: the reader then lists what it needs, so that a lost message costs
//! no more than a late look.

use futures::StreamExt;
use rtnetlink::packet_core::NetlinkPayload;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::sys::{AsyncSocket, SocketAddr};
use tokio::sync::mpsc;

/// Multicast groups of linux/rtnetlink.h: links, neighbours, IPv4 and IPv6 addresses.
const GROUPS: u32 = 0x1 | 0x4 | 0x10 | 0x100;

/// What changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelNews {
    /// A device came, went or changed.
    Link,
    /// An address came or went.
    Address,
    /// A neighbour changed.
    Neighbour,
}

/// Subscribes to changes. News waits in a short queue; when it is full a message is left out, since one of its kind in the
/// queue says as much. Must be called inside a tokio runtime.
pub fn subscribe() -> std::io::Result<mpsc::Receiver<KernelNews>> {
    let (mut connection, _, mut messages) = rtnetlink::new_connection()?;
    connection.socket_mut().socket_mut().bind(&SocketAddr::new(0, GROUPS))?;
    tokio::spawn(connection);
    let (sender, receiver) = mpsc::channel(64);
    tokio::spawn(async move {
        while let Some((message, _)) = messages.next().await {
            if let NetlinkPayload::InnerMessage(inner) = message.payload
                && let Some(news) = kind(&inner)
                && matches!(sender.try_send(news), Err(mpsc::error::TrySendError::Closed(_)))
            {
                return;
            }
        }
    });
    Ok(receiver)
}

fn kind(message: &RouteNetlinkMessage) -> Option<KernelNews> {
    if matches!(
        message,
        RouteNetlinkMessage::NewLink(_) | RouteNetlinkMessage::DelLink(_)
    ) {
        return Some(KernelNews::Link);
    }
    if matches!(
        message,
        RouteNetlinkMessage::NewAddress(_) | RouteNetlinkMessage::DelAddress(_)
    ) {
        return Some(KernelNews::Address);
    }
    matches!(
        message,
        RouteNetlinkMessage::NewNeighbour(_) | RouteNetlinkMessage::DelNeighbour(_)
    )
    .then_some(KernelNews::Neighbour)
}
