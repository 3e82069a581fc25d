//! The JSON that clients rely on, field by field. A change here is a change of the interface.

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use tombolo_api::*;

/// The value becomes this JSON and comes back as it was.
#[track_caller]
fn golden<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: T, json: &str) {
    assert_eq!(serde_json::to_string(&value).unwrap(), json);
    assert_eq!(serde_json::from_str::<T>(json).unwrap(), value);
}

#[test]
fn a_refusal() {
    let problem = Problem {
        file: "a.yaml".into(),
        line: 2,
        column: 3,
        message: "unknown key".into(),
        hint: Some("x?".into()),
    };
    golden(
        Refusal {
            error: "1 problem".into(),
            hint: None,
            problems: vec![problem],
        },
        r#"{"error":"1 problem","problems":[{"file":"a.yaml","line":2,"column":3,"message":"unknown key","hint":"x?"}]}"#,
    );
    golden(
        Refusal {
            error: "no".into(),
            hint: None,
            problems: vec![],
        },
        r#"{"error":"no"}"#,
    );
}

#[test]
fn configuration() {
    golden(Checked { ok: true }, r#"{"ok":true}"#);
    golden(
        Applied {
            active: false,
            generation: 7,
            warnings: vec!["port a: no device".into()],
        },
        r#"{"active":false,"generation":7,"warnings":["port a: no device"]}"#,
    );
}

#[test]
fn the_status() {
    let status = Status {
        gateway: "gw-a".into(),
        version: "0.1.0".into(),
        pid: 10,
        uptime_seconds: 5,
        dataplane: Dataplane {
            state: DataplaneState::Running,
            pid: Some(11),
            adopted: true,
            restarts: 1,
            workers: 2,
            aead: Some("ring".into()),
        },
        generation: Generation {
            published: 3,
            announced: None,
            used_bytes: 4096,
            total_bytes: 8192,
        },
        regions: vec![Region {
            name: "state".into(),
            bytes: 1,
            page_bytes: 2,
        }],
        summary: Summary::default(),
        alarms: vec![],
    };
    let json = concat!(
        r#"{"gateway":"gw-a","version":"0.1.0","pid":10,"uptime-seconds":5,"dataplane":{"state":"running","pid":11,"#,
        r#""adopted":true,"restarts":1,"workers":2,"aead":"ring"},"generation":{"published":3,"announced":null,"used-bytes":4096,"#,
        r#""total-bytes":8192},"regions":[{"name":"state","bytes":1,"page-bytes":2}],"summary":{"ports-up":0,"ports":0,"#,
        r#""ports-generic":0,"ports-zero-copy":0,"#,
        r#""tunnels-up":0,"tunnels":0,"sessions4":0,"sessions4-max":0,"sessions6":0,"sessions6-max":0,"received":0,"#,
        r#""sent":0,"dropped":0},"alarms":[]}"#
    );
    golden(status, json);
}

#[test]
fn network() {
    golden(
        Port {
            name: "uplink".into(),
            device: "up0".into(),
            segment: "internet".into(),
            up: true,
            underlay: true,
            mac: "02:00:00:00:00:01".into(),
            mtu: 1500,
            vlan: None,
            queues: 2,
            xdp: "native".into(),
            copy: Some("copy".into()),
            addresses: vec!["192.0.2.1/24".into()],
            tap: Some("tombolo0".into()),
            error: None,
        },
        concat!(
            r#"{"name":"uplink","device":"up0","segment":"internet","up":true,"underlay":true,"mac":"02:00:00:00:00:01","#,
            r#""mtu":1500,"vlan":null,"queues":2,"xdp":"native","copy":"copy","addresses":["192.0.2.1/24"],"tap":"tombolo0"}"#
        ),
    );
    golden(
        Route {
            segment: "prod".into(),
            prefix: "10.2.0.0/24".into(),
            next_hop: "tunnel prod-to-b".into(),
        },
        r#"{"segment":"prod","prefix":"10.2.0.0/24","next-hop":"tunnel prod-to-b"}"#,
    );
    golden(
        Neighbour {
            port: "uplink".into(),
            address: "192.0.2.254".into(),
            mac: None,
            state: "unresolved".into(),
        },
        r#"{"port":"uplink","address":"192.0.2.254","mac":null,"state":"unresolved"}"#,
    );
}

#[test]
fn tunnels_have_no_key() {
    let sa = Sa {
        direction: "outbound".into(),
        spi: 300,
        cipher: "aes-256-gcm".into(),
        esn: true,
        sequence: 9,
        leased: Some(16),
        replay_window: None,
        packets: 8,
        bytes: 800,
        idle_seconds: Some(2),
        authentic: None,
        lost: None,
        reordered: None,
    };
    let inbound = Sa {
        direction: "inbound".into(),
        leased: None,
        replay_window: Some(4096),
        authentic: Some(9),
        lost: Some(1),
        reordered: Some([2, 0, 0, 0, 0, 0, 0, 1]),
        ..sa.clone()
    };
    golden(
        inbound,
        concat!(
            r#"{"direction":"inbound","spi":300,"cipher":"aes-256-gcm","esn":true,"sequence":9,"leased":null,"#,
            r#""replay-window":4096,"packets":8,"bytes":800,"idle-seconds":2,"authentic":9,"lost":1,"#,
            r#""reordered":[2,0,0,0,0,0,0,1]}"#
        ),
    );
    let tunnel = Tunnel {
        name: "a".into(),
        up: false,
        reason: Some("run `tombolo sa init`".into()),
        segment: "prod".into(),
        local: "192.0.2.1".into(),
        remote: "198.51.100.1".into(),
        encapsulation: "none".into(),
        mtu: 1446,
        sas: vec![sa],
        ike: None,
    };
    golden(
        tunnel,
        concat!(
            r#"{"name":"a","up":false,"reason":"run `tombolo sa init`","segment":"prod","local":"192.0.2.1","#,
            r#""remote":"198.51.100.1","encapsulation":"none","mtu":1446,"sas":[{"direction":"outbound","spi":300,"#,
            r#""cipher":"aes-256-gcm","esn":true,"sequence":9,"leased":16,"replay-window":null,"packets":8,"#,
            r#""bytes":800,"idle-seconds":2}]}"#
        ),
    );
    golden(SaInit { tunnel: "a".into() }, r#"{"tunnel":"a"}"#);
    assert!(serde_json::from_str::<SaInit>(r#"{"tunnel":"a","key":"00"}"#).is_err());
}

#[test]
fn bundles_say_who_carries_what() {
    let member = BundleMember {
        tunnel: "a".into(),
        up: true,
        shares: 128,
        shares_all: 256,
        ceiling_bits: Some(1_250_000_000),
        ceiling_packets: None,
    };
    golden(
        Bundle {
            name: "both".into(),
            segment: "prod".into(),
            members: vec![member],
        },
        concat!(
            r#"{"name":"both","segment":"prod","members":[{"tunnel":"a","up":true,"shares":128,"shares-all":256,"#,
            r#""ceiling-bits":1250000000}]}"#
        ),
    );
}

#[test]
fn what_ike_counted_has_a_kind_and_a_name() {
    golden(
        IkeCounter {
            kind: "dropped".into(),
            name: "stray".into(),
            value: 3,
            text: "For nobody.".into(),
        },
        r#"{"kind":"dropped","name":"stray","value":3,"text":"For nobody."}"#,
    );
}

#[test]
fn a_captures_lines_tell_packets_from_what_was_missed() {
    let missed = CaptureMissed {
        ring_full: 2,
        client_slow: 3,
    };
    golden(CaptureLine::Missed(missed), r#"{"ring-full":2,"client-slow":3}"#);
    let packet = r#"{"time-ns":5,"worker":1,"port":"uplink","direction":"in","stage":"wire","fate":"send","length":60,"bytes":""}"#;
    let line: CaptureLine = serde_json::from_str(packet).unwrap();
    assert!(matches!(line, CaptureLine::Packet(_)));
}

#[test]
fn books_and_captures() {
    golden(
        PortCounters {
            port: "uplink".into(),
            counters: [("received".to_owned(), 3)].into(),
            dropped: 1,
            balance: 0,
        },
        r#"{"port":"uplink","counters":{"received":3},"dropped":1,"balance":0}"#,
    );
    golden(
        Drop {
            port: "uplink".into(),
            reason: "not-ip".into(),
            text: "No.".into(),
            packets: 2,
        },
        r#"{"port":"uplink","reason":"not-ip","text":"No.","packets":2}"#,
    );
    golden(
        CapturedPacket {
            time_ns: 5,
            worker: 1,
            port: "uplink".into(),
            direction: "in".into(),
            stage: "wire".into(),
            fate: "send".into(),
            length: 60,
            bytes: "00ff".into(),
        },
        concat!(
            r#"{"time-ns":5,"worker":1,"port":"uplink","direction":"in","stage":"wire","fate":"send","length":60,"#,
            r#""bytes":"00ff"}"#
        ),
    );
}
