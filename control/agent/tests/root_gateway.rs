//! tombolod as a whole, in a network namespace of its own, with a dataplane that only shakes hands: it is this test program,
//! started again under another name.

mod lab;

use lab::{inside, ip};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};
use tombolo_tables::handoff::{Listener, Request, Wakes};

/// Set in the process that plays the dataplane.
const DATAPLANE: &str = "TOMBOLO_TEST_DATAPLANE";

const CONFIG: &str = "gateway: gw-test\nworkers: 2\nsegments:\n  prod: {}\n  dev: {}\nports:\n  \
    cloud-prod: { device: a0, segment: prod, addresses: [10.1.0.1/24, \"fd00:1::1/64\"] }\n  \
    cloud-dev: { device: b0, segment: dev, addresses: [10.1.1.1/24] }\n\
    limits: { sessions: 1024, sessions6: 1024, mappings: 1024 }\n";

/// Plays the dataplane until it is killed; as a test of its own it does nothing.
#[test]
fn play_dataplane() {
    let Some(directory) = std::env::var_os(DATAPLANE) else {
        return;
    };
    let listener = Listener::bind(Path::new(&directory)).unwrap();
    let (mut links, mut running) = (Vec::new(), None);
    loop {
        if let Ok(Some(link)) = listener.accept() {
            links.push(link);
        }
        links.retain_mut(|link| match link.receive() {
            Ok(None) => true,
            Ok(Some(Request::Hello)) => link
                .offer(running.as_ref().map(|(regions, wakes)| (regions, wakes)))
                .is_ok(),
            Ok(Some(Request::Regions { workers, regions })) => {
                let wakes = Wakes::create(usize::from(workers)).unwrap();
                let answered = link.ready(&wakes).is_ok();
                running = Some((regions, wakes));
                answered
            }
            Ok(Some(Request::Published { generation })) => link.applied(generation, Vec::new()).is_ok(),
            Err(_) => false,
        });
        std::thread::sleep(Duration::from_millis(1));
    }
}

struct Gateway {
    directory: PathBuf,
    control: Option<Child>,
}

