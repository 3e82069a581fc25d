//! VLAN ports end to end, on a kernel that need not know 802.1Q: tombolod, the real dataplane (this test program, started
//! again), and a trunk whose far end is a tagger between two hosts.
//!
//! ```text
//! host a 10.1.0.10 ── VLAN 100 ┐
//!                              tagger ══ trunk0 │gateway│ c0 ── host c 10.3.0.10
//! host b 10.2.0.10 ── VLAN 200 ┘
//!        VLAN 100 and c0 are of segment prod, VLAN 200 is of segment dev
//! ```

mod lab;

use lab::{inside, ip};
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tombolo_dataplane_daemon::arguments::Arguments;
use tombolo_dataplane_daemon::dataplane::Dataplane;

/// Set in the process that is the dataplane.
const DATAPLANE: &str = "TOMBOLO_TEST_DATAPLANE";
/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(15);

const CONFIG: &str = "gateway: gw-vlan\nworkers: 1\nsegments:\n  prod: {}\n  dev: {}\nports:\n  \
    prod-cloud: { device: trunk0, vlan: 100, segment: prod, addresses: [10.1.0.1/24, \"fd00:1::1/64\"] }\n  \
    dev-cloud: { device: trunk0, vlan: 200, segment: dev, addresses: [10.2.0.1/24, \"fd00:2::1/64\"] }\n  \
    office: { device: c0, segment: prod, addresses: [10.3.0.1/24, \"fd00:3::1/64\"] }\n\
    limits: { sessions: 1024, sessions6: 1024, mappings: 1024 }\n";

/// Is the dataplane until it is killed; as a test of its own it does nothing.
#[test]
fn be_dataplane() {
    let Some(directory) = std::env::var_os(DATAPLANE) else {
        return;
    };
    let arguments = Arguments {
        runtime_dir: directory.into(),
        busy: false,
    };
    Dataplane::listen(&arguments).and_then(Dataplane::run).unwrap();
}

/// Frames that the tagger took from the trunk: by VLAN, and those without a tag or with another.
static FROM_TRUNK: [AtomicU64; 3] = [AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0)];
const VLANS: [u16; 2] = [100, 200];

