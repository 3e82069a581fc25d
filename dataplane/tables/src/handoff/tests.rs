//! The handoff socket within one process: both ends, every refusal.

use super::*;
use crate::identity::{LAYOUT_HASH, LAYOUT_VERSION};
use crate::region::{HugePages, Region};
use proptest::prelude::*;
use rustix::net::{SendFlags, SocketAddrUnix, SocketFlags};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(5);

/// A runtime directory of its own, removed again.
struct RuntimeDir(PathBuf);

impl RuntimeDir {
    fn new() -> RuntimeDir {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let unique = format!(
            "tombolo-handoff-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let path = std::env::temp_dir().join(unique);
        std::fs::create_dir(&path).unwrap();
        RuntimeDir(path)
    }
}

impl Drop for RuntimeDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn regions() -> RegionFds {
    let fd = |name| {
        Region::create(name, 4096, HugePages::Never)
            .unwrap()
            .fd()
            .try_clone_to_owned()
            .unwrap()
    };
    RegionFds {
        tables: fd("tables"),
        state: fd("state"),
        secrets: Region::create_secret("secrets", 4096).unwrap(),
    }
}

fn inode(fd: &OwnedFd) -> u64 {
    rustix::fs::fstat(fd).unwrap().st_ino
}

fn accept(listener: &Listener) -> DataplaneLink {
    for _ in 0..5000 {
        if let Some(link) = listener.accept().unwrap() {
            return link;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("nobody connected");
}

fn request(link: &mut DataplaneLink) -> Result<Request, HandoffError> {
    for _ in 0..5000 {
        if let Some(request) = link.receive()? {
            return Ok(request);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("no request");
}

/// A bare connection, to say things that no control says.
fn raw(directory: &RuntimeDir) -> OwnedFd {
    let fd = dataplane::new_socket(SocketFlags::empty()).unwrap();
    rustix::net::connect(&fd, &SocketAddrUnix::new(socket_path(&directory.0)).unwrap()).unwrap();
    fd
}

#[test]
fn an_empty_dataplane_gets_regions_and_a_later_control_adopts_them() {
    let directory = RuntimeDir::new();
    let listener = Listener::bind(&directory.0).unwrap();
    let given = regions();
    let inodes = [&given.tables, &given.state, &given.secrets].map(inode);
    std::thread::scope(|scope| {
        let dataplane = scope.spawn(|| {
            let mut link = accept(&listener);
            assert!(matches!(request(&mut link), Ok(Request::Hello)));
            link.offer(None).unwrap();
            let Ok(Request::Regions { workers: 2, regions }) = request(&mut link) else {
                panic!("no regions")
            };
            let wakes = Wakes::create(2).unwrap();
            link.ready(&wakes).unwrap();
            assert!(matches!(request(&mut link), Ok(Request::Published { generation: 9 })));
            let error = PortError {
                port: 3,
                text: "é".repeat(100),
            };
            link.applied(9, vec![error]).unwrap();
            assert!(matches!(request(&mut link), Err(HandoffError::Closed)));
            let mut link = accept(&listener);
            assert!(matches!(request(&mut link), Ok(Request::Hello)));
            link.offer(Some((&regions, &wakes))).unwrap();
            assert!(matches!(request(&mut link), Err(HandoffError::Closed)));
            rustix::io::read(&wakes.workers[1], &mut [0u8; 8]).expect("control woke the second worker")
        });
        let Adopted::Empty(empty) = ControlLink::connect(&directory.0, SOON).unwrap() else {
            panic!("not empty")
        };
        let (link, _) = empty.give(&given, 2, SOON).unwrap();
        assert_eq!((link.peer_pid(), link.is_dead()), (std::process::id() as i32, false));
        link.published(9).unwrap();
        let Reply::Applied { generation, errors } = link.receive_within(SOON).unwrap();
        assert_eq!(
            (generation, errors[0].port, errors[0].text.as_str()),
            (9, 3, "é".repeat(60).as_str())
        );
        assert!(link.receive().unwrap().is_none());
        drop(link);
        let Adopted::Running { link, regions, wakes } = ControlLink::connect(&directory.0, SOON).unwrap() else {
            panic!("nothing to adopt")
        };
        assert_eq!([&regions.tables, &regions.state, &regions.secrets].map(inode), inodes);
        assert_eq!(wakes.workers.len(), 2);
        rustix::io::write(&wakes.workers[1], &1u64.to_ne_bytes()).unwrap();
        drop(link);
        assert_eq!(dataplane.join().unwrap(), 8);
    });
}

#[test]
fn the_directory_is_private_even_if_it_was_not() {
    let directory = RuntimeDir::new();
    let private = private_dir(&directory.0);
    std::fs::create_dir(&private).unwrap();
    std::fs::set_permissions(&private, std::fs::Permissions::from_mode(0o777)).unwrap();
    let _listener = Listener::bind(&directory.0).unwrap();
    assert_eq!(std::fs::metadata(&private).unwrap().mode() & 0o7777, 0o700);
    assert_eq!(
        std::fs::metadata(socket_path(&directory.0)).unwrap().mode() & 0o777,
        0o600
    );
}

#[test]
fn a_link_in_place_of_the_directory_is_refused() {
    let directory = RuntimeDir::new();
    std::fs::create_dir(directory.0.join("elsewhere")).unwrap();
    std::os::unix::fs::symlink(directory.0.join("elsewhere"), private_dir(&directory.0)).unwrap();
    assert!(matches!(Listener::bind(&directory.0), Err(HandoffError::Directory(_))));
}

#[test]
fn a_dead_listeners_socket_is_replaced_and_a_living_ones_is_not() {
    let directory = RuntimeDir::new();
    assert!(matches!(
        ControlLink::connect(&directory.0, SOON),
        Err(HandoffError::NobodyThere(_))
    ));
    let first = Listener::bind(&directory.0).unwrap();
    assert!(matches!(Listener::bind(&directory.0), Err(HandoffError::InUse(_))));
    assert!(matches!(first.accept(), Ok(Some(_))), "the look of the second");
    drop(first);
    assert!(matches!(
        ControlLink::connect(&directory.0, SOON),
        Err(HandoffError::NobodyThere(_))
    ));
    let _second = Listener::bind(&directory.0).unwrap();
    assert!(matches!(
        ControlLink::connect(&directory.0, Duration::ZERO),
        Err(HandoffError::TimedOut)
    ));
}

#[test]
fn another_layout_is_refused_on_both_sides() {
    let directory = RuntimeDir::new();
    let listener = Listener::bind(&directory.0).unwrap();
    let other = raw(&directory);
    let hello = Message::Hello {
        layout_version: LAYOUT_VERSION + 1,
        layout_hash: 5,
    }
    .to_bytes();
    rustix::net::send(&other, &hello, SendFlags::empty()).unwrap();
    let mut link = accept(&listener);
    let refused = request(&mut link).unwrap_err();
    assert!(matches!(refused, HandoffError::OtherLayout { version, hash: 5 } if version == LAYOUT_VERSION + 1));
    let (answer, _) = socket::Socket::new(other).unwrap().receive().unwrap().unwrap();
    assert_eq!(
        answer,
        Message::Refused {
            layout_version: LAYOUT_VERSION,
            layout_hash: LAYOUT_HASH
        }
    );
}

#[test]
fn nonsense_ends_the_connection_with_a_reason() {
    let directory = RuntimeDir::new();
    let listener = Listener::bind(&directory.0).unwrap();
    let hello = Message::Hello {
        layout_version: LAYOUT_VERSION,
        layout_hash: LAYOUT_HASH,
    }
    .to_bytes();
    let mut wrong_magic = hello.clone();
    wrong_magic[0] ^= 1;
    let cases: [(Vec<u8>, MessageError); 5] = [
        (b"hello".to_vec(), MessageError::Length(5)),
        (wrong_magic, MessageError::Magic),
        (hello[..hello.len() - 1].to_vec(), MessageError::Truncated),
        (vec![0; MESSAGE_MAX + 1], MessageError::Length(MESSAGE_MAX)),
        (
            Message::Regions { workers: 1 }.to_bytes(),
            MessageError::Descriptors {
                expected: 3,
                received: 0,
            },
        ),
    ];
    for (bytes, why) in cases {
        let other = raw(&directory);
        rustix::net::send(&other, &bytes, SendFlags::empty()).unwrap();
        let refused = request(&mut accept(&listener)).unwrap_err();
        assert!(
            matches!(&refused, HandoffError::Malformed(found) if *found == why),
            "{refused:?} is not {why:?}"
        );
    }
}

#[test]
fn requests_before_the_hello_and_messages_of_the_wrong_side_are_refused() {
    let directory = RuntimeDir::new();
    let listener = Listener::bind(&directory.0).unwrap();
    for message in [
        Message::Published { generation: 1 },
        Message::Applied {
            generation: 1,
            errors: Vec::new(),
        },
    ] {
        let other = raw(&directory);
        rustix::net::send(&other, &message.to_bytes(), SendFlags::empty()).unwrap();
        assert!(matches!(
            request(&mut accept(&listener)),
            Err(HandoffError::Unexpected(_))
        ));
    }
}

#[test]
fn a_message_never_leaves_with_another_number_of_descriptors() {
    let directory = RuntimeDir::new();
    let _listener = Listener::bind(&directory.0).unwrap();
    let socket = socket::Socket::new(raw(&directory)).unwrap();
    let refused = socket.send(&Message::Ready { workers: 2 }, &[]);
    assert!(matches!(
        refused,
        Err(HandoffError::Malformed(MessageError::Descriptors {
            expected: 3,
            received: 0
        }))
    ));
}

#[test]
fn the_widest_offer_fits() {
    let directory = RuntimeDir::new();
    let listener = Listener::bind(&directory.0).unwrap();
    let (given, wakes) = (regions(), Wakes::create(WORKERS_MAX).unwrap());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut link = accept(&listener);
            request(&mut link).unwrap();
            link.offer(Some((&given, &wakes))).unwrap();
        });
        let adopted = ControlLink::connect(&directory.0, SOON).unwrap();
        assert!(matches!(adopted, Adopted::Running { wakes, .. } if wakes.workers.len() == WORKERS_MAX));
    });
    assert!(accept_offer_of(WORKERS_MAX + 1).is_err());
}

fn accept_offer_of(workers: usize) -> Result<Message, MessageError> {
    let offer = Message::Offer {
        pid: 1,
        workers: Some(workers as u16),
    };
    Message::from_bytes(&offer.to_bytes(), offer.descriptors())
}

fn messages() -> impl Strategy<Value = Message> {
    let error = (any::<u16>(), ".{0,40}").prop_map(|(port, text)| PortError {
        port,
        text: text.chars().take(30).collect(),
    });
    prop_oneof![
        (any::<u32>(), any::<u64>()).prop_map(|(layout_version, layout_hash)| Message::Hello {
            layout_version,
            layout_hash
        }),
        (any::<u32>(), any::<u64>()).prop_map(|(layout_version, layout_hash)| Message::Refused {
            layout_version,
            layout_hash
        }),
        (any::<u32>(), prop::option::of(1u16..=WORKERS_MAX as u16))
            .prop_map(|(pid, workers)| Message::Offer { pid, workers }),
        (1u16..=WORKERS_MAX as u16).prop_map(|workers| Message::Regions { workers }),
        (1u16..=WORKERS_MAX as u16).prop_map(|workers| Message::Ready { workers }),
        any::<u64>().prop_map(|generation| Message::Published { generation }),
        (any::<u64>(), prop::collection::vec(error, 0..5))
            .prop_map(|(generation, errors)| Message::Applied { generation, errors }),
    ]
}

proptest! {
    #[test]
    fn messages_survive_the_trip_and_fit_the_buffer(message in messages()) {
        let bytes = message.to_bytes();
        prop_assert!(bytes.len() <= MESSAGE_MAX);
        prop_assert_eq!(Message::from_bytes(&bytes, message.descriptors()), Ok(message.clone()));
        for cut in 0..bytes.len() {
            prop_assert!(Message::from_bytes(&bytes[..cut], message.descriptors()).is_err());
        }
        prop_assert!(Message::from_bytes(&bytes, message.descriptors() + 1).is_err());
    }
}

#[test]
fn the_longest_complaint_fits_the_buffer() {
    let errors = vec![
        PortError {
            port: 1,
            text: "x".repeat(500)
        };
        PORT_ERRORS_MAX + 9
    ];
    let bytes = Message::Applied { generation: 1, errors }.to_bytes();
    assert_eq!(bytes.len(), MESSAGE_MAX);
    let Ok(Message::Applied { errors, .. }) = Message::from_bytes(&bytes, 0) else {
        panic!("refused")
    };
    assert_eq!((errors.len(), errors[0].text.len()), (PORT_ERRORS_MAX, 120));
}