impl Gateway {
    fn new(name: &str) -> Gateway {
        for pair in ["a0 type veth peer name a1", "b0 type veth peer name b1"] {
            ip(&format!("link add {pair}"));
        }
        for device in ["lo", "a1", "b1"] {
            ip(&format!("link set {device} up"));
        }
        let directory = std::env::temp_dir().join(format!("tombolo-gateway-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&directory);
        std::fs::create_dir_all(directory.join("run")).unwrap();
        std::fs::write(directory.join("tombolo.yaml"), CONFIG).unwrap();
        let program = directory.join("dataplane");
        let test = std::env::current_exe().unwrap();
        let script = format!(
            "#!/bin/sh\n{DATAPLANE}=\"$2\" exec {} play_dataplane --exact --nocapture\n",
            test.display()
        );
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        Gateway {
            directory,
            control: None,
        }
    }

    /// A tunnel to a peer that does not answer.
    fn give_a_tunnel_to(&self, remote: &str) {
        let config = CONFIG.replace(
            "addresses: [10.1.1.1/24] }",
            "addresses: [10.1.1.1/24], underlay: true }",
        );
        let tunnel = "type: ipsec, profile: tombolo, segment: prod, local: 10.1.1.1, secret: \"file:t.psk\"";
        let config = format!("{config}tunnels:\n  t: {{ {tunnel}, remote: {remote} }}\n");
        std::fs::write(self.directory.join("tombolo.yaml"), config).unwrap();
        let secrets = self.directory.join("secrets");
        std::fs::create_dir_all(&secrets).unwrap();
        let file = secrets.join("t.psk");
        std::fs::write(&file, "a secret of more than twenty bytes").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn start(&mut self) {
        let at = |name: &str| self.directory.join(name);
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(at("tombolod.log"))
            .unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_tombolod"));
        command
            .arg("--config")
            .arg(at("tombolo.yaml"))
            .arg("--runtime-dir")
            .arg(at("run"));
        command
            .arg("--state-dir")
            .arg(at("state"))
            .arg("--secrets-dir")
            .arg(at("secrets"));
        command.arg("--dataplane").arg(at("dataplane")).stderr(log);
        self.control = Some(command.spawn().unwrap());
    }

    fn kill_control(&mut self) {
        let mut control = self.control.take().unwrap();
        control.kill().unwrap();
        control.wait().unwrap();
    }

    fn request(&self, request: &str) -> Option<(u16, serde_json::Value)> {
        let mut stream = UnixStream::connect(self.directory.join("run/control.sock")).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.write_all(request.as_bytes()).ok()?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply).ok()?;
        let status = reply.split(' ').nth(1)?.parse().ok()?;
        let body = reply.split_once("\r\n\r\n")?.1;
        Some((
            status,
            serde_json::from_str(body).unwrap_or(serde_json::Value::String(body.into())),
        ))
    }

    fn get(&self, path: &str) -> Option<serde_json::Value> {
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        self.request(&request)
            .filter(|(status, _)| *status == 200)
            .map(|(_, body)| body)
    }

    fn put(&self, config: &str) -> (u16, serde_json::Value) {
        let head = format!(
            "PUT /v1/config HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}",
            config.len()
        );
        self.request(&format!("{head}\r\n\r\n{config}")).unwrap()
    }

    /// The status once it fulfils a condition; the whole log if it does not within 10 s.
    #[track_caller]
    fn wait(&self, what: &str, condition: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut last = None;
        while Instant::now() < deadline {
            last = self.get("/v1/status");
            if let Some(status) = last.as_ref().filter(|status| condition(status)) {
                return status.clone();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let log = std::fs::read_to_string(self.directory.join("tombolod.log")).unwrap_or_default();
        panic!("{what} did not come; status {last:?}\n{log}");
    }

    fn running(&self) -> serde_json::Value {
        self.wait("a running dataplane", |status| {
            status["dataplane"]["state"] == "running"
        })
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let pid = self
            .get("/v1/status")
            .and_then(|status| status["dataplane"]["pid"].as_i64());
        if let Some(mut control) = self.control.take() {
            let _ = control.kill();
            let _ = control.wait();
        }
        if let Some(pid) = pid {
            kill(pid);
        }
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn kill(pid: i64) {
    let _ = Command::new("kill").args(["-9", &pid.to_string()]).status();
}

#[test]
fn a_gateway_starts_and_sets_the_kernel() {
    if !inside("a_gateway_starts_and_sets_the_kernel") {
        return;
    }
    let mut gateway = Gateway::new("start");
    gateway.start();
    let status = gateway.running();
    assert_eq!(status["gateway"], "gw-test");
    assert_eq!(status["dataplane"]["workers"], 2);
    assert_eq!(status["dataplane"]["adopted"], false);
    assert!(
        status["dataplane"]["aead"].is_null(),
        "this dataplane has no workers, who would say it"
    );
    assert!(ip("address show dev a0").contains("10.1.0.1/24"));
    assert!(ip("address show dev a0").contains("fd00:1::1/64"));
    assert_eq!(
        std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap().trim(),
        "0"
    );
    let ports = gateway.get("/v1/ports").unwrap();
    assert_eq!(ports[0]["name"], "cloud-prod");
    let metrics = gateway.get("/metrics").unwrap();
    assert!(
        metrics.as_str().unwrap().contains("tombolo_dataplane_up 1"),
        "{metrics}"
    );
    let mut second = Command::new(env!("CARGO_BIN_EXE_tombolod"));
    second
        .arg("--runtime-dir")
        .arg(gateway.directory.join("run"))
        .arg("--state-dir")
        .arg(gateway.directory.join("state"));
    assert!(
        !second.status().unwrap().success(),
        "one tombolod per runtime directory"
    );
    gateway.running();
}

#[test]
fn a_refused_configuration_changes_nothing_and_an_accepted_one_stays() {
    if !inside("a_refused_configuration_changes_nothing_and_an_accepted_one_stays") {
        return;
    }
    let mut gateway = Gateway::new("put");
    gateway.start();
    gateway.running();
    let before = (gateway.get("/v1/generation"), gateway.get("/v1/config"));
    let (status, refusal) = gateway.put("gateway: x\nnonsense: 1\n");
    assert_eq!(status, 422, "{refusal}");
    assert!(refusal["problems"][0]["line"].as_u64().unwrap() > 0, "{refusal}");
    let (status, refusal) = gateway.put(&CONFIG.replace("workers: 2", "workers: 3"));
    assert_eq!(status, 409, "{refusal}");
    let why = refusal["error"].as_str().unwrap();
    assert!(
        why.contains("it says `workers: 3`, the dataplane runs with 2"),
        "{refusal}"
    );
    assert_eq!((gateway.get("/v1/generation"), gateway.get("/v1/config")), before);
    assert!(!gateway.directory.join("state/config.yaml").exists());

    let other = CONFIG.replace("10.1.1.1/24", "10.1.2.1/24");
    let (status, applied) = gateway.put(&other);
    assert_eq!(
        (status, &applied["active"]),
        (200, &serde_json::Value::Bool(true)),
        "{applied}"
    );
    assert!(ip("address show dev b0").contains("10.1.2.1/24"));
    assert!(
        !ip("address show dev b0").contains("10.1.1.1/24"),
        "the old address is gone"
    );
    assert_eq!(
        std::fs::read_to_string(gateway.directory.join("state/config.yaml")).unwrap(),
        other
    );
    gateway.kill_control();
    gateway.start();
    gateway.running();
    assert_eq!(
        gateway.get("/v1/config").unwrap().as_str().unwrap(),
        other,
        "kept for the next start"
    );
}

#[test]
fn either_process_may_die() {
    if !inside("either_process_may_die") {
        return;
    }
    let mut gateway = Gateway::new("death");
    gateway.start();
    let first = gateway.running();
    let pid = first["dataplane"]["pid"].as_i64().unwrap();
    gateway.kill_control();
    gateway.start();
    let second = gateway.running();
    assert_eq!(
        second["dataplane"]["pid"].as_i64(),
        Some(pid),
        "the running dataplane is taken over"
    );
    assert_eq!(second["dataplane"]["adopted"], true);
    let generation = |status: &serde_json::Value| status["generation"]["published"].as_u64().unwrap();
    assert!(generation(&second) >= generation(&first), "its generation goes on");
    let killed = Instant::now();
    kill(pid);
    let third = gateway.wait("another dataplane", |status| {
        status["dataplane"]["state"] == "running" && status["dataplane"]["pid"].as_i64() != Some(pid)
    });
    assert!(
        killed.elapsed() < Duration::from_secs(1),
        "back after {:?}",
        killed.elapsed()
    );
    assert_eq!(third["dataplane"]["restarts"], 1);
    let (status, applied) = gateway.put(CONFIG);
    assert_eq!(
        (status, &applied["active"]),
        (200, &serde_json::Value::Bool(true)),
        "{applied}"
    );
}

/// What a process has open under a name of shared memory.
fn held(pid: i64, name: &str) -> Option<PathBuf> {
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let mut paths = descriptors.map(|entry| entry.unwrap().path());
    paths.find(|path| std::fs::read_link(path).is_ok_and(|link| link.to_string_lossy().contains(name)))
}

fn maps(pid: i64, name: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/maps"))
        .unwrap()
        .contains(name)
}

#[test]
fn ike_sas_outlive_either_process_but_not_both() {
    if !inside("ike_sas_outlive_either_process_but_not_both") {
        return;
    }
    let metric = |gateway: &Gateway, name: &str| {
        let metrics = gateway.get("/metrics").unwrap();
        let mut lines = metrics.as_str().unwrap().lines();
        let found = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        found.unwrap().parse::<u64>().unwrap()
    };
    let records = |gateway: &Gateway| metric(gateway, "tombolo_secrets_records");
    let spis = |gateway: &Gateway| gateway.get("/v1/tunnels").unwrap()[0]["ike"]["spis"].clone();
    let pid = |status: &serde_json::Value| status["dataplane"]["pid"].as_i64().unwrap();
    let name = "memfd:tombolo-secrets";
    let mut gateway = Gateway::new("secrets");
    gateway.give_a_tunnel_to("10.1.1.2");
    gateway.start();
    let dataplane = pid(&gateway.running());
    // Nobody answers: the IKE SA that was begun is the record.
    let begun = spis(&gateway);
    assert!(begun.is_string(), "{begun}");
    assert_eq!(records(&gateway), 1);
    assert_eq!(metric(&gateway, "tombolo_ike_sas"), 1);
    assert!(metric(&gateway, "tombolo_ike_datagrams_total{kind=\"sent\"}") >= 1);
    let counted = gateway.get("/v1/ike").unwrap();
    assert_eq!(
        (&counted[0]["name"], &counted[0]["value"]),
        (&"ike-sas".into(), &1.into())
    );
    let control = i64::from(gateway.control.as_ref().unwrap().id());
    assert!(
        maps(control, name) && !maps(dataplane, name),
        "mapped by tombolod alone"
    );
    assert!(held(dataplane, name).is_some(), "the dataplane holds it");

    // A tombolod that is killed is followed by one that goes on with the same IKE SA.
    gateway.kill_control();
    gateway.start();
    gateway.running();
    assert_eq!((records(&gateway), spis(&gateway)), (1, begun.clone()));

    // It is given to the next dataplane.
    kill(dataplane);
    let status = gateway.wait("another dataplane", |status| {
        status["dataplane"]["state"] == "running" && status["dataplane"]["pid"].as_i64() != Some(dataplane)
    });
    let dataplane = pid(&status);
    assert!(held(dataplane, name).is_some() && !maps(dataplane, name));
    assert_eq!((records(&gateway), spis(&gateway)), (1, begun.clone()));

    gateway.kill_control();
    kill(dataplane);
    gateway.start();
    let status = gateway.wait("a fresh dataplane", |status| {
        status["dataplane"]["state"] == "running" && status["dataplane"]["pid"].as_i64() != Some(dataplane)
    });
    assert_eq!(status["dataplane"]["adopted"], serde_json::Value::Bool(false));
    assert_eq!(records(&gateway), 1);
    assert_ne!(spis(&gateway), begun, "it begins anew");
}

#[test]
fn a_peer_by_name_is_looked_up() {
    if !inside("a_peer_by_name_is_looked_up") {
        return;
    }
    let mut gateway = Gateway::new("names");
    // The one name that every machine knows.
    gateway.give_a_tunnel_to("localhost");
    gateway.start();
    gateway.running();
    gateway.wait("an IKE SA to the name's address", |_| {
        gateway.get("/v1/tunnels").unwrap()[0]["ike"]["at"] == "127.0.0.1:500"
    });
}
