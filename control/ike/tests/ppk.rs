//! Post-quantum pre-shared keys (RFC 8784): who has one, who insists.

mod lab;

use lab::network::Hostility;
use lab::{Lab, connection};
use tombolo_ike::What;
use tombolo_ike::connection::{Connection, Ppk};
use tombolo_ike::endpoint::Command;
use tombolo_ike::failure::Failure;
use tombolo_ike::secret::Secret;

fn with(connection: Connection, key: &[u8], required: bool) -> Connection {
    let ppk = Ppk {
        id: b"a".to_vec(),
        key: Secret::from(key),
        required,
    };
    Connection {
        ppk: Some(ppk),
        ..connection
    }
}

const KEY: &[u8] = b"thirty-two bytes of a quantum key";

fn up(first: Connection, second: Connection) -> Lab {
    let mut lab = Lab::new(1, [vec![first], vec![second]], Hostility::default());
    lab.run(lab.now + 3000);
    lab
}

fn failures(lab: &Lab) -> Vec<&Failure> {
    let mut failures = Vec::new();
    for news in lab.hosts.iter().flat_map(|host| &host.news) {
        if let What::Ended { why } = &news.what {
            failures.push(why);
        }
    }
    failures
}

#[test]
fn both_have_it() {
    for required in [[false, false], [true, false], [false, true], [true, true]] {
        let [first, second] = required;
        let mut lab = up(with(connection(0), KEY, first), with(connection(1), KEY, second));
        lab.is_single().unwrap();
        lab.command(1, Command::Rekey);
        lab.run(lab.now + 70_000);
        lab.is_single().unwrap();
    }
}

#[test]
fn it_is_mixed_into_the_keys() {
    let keys = |lab: &Lab| lab.hosts[0].installed[0].keys.clone();
    let both = up(with(connection(0), KEY, true), with(connection(1), KEY, true));
    let other = b"another key that has as many bytes";
    let others = up(with(connection(0), other, true), with(connection(1), other, true));
    assert_ne!(keys(&both), keys(&others), "all else is the same: one seed");
}

#[test]
fn who_may_goes_without() {
    for lab in [
        up(with(connection(0), KEY, false), connection(1)),
        up(connection(0), with(connection(1), KEY, false)),
    ] {
        lab.is_single().unwrap();
    }
}

#[test]
fn who_insists_is_not_talked_out_of_it() {
    for lab in [
        up(with(connection(0), KEY, true), connection(1)),
        up(connection(0), with(connection(1), KEY, true)),
    ] {
        assert!(lab.hosts.iter().all(|host| host.installed.is_empty()));
        let said = failures(&lab);
        assert!(said.iter().any(|why| matches!(why, Failure::Ppk(_))), "{said:?}");
    }
}

#[test]
fn two_different_keys_of_one_name_do_not_fit() {
    let lab = up(
        with(connection(0), KEY, false),
        with(connection(1), b"another key", false),
    );
    assert!(lab.hosts.iter().all(|host| host.installed.is_empty()));
}
