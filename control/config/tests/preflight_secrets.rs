//! What the secrets of a tunnel let it be told before its peer sees them, at any time.

#[path = "../../ike/tests/authority/mod.rs"]
mod authority;
#[path = "../../ike/tests/openssl/mod.rs"]
mod openssl;

use authority::{Authority, DAY, now};
use openssl::OpenSsl;
use tombolo_config::connection::{IkeSecrets, Proof};
use tombolo_config::parse;
use tombolo_config::preflight::{Verdict, secrets};
use tombolo_ike::secret::Secret;

const OWN: &str = "gw.example.org";

/// What the tunnel of the example needs, in DER.
#[derive(Clone)]
struct Files {
    key: Vec<u8>,
    chain: Vec<Vec<u8>>,
    roots: Vec<Vec<u8>>,
    lists: Vec<Vec<u8>>,
    ppk: usize,
}

/// A root for ten years, an own certificate for 100 days and a revocation list for 200.
fn files(openssl: &OpenSsl) -> Files {
    let root = Authority::new(openssl, "root", "P-256");
    let roots = vec![root.root("CN=root", "")];
    let names = format!("subjectAltName=DNS:{OWN}");
    let own = root.issue("gw", "P-256", "CN=gw", &names, 100);
    Files {
        key: openssl.run("pkcs8 -topk8 -nocrypt -in gw.key -outform DER"),
        chain: vec![own],
        roots,
        lists: vec![root.revocation_list("01", 200)],
        ppk: 32,
    }
}

/// What is found: about what, how it looks, in words.
fn found(files: &Files, unix: u64) -> Vec<(&'static str, Verdict, String)> {
    let gateway = parse(include_str!("../examples/ipsec-tombolo.yaml"), "x.yaml").unwrap();
    let read = IkeSecrets {
        proof: Proof::Certificate {
            key: Secret::new(files.key.clone()),
            chain: files.chain.clone().into(),
            roots: files.roots.clone().into(),
            revocations: files.lists.clone().into(),
        },
        ppk: Some(Secret::new(vec![7; files.ppk])),
    };
    let findings = secrets(&gateway.tunnels[0], &read, unix).into_iter();
    findings
        .map(|one| {
            (
                one.about,
                one.verdict,
                format!("{} {}", one.text, one.hint.unwrap_or_default()),
            )
        })
        .collect()
}

/// The one finding that is not good.
fn complaint(files: &Files, unix: u64) -> (&'static str, Verdict, String) {
    let all = found(files, unix);
    let mut complaints = all.iter().filter(|(_, verdict, _)| *verdict != Verdict::Good);
    let complaint = complaints.next().unwrap_or_else(|| panic!("nothing is wrong: {all:?}"));
    assert!(complaints.next().is_none(), "{all:?}");
    complaint.clone()
}

#[test]
fn sound_secrets_are_good() {
    let openssl = OpenSsl::new();
    let all = found(&files(&openssl), now());
    let abouts: Vec<_> = all.iter().map(|(about, ..)| *about).collect();
    assert_eq!(abouts, ["ppk", "key", "certificate", "roots"], "{all:?}");
    assert!(all.iter().all(|(_, verdict, _)| *verdict == Verdict::Good), "{all:?}");
}