/// Carries frames between the trunk and the hosts until the process ends.
fn be_tagger(mut trunk: File, mut hosts: [File; 2]) {
    let mut frame = [0; 4096];
    loop {
        let mut moved = false;
        while let Ok(length) = trunk.read(&mut frame) {
            moved = true;
            let tag = u16::from_be_bytes([frame[14], frame[15]]);
            let host = VLANS.iter().position(|vlan| frame[12..14] == [0x81, 0] && tag == *vlan);
            FROM_TRUNK[host.unwrap_or(2)].fetch_add(1, Ordering::Relaxed);
            if let Some(host) = host {
                frame.copy_within(16..length, 12);
                // A host that is not up loses it.
                let _ = hosts[host].write(&frame[..length - 4]);
            }
        }
        for (host, vlan) in hosts.iter_mut().zip(VLANS) {
            while let Ok(length) = host.read(&mut frame) {
                moved = true;
                frame.copy_within(12..length, 16);
                frame[12..14].copy_from_slice(&[0x81, 0]);
                frame[14..16].copy_from_slice(&vlan.to_be_bytes());
                let _ = trunk.write(&frame[..length + 4]);
            }
        }
        if !moved {
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}

struct Lab {
    directory: PathBuf,
    namespaces: [String; 3],
    control: Option<Child>,
}

impl Lab {
    fn new() -> Lab {
        let pid = std::process::id();
        let namespaces = ["a", "b", "c"].map(|name| format!("tvlan{pid}-{name}"));
        let directory = std::env::temp_dir().join(format!("tombolo-vlan-{pid}"));
        let _ = std::fs::remove_dir_all(&directory);
        std::fs::create_dir_all(directory.join("run")).unwrap();
        let lab = Lab {
            directory,
            namespaces,
            control: None,
        };
        let tap = |name: &str| File::from(tombolo_packet_io::tap::open(name).expect("this test needs root"));
        let (trunk, hosts) = (tap("trunk0"), ["host0", "host1"].map(tap));
        ip("link set lo up");
        ip("link add c0 numrxqueues 1 numtxqueues 1 type veth peer name host2");
        for (number, namespace) in lab.namespaces.iter().enumerate() {
            let net = number + 1;
            ip(&format!("netns add {namespace}"));
            ip(&format!("link set host{number} netns {namespace}"));
            for words in [
                "link set lo up".to_owned(),
                format!("link set host{number} up"),
                format!("address add 10.{net}.0.10/24 dev host{number}"),
                format!("address add fd00:{net}::10/64 dev host{number} nodad"),
                format!("route add default via 10.{net}.0.1"),
                format!("-6 route add default via fd00:{net}::1"),
            ] {
                ip(&format!("-n {namespace} {words}"));
            }
        }
        std::thread::spawn(move || be_tagger(trunk, hosts));
        lab
    }

    /// Starts tombolod, whose dataplane does not start while there is a file `hold`.
    fn start(&mut self) {
        let at = |name: &str| self.directory.join(name);
        std::fs::write(at("tombolo.yaml"), CONFIG).unwrap();
        let test = std::env::current_exe().unwrap();
        let script = format!(
            "#!/bin/sh\nwhile [ -e {} ]; do sleep 0.02; done\n\
             {DATAPLANE}=\"$2\" exec {} be_dataplane --exact --nocapture\n",
            at("hold").display(),
            test.display()
        );
        std::fs::write(at("dataplane"), script).unwrap();
        std::fs::set_permissions(at("dataplane"), std::fs::Permissions::from_mode(0o755)).unwrap();
        let log = File::create(at("tombolod.log")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_tombolod"));
        for (option, name) in [
            ("--config", "tombolo.yaml"),
            ("--runtime-dir", "run"),
            ("--state-dir", "state"),
            ("--secrets-dir", "secrets"),
            ("--dataplane", "dataplane"),
        ] {
            command.arg(option).arg(at(name));
        }
        self.control = Some(command.stderr(log).spawn().unwrap());
    }

    /// One try.
    fn reaches(&self, host: usize, address: &str) -> bool {
        let words = format!("netns exec {} ping -c 1 -W 1 {address}", self.namespaces[host]);
        let output = Command::new("ip").args(words.split_whitespace()).output().unwrap();
        output.status.success()
    }

    #[track_caller]
    fn must_reach(&self, host: usize, address: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.reaches(host, address) {
            if Instant::now() > deadline {
                self.explain(&format!("host {host} does not reach {address}"));
            }
        }
    }

    fn explain(&self, what: &str) -> ! {
        for words in ["address", "neighbour", "rule", "route show table all", "-s link"] {
            println!("# ip {words}\n{}", ip(words));
        }
        for file in ["tombolod.log", "run/private/dataplane.log"] {
            let text = std::fs::read_to_string(self.directory.join(file)).unwrap_or_default();
            println!("# {file}\n{text}");
        }
        println!("# {}", self.get("/v1/status"));
        println!("# {}", self.get("/metrics"));
        panic!("{what}; from the trunk: {FROM_TRUNK:?}");
    }

    fn get(&self, path: &str) -> String {
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        let mut reply = String::new();
        if let Ok(mut stream) = std::os::unix::net::UnixStream::connect(self.directory.join("run/control.sock")) {
            let _ = stream.write_all(request.as_bytes());
            let _ = stream.read_to_string(&mut reply);
        }
        reply
            .split_once("\r\n\r\n")
            .map(|(_, body)| body.to_owned())
            .unwrap_or_default()
    }

    fn dataplane_pid(&self) -> Option<i64> {
        let status: serde_json::Value = serde_json::from_str(&self.get("/v1/status")).ok()?;
        status["dataplane"]["pid"].as_i64()
    }

    /// The address of the kernel's link of a port.
    #[track_caller]
    fn wait_for_link(&self, device: &str, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let shown = Command::new("ip")
                .args(["address", "show", "dev", device])
                .output()
                .unwrap();
            if String::from_utf8_lossy(&shown.stdout).contains(text) {
                return;
            }
            if Instant::now() > deadline {
                self.explain(&format!("{device} has no {text}"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.directory.join("hold"));
        let pid = self.dataplane_pid();
        if let Some(mut control) = self.control.take() {
            let _ = control.kill();
            let _ = control.wait();
        }
        if let Some(pid) = pid {
            kill(pid);
        }
        for namespace in &self.namespaces {
            let _ = Command::new("ip").args(["netns", "delete", namespace]).status();
        }
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn kill(pid: i64) {
    let _ = Command::new("kill").args(["-9", &pid.to_string()]).status();
}

#[test]
fn vlan_ports_of_one_trunk() {
    if !inside("vlan_ports_of_one_trunk") {
        return;
    }
    let mut lab = Lab::new();
    lab.start();
    lab.wait_for_link("tombolo0.100", "10.1.0.1/24");
    lab.wait_for_link("tombolo1.200", "10.2.0.1/24");

    // The kernel answers ARP, ND and ping in each VLAN.
    for (host, own) in [(0, "10.1.0.1"), (0, "fd00:1::1"), (1, "10.2.0.1"), (1, "fd00:2::1")] {
        lab.must_reach(host, own);
    }
    // A host of a VLAN and one behind an untagged port, both unknown before; there and back.
    for (host, far) in [(0, "10.3.0.10"), (2, "10.1.0.10"), (0, "fd00:3::10"), (2, "fd00:1::10")] {
        lab.must_reach(host, far);
    }
    // The gateway's own connections into the VLAN.
    let own = Command::new("ping")
        .args(["-c", "2", "-W", "2", "-I", "10.1.0.1", "10.1.0.10"])
        .output()
        .unwrap();
    assert!(own.status.success(), "{}", String::from_utf8_lossy(&own.stdout));
    // Segments stay apart, and so do own addresses.
    for (host, far) in [
        (0, "10.2.0.10"),
        (1, "10.1.0.10"),
        (1, "10.3.0.10"),
        (0, "10.2.0.1"),
        (0, "fd00:2::10"),
    ] {
        assert!(!lab.reaches(host, far), "host {host} reaches {far}");
    }
    let [prod, dev, other] = [0, 1, 2].map(|place: usize| FROM_TRUNK[place].load(Ordering::Relaxed));
    assert!(prod > 8 && dev > 4, "{FROM_TRUNK:?}");
    println!("from the trunk: {prod} of VLAN 100, {dev} of VLAN 200, {other} others (the kernel's own on trunk0)");

    // Without a dataplane the addresses are gone; with the next they are back.
    let hold = lab.directory.join("hold");
    std::fs::write(&hold, "").unwrap();
    kill(lab.dataplane_pid().unwrap());
    assert!(!lab.reaches(0, "10.1.0.1"), "nobody takes the tag off");
    assert!(!ip("address").contains("10.1.0.1"), "{}", ip("address"));
    std::fs::remove_file(hold).unwrap();
    let back = Instant::now();
    for (host, address) in [(0, "10.1.0.1"), (1, "fd00:2::1"), (0, "10.3.0.10"), (2, "fd00:1::10")] {
        lab.must_reach(host, address);
    }
    println!("all back after {:?}", back.elapsed());
    lab.wait_for_link("tombolo0.100", "fd00:1::1/64");
}
