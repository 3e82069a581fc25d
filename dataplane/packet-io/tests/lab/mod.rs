//! Namespaces for the tests that need root: two hosts, a gateway between them, two queues on every veth.
//!
//! ```text
//! host a 10.9.0.2 ── left 10.9.0.1 │gateway│ right 10.9.1.1 ── host b 10.9.1.2
//! ```

#![allow(dead_code)] // not every test file uses all of it

use rustix::fs::{Mode, OFlags};
use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, SocketType, socket};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::os::fd::AsFd;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

/// MAC addresses of the gateway's ports and of the hosts.
pub(crate) const LEFT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub(crate) const RIGHT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
pub(crate) const HOST_A_MAC: [u8; 6] = [2, 0, 0, 0, 1, 1];
pub(crate) const HOST_B_MAC: [u8; 6] = [2, 0, 0, 0, 1, 2];

/// Namespaces that vanish with this value.
pub(crate) struct Lab {
    pub(crate) gateway: String,
    pub(crate) host_a: String,
    pub(crate) host_b: String,
}

static NEXT: AtomicU32 = AtomicU32::new(0);

/// True when the test is to be left out on request; the runner counts the line as "not run".
pub(crate) fn skipped(name: &str) -> bool {
    let skip = std::env::var("TOMBOLO_SKIP_ROOT").is_ok_and(|value| value == "1");
    if skip {
        println!("NOT RUN: {name}: TOMBOLO_SKIP_ROOT=1");
    }
    skip
}

impl Lab {
    pub(crate) fn new() -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = |role: &str| format!("tpio{}-{number}-{role}", std::process::id());
        let lab = Self {
            gateway: name("gw"),
            host_a: name("a"),
            host_b: name("b"),
        };
        for namespace in [&lab.gateway, &lab.host_a, &lab.host_b] {
            run("ip", &["netns", "add", namespace]);
            lab.ip(namespace, "link set lo up");
        }
        lab.veth(
            "left",
            LEFT_MAC,
            "10.9.0.1/24",
            &lab.host_a,
            HOST_A_MAC,
            "10.9.0.2/24",
            "10.9.0.1",
        );
        lab.veth(
            "right",
            RIGHT_MAC,
            "10.9.1.1/24",
            &lab.host_b,
            HOST_B_MAC,
            "10.9.1.2/24",
            "10.9.1.1",
        );
        inside(&lab.gateway, || {
            std::fs::write("/proc/sys/net/ipv4/ip_forward", "0").expect("forwarding can be switched off");
        });
        lab
    }

    #[allow(clippy::too_many_arguments)]
    fn veth(&self, port: &str, mac: [u8; 6], own: &str, host: &str, host_mac: [u8; 6], host_own: &str, via: &str) {
        let queues = "numrxqueues 2 numtxqueues 2";
        self.ip(
            &self.gateway,
            &format!(
                "link add {port} address {} {queues} type veth peer name eth0 address {} {queues} netns {host}",
                text(mac),
                text(host_mac)
            ),
        );
        self.ip(&self.gateway, &format!("addr add {own} dev {port}"));
        self.ip(&self.gateway, &format!("link set {port} up"));
        self.ip(host, &format!("addr add {host_own} dev eth0"));
        self.ip(host, "link set eth0 up");
        self.ip(host, &format!("route add default via {via}"));
        self.ethtool(host, "-K eth0 tx off");
    }

    pub(crate) fn ip(&self, namespace: &str, arguments: &str) {
        let mut all = vec!["-n", namespace];
        all.extend(arguments.split_whitespace());
        run("ip", &all);
    }

    pub(crate) fn ethtool(&self, namespace: &str, arguments: &str) {
        let mut all = vec!["netns", "exec", namespace, "ethtool"];
        all.extend(arguments.split_whitespace());
        run("ip", &all);
    }

    /// Whether host a reaches `address` by ping.
    pub(crate) fn ping(&self, address: &str) -> bool {
        try_run(
            "ip",
            &[
                "netns",
                "exec",
                &self.host_a,
                "ping",
                "-c",
                "2",
                "-i",
                "0.2",
                "-W",
                "1",
                address,
            ],
        )
        .status
        .success()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for namespace in [&self.gateway, &self.host_a, &self.host_b] {
            let _ = Command::new("ip").args(["netns", "delete", namespace]).output();
        }
    }
}

/// Runs `work` on a thread of its own inside `namespace`.
pub(crate) fn inside<R: Send>(namespace: &str, work: impl FnOnce() -> R + Send) -> R {
    thread::scope(|scope| {
        scope
            .spawn(|| {
                enter(namespace);
                work()
            })
            .join()
            .expect("the work does not panic")
    })
}

/// Moves the calling thread into `namespace`.
fn enter(namespace: &str) {
    let path = format!("/var/run/netns/{namespace}");
    let fd = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).expect("the namespace exists");
    move_into_link_name_space(fd.as_fd(), Some(LinkNameSpaceType::Network)).expect("this test needs root");
}

/// Interface index of a device in the calling thread's namespace.
pub(crate) fn ifindex(device: &str) -> u32 {
    let socket = socket(AddressFamily::INET, SocketType::DGRAM, None).expect("a socket");
    name_to_index(socket, device).expect("the device exists")
}

fn text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

fn run(program: &str, arguments: &[&str]) {
    let output = try_run(program, arguments);
    assert!(
        output.status.success(),
        "{program} {arguments:?} (root is needed): {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn try_run(program: &str, arguments: &[&str]) -> Output {
    Command::new(program)
        .args(arguments)
        .output()
        .expect("the program is installed")
}