#[test]
fn the_time_of_each_certificate_and_list_is_looked_at() {
    let openssl = OpenSsl::new();
    let (files, now) = (files(&openssl), now());
    assert!(
        found(&files, now + 69 * DAY)
            .iter()
            .all(|(_, verdict, _)| *verdict == Verdict::Good)
    );
    // Whole days are counted down.
    let (about, verdict, text) = complaint(&files, now + 75 * DAY + DAY / 2);
    assert_eq!((about, verdict), ("certificate", Verdict::Note));
    assert!(text.starts_with("our certificate CN=gw ends in 24 days"), "{text}");
    let (about, verdict, text) = complaint(&files, now + 101 * DAY);
    assert_eq!((about, verdict), ("certificate", Verdict::Bad));
    assert!(
        text.contains("has ended") && text.contains("replace its file"),
        "{text}"
    );

    let mut lasting = files.clone();
    let own = format!("subjectAltName=DNS:{OWN}");
    let root = Authority {
        openssl: &openssl,
        name: "root".into(),
        options: "",
        serial: 7.into(),
    };
    lasting.chain = vec![root.issue("gw", "P-256", "CN=gw", &own, 3000)];
    lasting.key = openssl.run("pkcs8 -topk8 -nocrypt -in gw.key -outform DER");
    let (about, verdict, text) = complaint(&lasting, now + 201 * DAY);
    assert_eq!((about, verdict), ("revocations", Verdict::Bad));
    assert!(text.contains("fetch the current one"), "{text}");
    lasting.lists.clear();
    assert!(
        found(&lasting, now + 201 * DAY)
            .iter()
            .all(|(_, verdict, _)| *verdict == Verdict::Good)
    );

    // The list and the certificate for longer than the root.
    let all = found(&lasting, now + 3651 * DAY);
    let roots: Vec<_> = all.iter().filter(|(about, ..)| *about == "roots").collect();
    assert!(
        matches!(&roots[..], [(_, Verdict::Bad, text)] if text.contains("the root CN=root has ended")),
        "{all:?}"
    );
    // One of two roots that has ended is no reason to stay down.
    lasting
        .roots
        .push(Authority::new(&openssl, "young", "P-256").self_signed(
            "CN=young",
            "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign",
        ));
    let early = found(&lasting, now - 10 * DAY);
    let whose = |about: &str| -> Vec<_> { early.iter().filter(|(one, ..)| *one == about).collect() };
    assert!(
        matches!(&whose("certificate")[..], [(_, Verdict::Bad, text)] if text.contains("begins on") && text.contains("check the clock")),
        "{early:?}"
    );
    assert_eq!(whose("roots").len(), 2, "{early:?}");
    assert!(whose("roots").iter().all(|(_, verdict, _)| *verdict == Verdict::Bad));
}

#[test]
fn a_key_of_another_certificate_is_told() {
    let openssl = OpenSsl::new();
    let mut files = files(&openssl);
    files.key = openssl.key("other", "P-256");
    let (about, verdict, text) = complaint(&files, now());
    assert_eq!((about, verdict), ("key", Verdict::Bad));
    assert!(
        text.contains("our private key is not that of our certificate"),
        "{text}"
    );
    files.key = vec![1, 2, 3];
    let (about, _, text) = complaint(&files, now());
    assert!(about == "key" && text.contains("openssl pkcs8 -topk8"), "{text}");
}

#[test]
fn a_certificate_without_our_name_is_told() {
    let openssl = OpenSsl::new();
    let mut files = files(&openssl);
    let root = Authority {
        openssl: &openssl,
        name: "root".into(),
        options: "",
        serial: 9.into(),
    };
    files.chain = vec![root.issue("gw", "P-256", "CN=gw", "subjectAltName=DNS:gw2.example.org", 100)];
    files.key = openssl.run("pkcs8 -topk8 -nocrypt -in gw.key -outform DER");
    let (about, verdict, text) = complaint(&files, now());
    assert_eq!((about, verdict), ("certificate", Verdict::Bad));
    assert!(
        text.contains(OWN) && text.contains("gw2.example.org") && text.contains("local-id"),
        "{text}"
    );
    root.revoke("gw");
    files.lists = vec![root.revocation_list("02", 200)];
    let (about, _, text) = complaint(&files, now());
    assert!(
        about == "certificate" && text.contains("revoked by our revocation list"),
        "{text}"
    );
}

#[test]
fn what_cannot_be_read_is_told_by_what_it_should_be() {
    let openssl = OpenSsl::new();
    let good = files(&openssl);
    let mut files = good.clone();
    files.lists = vec![vec![5; 40]];
    let all = found(&files, now());
    assert!(
        all.iter()
            .any(|(about, verdict, _)| *about == "revocations" && *verdict == Verdict::Bad),
        "{all:?}"
    );
    // A root that is no authority: alone it is of no use, beside another it does no harm.
    files = good.clone();
    files.roots = good.chain.clone();
    let all = found(&files, now());
    assert!(
        all.iter()
            .any(|(about, verdict, _)| *about == "roots" && *verdict == Verdict::Bad),
        "{all:?}"
    );
    files.roots.extend(good.roots.clone());
    let (about, verdict, _) = complaint(&files, now());
    assert_eq!((about, verdict), ("roots", Verdict::Note));
    files = good;
    files.ppk = 31;
    let (about, verdict, text) = complaint(&files, now());
    assert_eq!((about, verdict), ("ppk", Verdict::Bad));
    assert!(text.contains("31 bytes"), "{text}");
}
