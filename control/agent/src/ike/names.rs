//! Addresses of peers that are configured by name. DNS is asked beside everything else: nobody waits for it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// An answer counts so long.
const FRESH: Duration = Duration::from_secs(60);
/// A question that was not answered is asked again after this.
const AGAIN: Duration = Duration::from_secs(10);

/// A name and whether IPv6 addresses are wanted, else IPv4.
type Question = (String, bool);

/// What DNS said, and what was taken of it.
#[derive(Clone, Default)]
pub struct Names(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    answers: BTreeMap<Question, Answer>,
    /// By tunnel.
    taken: BTreeMap<String, (Question, IpAddr)>,
    /// An answer came that says something else than the one before.
    news: bool,
}

#[derive(Clone)]
struct Answer {
    asked: Instant,
    /// The last that had any.
    addresses: Vec<IpAddr>,
}

impl Names {
    /// The address of a tunnel's peer called `name`; asks again where the answer is old. `at`: where the peer of the tunnel's IKE SA is, if
    /// it has one. Needs a tokio runtime.
    pub fn address(&self, tunnel: &str, name: &str, v6: bool, at: Option<IpAddr>) -> Option<IpAddr> {
        let question = (name.to_owned(), v6);
        let known = &mut *self.known();
        let answer = known.answers.get(&question);
        let addresses = answer.map_or(&[][..], |answer| &answer.addresses);
        let taken = known.taken.get(tunnel).filter(|(of, _)| *of == question);
        let address = take(taken.map(|(_, address)| *address), addresses, at);
        let pause = if addresses.is_empty() { AGAIN } else { FRESH };
        if answer.is_none_or(|answer| answer.asked.elapsed() >= pause) {
            let answer = Answer {
                asked: Instant::now(),
                addresses: addresses.to_vec(),
            };
            known.answers.insert(question.clone(), answer);
            self.ask(question.clone());
        }
        if let Some(address) = address {
            known.taken.insert(tunnel.to_owned(), (question, address));
        }
        address
    }

    /// Whether it is worth asking again for addresses: an answer came that is new. Says so once.
    pub fn take_news(&self) -> bool {
        std::mem::take(&mut self.known().news)
    }

    fn ask(&self, question: Question) {
        let asked = Instant::now();
        let names = self.clone();
        tokio::spawn(async move {
            let Ok(found) = tokio::net::lookup_host((question.0.clone(), 0)).await else {
                return;
            };
            let found = found.map(|end| end.ip()).filter(|ip| ip.is_ipv6() == question.1);
            let addresses: Vec<IpAddr> = found.collect();
            if !addresses.is_empty() {
                let known = &mut *names.known();
                let before = known.answers.get(&question).map(|answer| &answer.addresses);
                known.news |= before != Some(&addresses);
                known.answers.insert(question, Answer { asked, addresses });
            }
        });
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which address is taken. A name may have several, in any order, and not all of them in every answer: the one that was taken `before`
/// stays while the answer has it, and also while there is an IKE SA, which another address would end.
fn take(before: Option<IpAddr>, answer: &[IpAddr], at: Option<IpAddr>) -> Option<IpAddr> {
    let stays = |before: &IpAddr| answer.is_empty() || answer.contains(before) || at.is_some();
    // A process that was started anew takes the one that the IKE SA has.
    let in_use = || at.filter(|at| answer.contains(at));
    // While DNS has not answered at all, it is the best that is known.
    let known = answer.first().copied().or(at);
    before.filter(stays).or_else(in_use).or(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    #[test]
    fn the_address_in_use_stays_in_any_order_and_without_an_answer() {
        let (a, b) = (address(1), address(2));
        assert_eq!(take(None, &[], None), None);
        assert_eq!(take(None, &[a, b], None), Some(a));
        assert_eq!(take(Some(b), &[a, b], None), Some(b));
        assert_eq!(take(Some(b), &[], None), Some(b), "DNS does not answer");
    }

    #[test]
    fn a_server_that_names_others_each_time_ends_no_tunnel() {
        let (a, b, c) = (address(1), address(2), address(3));
        let mut taken = take(None, &[a], None);
        for answer in [&[b][..], &[c, b], &[b, a], &[c]] {
            taken = take(taken, answer, Some(a));
            assert_eq!(taken, Some(a));
        }
        // A NAT moved the peer: that is no address of its name.
        assert_eq!(take(taken, &[b], Some(address(99))), Some(a));
        // The next attempt goes to where the name is now.
        assert_eq!(take(taken, &[b, c], None), Some(b));
    }

    #[test]
    fn who_begins_anew_goes_on_with_the_ike_sa_that_is_there() {
        let (a, b) = (address(1), address(2));
        assert_eq!(take(None, &[a, b], Some(b)), Some(b));
        assert_eq!(take(None, &[], Some(b)), Some(b), "DNS has not answered yet");
        assert_eq!(take(None, &[a], Some(b)), Some(a));
    }

    /// The machine's own resolver: /etc/hosts knows this name.
    #[tokio::test]
    async fn an_answer_is_news_once() {
        let names = Names::default();
        assert_eq!(names.address("one", "localhost", false, None), None);
        let news = async {
            while !names.take_news() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), news)
            .await
            .expect("an answer");
        assert!(
            names
                .address("one", "localhost", false, None)
                .is_some_and(|address| address.is_loopback())
        );
        assert!(!names.take_news());
        names.ask(("localhost".into(), false));
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(!names.take_news(), "the same answer is no news");
    }

    #[tokio::test]
    async fn what_was_taken_is_of_one_tunnel_and_one_name() {
        let names = Names::default();
        let (a, b) = (address(1), address(2));
        let answer = |addresses: &[IpAddr]| Answer {
            asked: Instant::now(),
            addresses: addresses.to_vec(),
        };
        let say = |name: &str, addresses: &[IpAddr]| {
            names
                .known()
                .answers
                .insert((name.to_owned(), false), answer(addresses));
        };
        say("x.example", &[a]);
        assert_eq!(names.address("one", "x.example", false, None), Some(a));
        say("x.example", &[b]);
        assert_eq!(names.address("one", "x.example", false, Some(a)), Some(a));
        assert_eq!(names.address("two", "x.example", false, None), Some(b));
        assert_eq!(names.address("one", "x.example", false, None), Some(b));
        // The tunnel's peer has another name now: what its old one was does not count.
        say("y.example", &[a]);
        assert_eq!(names.address("one", "y.example", false, Some(b)), Some(a));
    }
}
