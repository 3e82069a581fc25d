//! Datagrams that wait until workers have the child SAs that they speak of: the peer may seal into these as soon as it hears of them.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};
use tombolo_ike::Transmit;

/// So long is waited. What takes longer to be published may take for ever, and the peer must not hold us for dead meanwhile.
const HELD_TIME: Duration = Duration::from_secs(2);
/// Datagrams that wait; more are lost, as on any network, and IKE sends them again (RFC 7296 §2.1).
const HELD_MAX: usize = 4096;

/// Own and peer's outer address of a tunnel.
pub type Ends = (IpAddr, IpAddr);

/// Datagrams that wait.
#[derive(Default)]
pub struct Held {
    /// Since when something is not published.
    since: Option<Instant>,
    waiting: Vec<Transmit>,
}

impl Held {
    /// What may leave, in order, of what waited and of `new`. `unpublished`: tunnels with a child SA that workers lack.
    pub fn pass(&mut self, now: Instant, unpublished: &BTreeSet<Ends>, new: Vec<Transmit>) -> Vec<Transmit> {
        if unpublished.is_empty() {
            self.since = None;
        } else if now.duration_since(*self.since.get_or_insert(now)) < HELD_TIME {
            let ends = |one: &Transmit| (one.path.local.ip(), one.path.remote.ip());
            let (wait, leave): (Vec<_>, Vec<_>) = new.into_iter().partition(|one| unpublished.contains(&ends(one)));
            for one in wait {
                // A retransmission says nothing new.
                if self.waiting.len() < HELD_MAX && !self.waiting.contains(&one) {
                    self.waiting.push(one);
                }
            }
            return leave;
        }
        let mut leave = std::mem::take(&mut self.waiting);
        leave.extend(new);
        leave
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;
    use tombolo_ike::connection::Path;

    fn to(peer: u8, byte: u8) -> Transmit {
        let path = Path {
            local: SocketAddr::from(([192, 0, 2, 1], 500)),
            remote: SocketAddr::from(([198, 51, 100, peer], 500)),
        };
        Transmit {
            path,
            bytes: vec![byte],
        }
    }

    fn lacking(peer: u8) -> BTreeSet<Ends> {
        BTreeSet::from([([192, 0, 2, 1].into(), [198, 51, 100, peer].into())])
    }

    #[test]
    fn a_tunnel_whose_child_sa_is_not_published_waits_and_no_other() {
        let (mut held, now) = (Held::default(), Instant::now());
        assert_eq!(held.pass(now, &lacking(1), vec![to(1, 10), to(2, 20)]), [to(2, 20)]);
        let later = now + Duration::from_secs(1);
        assert_eq!(held.pass(later, &lacking(1), vec![to(1, 11), to(1, 10)]), []);
        // In order, once each, before what is new.
        assert_eq!(
            held.pass(later, &BTreeSet::new(), vec![to(1, 12)]),
            [to(1, 10), to(1, 11), to(1, 12)]
        );
        assert_eq!(held.pass(later, &BTreeSet::new(), vec![]), []);
    }

    #[test]
    fn what_is_never_published_does_not_stop_ike() {
        let (mut held, now) = (Held::default(), Instant::now());
        assert_eq!(held.pass(now, &lacking(1), vec![to(1, 10)]), []);
        let end = now + HELD_TIME;
        assert_eq!(held.pass(end, &lacking(1), vec![to(1, 11)]), [to(1, 10), to(1, 11)]);
        // Nor is another tunnel's held, which comes later: a publication is of all.
        assert_eq!(held.pass(end, &lacking(2), vec![to(2, 20)]), [to(2, 20)]);
        // After one that succeeded, it is worth waiting again.
        assert_eq!(held.pass(end, &BTreeSet::new(), vec![]), []);
        assert_eq!(held.pass(end, &lacking(2), vec![to(2, 20)]), []);
    }

    #[test]
    fn what_waits_is_bounded() {
        let (mut held, now) = (Held::default(), Instant::now());
        let many = (0..HELD_MAX + 10).map(|number| Transmit {
            bytes: number.to_ne_bytes().to_vec(),
            ..to(1, 0)
        });
        held.pass(now, &lacking(1), many.collect());
        assert_eq!(held.pass(now, &BTreeSet::new(), vec![]).len(), HELD_MAX);
    }
}
