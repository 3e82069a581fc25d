//! Certificate chains that OpenSSL made: RFC 4945, RFC 5280.

mod authority;
mod lab;
mod openssl;

use authority::{Authority, DAY, now};
use openssl::OpenSsl;
use tombolo_ike::auth::certificate_error::{CertificateError, Holder, Named, date};
use tombolo_ike::auth::chain::{Trust, certificate_request, check_trust, ends_at, verify_chain};
use tombolo_ike::auth::check_own;
use tombolo_ike::auth::endings::endings;
use tombolo_ike::auth::error::AuthError;
use tombolo_ike::auth::public_key::{KeyError, PublicKey};
use tombolo_ike::connection::{OwnProof, PeerProof};
use tombolo_ike::identity::{Identity, distinguished_name};
use tombolo_ike::secret::Secret;

const NAME: &str = "subjectAltName=DNS:gw-a.example";

fn name(text: &str) -> Identity {
    Identity::Name(text.to_owned())
}

fn check(chain: &[&[u8]], roots: &[Vec<u8>], now: u64) -> Result<PublicKey, CertificateError> {
    check_with(chain, roots, &[], now)
}

fn check_with(chain: &[&[u8]], roots: &[Vec<u8>], lists: &[Vec<u8>], now: u64) -> Result<PublicKey, CertificateError> {
    let chain: Vec<Vec<u8>> = chain.iter().map(|der| der.to_vec()).collect();
    let trust = Trust {
        roots,
        revocations: lists,
    };
    verify_chain(&chain, trust, &name("gw-a.example"), None, now)
}

fn named(holder: Holder, subject: &str) -> Named {
    Named {
        holder,
        subject: subject.to_owned(),
    }
}

#[test]
fn every_kind_of_key_and_signature() {
    let openssl = OpenSsl::new();
    for (kind, options) in [
        ("RSA:2048", "-sha256"),
        ("RSA:3072", "-sha512"),
        (
            "RSA:2048",
            "-sha384 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:digest",
        ),
        ("P-256", "-sha256"),
        ("P-384", "-sha384"),
        ("P-384", "-sha256"),
        ("ED25519", ""),
    ] {
        let authority = Authority {
            options,
            ..Authority::new(&openssl, "root", kind)
        };
        let root = authority.root("CN=root", "");
        let peer = authority.issue("peer", kind, "CN=gw-a", NAME, 30);
        let key = check(&[&peer], &[root], now()).unwrap_or_else(|reason| panic!("{kind} {options}: {reason}"));
        assert_eq!(Ok(key), PublicKey::from_spki(&openssl.public("peer")), "{kind}");
    }
}

/// RFC 7296 §3.6: only the first has its place; what leads nowhere is ignored.
#[test]
fn intermediates_in_any_order() {
    let openssl = OpenSsl::new();
    let authority = Authority::new(&openssl, "root", "P-256");
    let root = authority.root("CN=root", "");
    let upper = authority.intermediate("upper", "CN=upper", "", 365);
    let lower = upper.intermediate("lower", "CN=lower", "", 365);
    let peer = lower.issue("peer", "P-256", "CN=gw-a", NAME, 30);
    let other = Authority::new(&openssl, "other", "P-256").root("CN=other", "");
    let (one, two) = (upper.certificate(), lower.certificate());
    let roots = [other.clone(), root.clone()];
    for chain in [
        &[&peer[..], &two, &one][..],
        &[&peer, &one, &two],
        &[&peer, &root, &other, &one, &two],
        &[&peer, &two, &two, &one, &one, &peer],
    ] {
        assert!(check(chain, &roots, now()).is_ok());
    }
    assert!(matches!(
        check(&[&peer, &one], &roots, now()),
        Err(CertificateError::UnknownIssuer { certificate, issuer })
            if certificate == named(Holder::Peer, "CN=gw-a") && issuer == "CN=lower"
    ));
    assert!(matches!(
        check(&[&peer, &two, &one], &[other], now()),
        Err(CertificateError::UnknownIssuer { certificate, issuer })
            if certificate == named(Holder::Intermediate, "CN=upper") && issuer == "CN=root"
    ));
    assert!(
        check(&[&one, &two, &peer], &roots, now()).is_err(),
        "the first is the peer's own"
    );
    assert_eq!(check(&[], &roots, now()), Err(CertificateError::None));
    assert_eq!(check(&[&peer[..]; 9], &roots, now()), Err(CertificateError::TooMany(9)));
    assert!(check(&[&peer, &two, &one], &[], now()).is_err());
}

#[test]
fn dates() {
    let openssl = OpenSsl::new();
    let authority = Authority::new(&openssl, "root", "P-256");
    let root = authority.root("CN=root", "");
    let middle = authority.intermediate("middle", "CN=middle", "", 20);
    let short = middle.issue("short", "P-256", "CN=short", NAME, 10);
    let long = middle.issue("long", "P-256", "CN=long", NAME, 9000);
    let over = authority.issue("over", "P-256", "CN=over", NAME, 9000);
    let chain = middle.certificate();
    let roots = [root];
    let expired = |chain: &[&[u8]], days| match check(chain, &roots, now() + days * DAY) {
        Err(CertificateError::Expired { certificate, ended }) => {
            let words = CertificateError::Expired {
                certificate: certificate.clone(),
                ended,
            }
            .to_string();
            assert!(words.contains(&format!("ended on {}", date(ended))), "{words}");
            certificate
        }
        other => panic!("{other:?}"),
    };
    assert!(check(&[&short, &chain], &roots, now() + 9 * DAY).is_ok());
    assert_eq!(expired(&[&short, &chain], 11), named(Holder::Peer, "CN=short"));
    assert!(check(&[&long, &chain], &roots, now() + 19 * DAY).is_ok());
    assert_eq!(expired(&[&long, &chain], 21), named(Holder::Intermediate, "CN=middle"));
    assert_eq!(expired(&[&over], 3651), named(Holder::Root, "CN=root"));

    let early = now() - DAY;
    match check(&[&short, &chain], &roots, early) {
        Err(CertificateError::NotYetValid { certificate, now, .. }) => {
            assert_eq!((certificate, now), (named(Holder::Peer, "CN=short"), early));
        }
        other => panic!("{other:?}"),
    }
    // What `openssl x509 -enddate` says.
    let ends = ends_at(&[long, chain, short]).expect("certificates");
    assert_eq!(ends.subject, "CN=short");
    let text = openssl.run("x509 -in short.crt -noout -enddate -dateopt iso_8601");
    let text = String::from_utf8(text).unwrap().replace(' ', "T");
    assert_eq!(text.trim(), format!("notAfter={}", date(ends.unix)));
    assert_eq!(ends_at(&[]), None);
}

#[test]
fn what_ends_within_thirty_days_is_told_of() {
    let openssl = OpenSsl::new();
    let authority = Authority::new(&openssl, "root", "P-256");
    let root = authority.root("CN=root", "");
    let own = authority.issue("peer", "ED25519", "CN=gw-a", NAME, 90);
    let mut connection = lab::connection(0);
    assert_eq!(
        endings(&connection, now() + 1000 * DAY),
        Vec::<String>::new(),
        "a key has no end"
    );
    connection.own.proof = OwnProof::Certificate {
        key: Secret::new(Vec::new()),
        chain: vec![own].into(),
    };
    connection.peer.proof = PeerProof::Certificate {
        roots: vec![root].into(),
        revocations: Vec::new().into(),
    };
    assert_eq!(endings(&connection, now() + 50 * DAY), Vec::<String>::new());
    let told = endings(&connection, now() + 70 * DAY + DAY / 2);
    assert!(
        told[0].starts_with("tunnel t: our certificate CN=gw-a ends in 19 days ("),
        "{told:?}"
    );
    assert_eq!(told.len(), 1, "the root lasts longer");
    let told = endings(&connection, now() + 91 * DAY);
    assert!(
        told[0].starts_with("tunnel t: our certificate CN=gw-a has ended ("),
        "{told:?}"
    );
    let told = endings(&connection, now() + 40_000 * DAY);
    assert!(
        told[1].starts_with("tunnel t: the root CN=root has ended ("),
        "{told:?}"
    );
}

#[test]
fn a_revocation_list_that_ends_within_a_day_is_told_of() {
    let openssl = OpenSsl::new();
    let authority = Authority::new(&openssl, "root", "P-256");
    let mut connection = lab::connection(0);
    connection.peer.proof = PeerProof::Certificate {
        roots: vec![authority.root("CN=root", "")].into(),
        revocations: vec![authority.revocation_list("01", 20), authority.revocation_list("02", 40)].into(),
    };
    assert_eq!(endings(&connection, now() + 18 * DAY), Vec::<String>::new());
    let told = endings(&connection, now() + 19 * DAY + DAY / 2);
    assert!(
        told[0].starts_with("tunnel t: a revocation list ends in 0 days ("),
        "{told:?}"
    );
    let told = endings(&connection, now() + 21 * DAY);
    assert!(
        told[0].starts_with("tunnel t: a revocation list has ended ("),
        "{told:?}"
    );
}

/// Another authority of the same name, and a byte changed anywhere.
#[test]
fn broken_chains() {
    let openssl = OpenSsl::new();
    let authority = Authority::new(&openssl, "root", "P-256");
    let root = authority.root("CN=root", "");
    let peer = authority.issue("peer", "ED25519", "CN=gw-a", NAME, 30);
    let other = Authority::new(&openssl, "other", "P-256").root("CN=root", "");
    assert_eq!(
        check(&[&peer], std::slice::from_ref(&other), now()),
        Err(CertificateError::WrongSignature(named(Holder::Peer, "CN=gw-a")))
    );
    assert!(check(&[&peer], &[other, root.clone()], now()).is_ok());
    let roots = [root];
    for at in 0..peer.len() {
        let mut changed = peer.clone();
        changed[at] ^= 1;
        assert!(check(&[&changed], &roots, now()).is_err(), "byte {at}");
        assert!(check(&[&peer[..at]], &roots, now()).is_err(), "cut to {at}");
    }
    assert!(check(&[&[&peer[..], &[0]].concat()], &roots, now()).is_err());
    assert!(matches!(
        check(&[&peer], &[b"no certificate".to_vec()], now()),
        Err(CertificateError::Malformed {
            holder: Holder::Root,
            ..
        })
    ));
}

/// RFC 4945 §5.1.3.2 and §5.1.3.12.
#[test]
fn key_usage() {
    let openssl = OpenSsl::new();
    let authority = Authority::new(&openssl, "root", "P-256");
    let roots = [authority.root("CN=root", "")];
    let result = |extensions: &str| {
        let peer = authority.issue("peer", "P-256", "CN=gw-a", &format!("{NAME}\n{extensions}"), 30);
        check(&[&peer], &roots, now()).map(|_| ())
    };
    for accepted in [
        "keyUsage=critical,digitalSignature",
        "keyUsage=nonRepudiation",
        "keyUsage=digitalSignature,keyEncipherment",
        "extendedKeyUsage=ipsecIKE",
        "extendedKeyUsage=critical,serverAuth,clientAuth",
        "extendedKeyUsage=clientAuth",
        "extendedKeyUsage=anyExtendedKeyUsage",
        "extendedKeyUsage=ipsecEndSystem",
        "extendedKeyUsage=ipsecTunnel",
        "extendedKeyUsage=ipsecUser",
        "extendedKeyUsage=codeSigning,1.3.6.1.5.5.8.2.2",
    ] {
        assert_eq!(result(accepted), Ok(()), "{accepted}");
    }
    let usage = CertificateError::KeyUsage {
        certificate: named(Holder::Peer, "CN=gw-a"),
        needed: "digitalSignature",
    };
    assert_eq!(result("keyUsage=keyEncipherment"), Err(usage.clone()));
    assert_eq!(result("keyUsage=critical,keyAgreement"), Err(usage));
    assert_eq!(
        result("extendedKeyUsage=codeSigning,emailProtection"),
        Err(CertificateError::ExtendedKeyUsage)
    );
    assert_eq!(
        result("extendedKeyUsage=1.3.6.1.5.5.7.3.18"),
        Err(CertificateError::ExtendedKeyUsage)
    );
    assert_eq!(
        result("1.2.3.4=critical,ASN1:NULL"),
        Err(CertificateError::CriticalExtension)
    );
    assert_eq!(result("1.2.3.4=ASN1:NULL"), Ok(()));
    let own = CertificateError::UsedAsPeer(named(Holder::Peer, "CN=gw-a"));
    assert_eq!(result("basicConstraints=critical,CA:TRUE"), Err(own));
}

/// RFC 5280 §4.2.1.3, §4.2.1.9: who issues certificates must be allowed to.
#[test]
fn authorities() {
    let openssl = OpenSsl::new();
    let authority = Authority::new(&openssl, "root", "P-256");
    let roots = [authority.root("CN=root", "")];
    let below = |extensions: &str| {
        let middle = authority.issue_authority("middle", "CN=middle", extensions, 365);
        let peer = middle.issue("peer", "P-256", "CN=gw-a", NAME, 30);
        check(&[&peer, &middle.certificate()], &roots, now()).map(|_| ())
    };
    let no_authority = CertificateError::NoAuthority(named(Holder::Intermediate, "CN=middle"));
    assert_eq!(below("basicConstraints=critical,CA:TRUE"), Ok(()));
    assert_eq!(below("basicConstraints=CA:TRUE\nkeyUsage=keyCertSign"), Ok(()));
    assert_eq!(below("basicConstraints=CA:FALSE"), Err(no_authority.clone()));
    assert_eq!(below("subjectKeyIdentifier=hash"), Err(no_authority));
    assert_eq!(
        below("basicConstraints=CA:TRUE\nkeyUsage=cRLSign,digitalSignature"),
        Err(CertificateError::KeyUsage {
            certificate: named(Holder::Intermediate, "CN=middle"),
            needed: "keyCertSign"
        })
    );
    assert_eq!(
        below("basicConstraints=CA:TRUE\nextendedKeyUsage=codeSigning"),
        Err(CertificateError::ExtendedKeyUsage)
    );

    let middle = authority.intermediate("closed", "CN=closed", "pathlen:0", 365);
    let lower = middle.intermediate("lower", "CN=lower", "", 365);
    let peer = lower.issue("peer", "P-256", "CN=gw-a", NAME, 30);
    let chain = [&peer[..], &lower.certificate(), &middle.certificate()];
    assert_eq!(check(&chain, &roots, now()), Err(CertificateError::PathLength));
}

/// What is said of the root itself is kept, too, though path building only takes its name and key.
#[test]
fn roots() {
    let openssl = OpenSsl::new();
    let closed = Authority::new(&openssl, "closed", "P-256");
    let root = closed.root("CN=closed", "pathlen:0");
    let middle = closed.intermediate("middle", "CN=middle", "", 365);
    let peer = middle.issue("peer", "P-256", "CN=gw-a", NAME, 30);
    let roots = [root];
    assert_eq!(
        check(&[&peer, &middle.certificate()], &roots, now()),
        Err(CertificateError::PathLength)
    );
    let direct = closed.issue("direct", "P-256", "CN=gw-a", NAME, 30);
    assert!(check(&[&direct], &roots, now()).is_ok());

    for (extensions, error) in [
        (
            "basicConstraints=CA:FALSE",
            CertificateError::NoAuthority(named(Holder::Root, "CN=odd")),
        ),
        (
            "basicConstraints=CA:TRUE\nkeyUsage=digitalSignature",
            CertificateError::KeyUsage {
                certificate: named(Holder::Root, "CN=odd"),
                needed: "keyCertSign",
            },
        ),
    ] {
        let odd = Authority::new(&openssl, "odd", "P-256");
        let root = odd.self_signed("CN=odd", extensions);
        let peer = odd.issue("peer", "P-256", "CN=gw-a", NAME, 30);
        let roots = [root];
        assert_eq!(check(&[&peer], &roots, now()), Err(error.clone()));
        assert_eq!(
            check_trust(Trust {
                roots: &roots,
                revocations: &[]
            }),
            Err(error)
        );
    }
    assert_eq!(
        check_trust(Trust {
            roots: &roots,
            revocations: &[]
        }),
        Ok(())
    );
}

#[test]
fn weak_and_unusual_keys() {
    let openssl = OpenSsl::new();
    let authority = Authority::new(&openssl, "root", "P-256");
    let roots = [authority.root("CN=root", "")];
    let weak = |holder, subject| {
        let reason = KeyError::Weak(1024);
        Err(CertificateError::Key {
            certificate: named(holder, subject),
            reason,
        })
    };
    let peer = authority.issue("peer", "RSA:1024", "CN=gw-a", NAME, 30);
    assert_eq!(check(&[&peer], &roots, now()), weak(Holder::Peer, "CN=gw-a"));
    let peer = authority.issue("peer", "RSA:2047", "CN=gw-a", NAME, 30);
    assert!(matches!(
        check(&[&peer], &roots, now()),
        Err(CertificateError::Key {
            reason: KeyError::Weak(2047),
            ..
        })
    ));
    let peer = authority.issue("peer", "P-521", "CN=gw-a", NAME, 30);
    assert!(matches!(
        check(&[&peer], &roots, now()),
        Err(CertificateError::Key {
            reason: KeyError::Unsupported(_),
            ..
        })
    ));

    let small = Authority::new(&openssl, "small", "RSA:1024");
    let small_root = [small.root("CN=small", "")];
    let peer = small.issue("peer", "P-256", "CN=gw-a", NAME, 30);
    assert_eq!(check(&[&peer], &small_root, now()), weak(Holder::Root, "CN=small"));
    assert_eq!(
        check_trust(Trust {
            roots: &small_root,
            revocations: &[]
        }),
        weak(Holder::Root, "CN=small").map(|_: PublicKey| ())
    );

    let wide = Authority::new(&openssl, "wide", "P-521");
    let wide_root = [wide.root("CN=wide", "")];
    let peer = wide.issue("peer", "P-256", "CN=gw-a", NAME, 30);
    let error = check(&[&peer], &wide_root, now()).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("our root of trust (CN=wide) has a key of a kind that is not supported"),
        "{error}"
    );

    let old = Authority {
        options: "-sha1",
        ..Authority::new(&openssl, "old", "RSA:2048")
    };
    let old_root = [old.root("CN=old", "")];
    let peer = old.issue("peer", "P-256", "CN=gw-a", NAME, 30);
    assert_eq!(
        check(&[&peer], &old_root, now()),
        Err(CertificateError::SignedWith {
            certificate: named(Holder::Peer, "CN=gw-a"),
            algorithm: "sha1WithRSAEncryption".to_owned()
        })
    );
}

/// RFC 4945 §3.1: each kind of identity by its kind of name, byte for byte.
#[test]
fn names_are_matched_exactly() {
    let openssl = OpenSsl::new();
    let authority = Authority::new(&openssl, "root", "P-256");
    let root = authority.root("CN=root", "");
    let trust = Trust {
        roots: &[root],
        revocations: &[],
    };
    let all = "subjectAltName=DNS:gw-a.example,DNS:*.wild.example,email:gw-a@example,IP:192.0.2.1,IP:2001:db8::1,\
               URI:spiffe://example/gw-a";
    let peer = [authority.issue("peer", "P-256", "C=DE/O=Example/CN=gw-a", all, 30)];
    let proves = |identity: &Identity| verify_chain(&peer, trust, identity, None, now()).map(|_| ());
    let email = |text: &str| Identity::Email(text.to_owned());
    let address = |text: &str| Identity::Address(text.parse().unwrap());
    let subject = |text: &str| Identity::DistinguishedName(distinguished_name::parse(text).unwrap());
    for identity in [
        name("gw-a.example"),
        email("gw-a@example"),
        address("192.0.2.1"),
        address("2001:db8::1"),
        subject("C=DE, O=Example, CN=gw-a"),
        subject("C=DE, O=#13074578616d706c65, CN=gw-a"),
        Identity::KeyId(b"spiffe://example/gw-a".to_vec()),
    ] {
        assert_eq!(proves(&identity), Ok(()), "{identity}");
    }
    for identity in [
        name("gw-b.example"),
        name("GW-A.example"),
        name("gw-a.example."),
        name("gw-a"),
        name("x.wild.example"),
        name("*.wild.example"),
        name("gw-a@example"),
        name("192.0.2.1"),
        name("spiffe://example/gw-a"),
        email("gw-b@example"),
        email("gw-a.example"),
        address("192.0.2.2"),
        address("2001:db8::2"),
        address("::ffff:192.0.2.1"),
        subject("CN=gw-a"),
        subject("CN=gw-a, O=Example, C=DE"),
        subject("C=DE, O=Example, CN=gw-a, OU=x"),
        Identity::DistinguishedName(vec![0x30, 0]),
        Identity::KeyId(b"gw-a.example".to_vec()),
        Identity::KeyId(b"spiffe://example/gw-b".to_vec()),
    ] {
        let error = proves(&identity).unwrap_err();
        assert!(
            matches!(&error, CertificateError::Names { identity: wanted, .. } if *wanted == identity.to_string()),
            "{identity}: {error}"
        );
    }
    let words = proves(&name("gw-b.example")).unwrap_err().to_string();
    let expected = "the certificate names subject C=DE, O=Example, CN=gw-a, gw-a.example, *.wild.example, gw-a@example, 192.0.2.1, \
                    2001:db8::1, spiffe://example/gw-a, not gw-b.example:";
    assert!(words.starts_with(expected), "{words}");

    let bare = [authority.issue("bare", "P-256", "CN=gw-a.example", "subjectKeyIdentifier=hash", 30)];
    let result = verify_chain(&bare, trust, &name("gw-a.example"), None, now());
    assert!(
        matches!(result, Err(CertificateError::Names { .. })),
        "the common name is no domain name"
    );
}

/// X.509-SVID: exactly one URI, and it is the one.
#[test]
fn spiffe() {
    let openssl = OpenSsl::new();
    let authority = Authority::new(&openssl, "root", "P-256");
    let root = authority.root("CN=root", "");
    let trust = Trust {
        roots: &[root],
        revocations: &[],
    };
    let result = |extensions: &str, claimed: &Identity| {
        let peer = [authority.issue("peer", "P-256", "CN=gw-a", extensions, 30)];
        verify_chain(&peer, trust, claimed, Some("spiffe://example/gw-a"), now()).map(|_| ())
    };
    let id = Identity::KeyId(b"spiffe://example/gw-a".to_vec());
    let one = "subjectAltName=DNS:gw-a.example,URI:spiffe://example/gw-a";
    assert_eq!(result(one, &id), Ok(()));
    assert_eq!(result(one, &name("gw-a.example")), Ok(()));
    assert!(matches!(
        result(one, &name("gw-b.example")),
        Err(CertificateError::Names { .. })
    ));
    assert_eq!(
        result(&format!("{one}\nkeyUsage=critical,digitalSignature"), &id),
        Ok(())
    );
    for extensions in [
        "subjectAltName=URI:spiffe://example/gw-a,URI:spiffe://example/gw-b",
        "subjectAltName=URI:spiffe://example/gw-a,URI:spiffe://example/gw-a",
        "subjectAltName=URI:spiffe://example/gw-a/",
        "subjectAltName=URI:spiffe://EXAMPLE/gw-a",
        "subjectAltName=DNS:gw-a.example",
        "subjectKeyIdentifier=hash",
    ] {
        let error = result(extensions, &id).unwrap_err();
        assert!(
            matches!(error, CertificateError::Spiffe { .. }),
            "{extensions}: {error}"
        );
    }
    let error = result(&format!("{one}\nkeyUsage=digitalSignature,keyCertSign"), &id);
    assert_eq!(error, Err(CertificateError::UsedAsPeer(named(Holder::Peer, "CN=gw-a"))));

    let unnamed = [authority.issue(
        "unnamed",
        "P-256",
        "",
        "subjectAltName=critical,URI:spiffe://example/gw-a",
        30,
    )];
    let empty = Identity::DistinguishedName(vec![0x30, 0]);
    assert!(verify_chain(&unnamed, trust, &empty, Some("spiffe://example/gw-a"), now()).is_ok());
    assert!(
        verify_chain(&unnamed, trust, &empty, None, now()).is_err(),
        "an empty name is nobody's"
    );
}

/// RFC 5280 §4.2.1.10.
#[test]
fn name_constraints() {
    let openssl = OpenSsl::new();
    let authority = Authority::new(&openssl, "root", "P-256");
    let roots = [authority.root("CN=root", "")];
    let below = |constraint: &str| {
        let extensions = format!("basicConstraints=critical,CA:TRUE\nnameConstraints=critical,{constraint}");
        let middle = authority.issue_authority("middle", "CN=middle", &extensions, 365);
        let peer = middle.issue(
            "peer",
            "P-256",
            "CN=gw-a",
            &format!("{NAME},IP:192.0.2.1,email:a@example"),
            30,
        );
        check(&[&peer, &middle.certificate()], &roots, now()).map(|_| ())
    };
    for allowed in [
        "permitted;DNS:example",
        "excluded;DNS:other",
        "permitted;IP:192.0.2.0/255.255.255.0",
    ] {
        assert_eq!(below(allowed), Ok(()), "{allowed}");
    }
    for refused in [
        "permitted;DNS:other",
        "excluded;DNS:example",
        "permitted;IP:198.51.100.0/255.255.255.0",
        // Of a kind that is not supported: refused, not ignored.
        "permitted;email:example",
    ] {
        assert_eq!(below(refused), Err(CertificateError::NameConstraints), "{refused}");
    }
}

#[test]
fn revocation() {
    let openssl = OpenSsl::new();
    let authority = Authority::new(&openssl, "root", "P-256");
    let roots = [authority.root("CN=root", "")];
    let middle = authority.intermediate("middle", "CN=middle", "", 365);
    let good = middle.issue("good", "P-256", "CN=good", NAME, 300);
    let bad = middle.issue("bad", "P-256", "CN=bad", NAME, 300);
    let chain = middle.certificate();
    let before = middle.revocation_list("01", 20);
    middle.revoke("bad");
    let after = middle.revocation_list("02", 20);
    let of_root = authority.revocation_list("01", 20);
    let result = |own: &[u8], lists: &[Vec<u8>], days: u64| {
        check_with(&[own, &chain], &roots, lists, now() + days * DAY).map(|_| ())
    };

    assert_eq!(result(&bad, &[], 0), Ok(()), "without lists nothing is looked up");
    assert_eq!(
        result(&good, std::slice::from_ref(&after), 0),
        Ok(()),
        "the authority above needs none"
    );
    assert_eq!(result(&bad, std::slice::from_ref(&before), 0), Ok(()));
    assert_eq!(result(&good, &[of_root.clone(), after.clone()], 0), Ok(()));
    let revoked = result(&bad, std::slice::from_ref(&after), 0).unwrap_err();
    assert!(
        revoked.to_string().contains("the peer's certificate (CN=bad)"),
        "{revoked}"
    );
    assert!(matches!(revoked, CertificateError::Revoked(_)));
    assert!(matches!(
        result(&bad, &[of_root.clone(), after.clone()], 0),
        Err(CertificateError::Revoked(_))
    ));

    let over = result(&good, std::slice::from_ref(&after), 21).unwrap_err();
    assert!(matches!(over, CertificateError::ListExpired { .. }), "{over}");
    assert_eq!(
        result(&good, &[of_root], 0),
        Err(CertificateError::NoList {
            certificate: named(Holder::Peer, "CN=good"),
            issuer: "CN=middle".to_owned()
        })
    );

    authority.revoke("middle");
    let of_root = authority.revocation_list("02", 20);
    assert!(
        matches!(
            result(&good, &[after.clone(), of_root], 0),
            Err(CertificateError::Revoked(_))
        ),
        "the authority is revoked"
    );

    let mut forged = after.clone();
    *forged.last_mut().unwrap() ^= 1;
    assert!(matches!(
        result(&good, &[forged], 0),
        Err(CertificateError::List { number: None, .. })
    ));
    let cut = after[..after.len() - 1].to_vec();
    assert!(matches!(
        result(&good, &[after.clone(), cut.clone()], 0),
        Err(CertificateError::List { number: Some(2), .. })
    ));
    let trust = Trust {
        roots: &roots,
        revocations: &[cut],
    };
    assert!(matches!(
        check_trust(trust),
        Err(CertificateError::List { number: Some(1), .. })
    ));
    let version_1 = middle.revocation_list("", 20);
    let error = result(&good, &[version_1], 0).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("number 1 cannot be used: it is of version 1;"),
        "{error}"
    );
}

/// Of two lists by one authority the newer one counts, wherever it stands.
#[test]
fn the_newest_list_counts() {
    let openssl = OpenSsl::new();
    let authority = Authority::new(&openssl, "root", "P-256");
    let roots = [authority.root("CN=root", "")];
    let peer = authority.issue("peer", "P-256", "CN=gw-a", NAME, 300);
    let before = authority.revocation_list("01", 20);
    authority.revoke("peer");
    // thisUpdate counts seconds.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let after = authority.revocation_list("02", 20);
    for lists in [[before.clone(), after.clone()], [after, before]] {
        let result = check_with(&[&peer], &roots, &lists, now());
        assert!(matches!(result, Err(CertificateError::Revoked(_))), "{result:?}");
    }
}

/// A list whose authority may not sign lists (RFC 5280 §4.2.1.3).
#[test]
fn lists_need_the_right_to_sign_them() {
    let openssl = OpenSsl::new();
    let authority = Authority::new(&openssl, "root", "P-256");
    let roots = [authority.root("CN=root", "")];
    let middle = authority.issue_authority(
        "middle",
        "CN=middle",
        "basicConstraints=CA:TRUE\nkeyUsage=keyCertSign",
        365,
    );
    let peer = middle.issue("peer", "P-256", "CN=gw-a", NAME, 30);
    let list = middle.revocation_list("01", 20);
    let result = check_with(&[&peer, &middle.certificate()], &roots, &[list], now());
    assert!(
        matches!(result, Err(CertificateError::List { reason, .. }) if reason.contains("cRLSign")),
        "{result:?}"
    );
}

#[test]
fn our_own_chain() {
    let openssl = OpenSsl::new();
    let authority = Authority::new(&openssl, "root", "P-256");
    let root = authority.root("CN=root", "");
    for kind in ["RSA:2048", "P-256", "P-384", "ED25519"] {
        let own = authority.issue("own", kind, "CN=own", NAME, 30);
        let key = openssl.run("pkcs8 -topk8 -nocrypt -in own.key -outform DER")[..].into();
        assert_eq!(check_own(&key, &[own.clone(), root.clone()]), Ok(()), "{kind}");
        assert_eq!(
            check_own(&key, &[root.clone(), own]),
            Err(AuthError::OtherPrivateKey("CN=root".to_owned()))
        );
        assert_eq!(check_own(&key, &[]), Err(AuthError::NoCertificate));
    }
    let own = authority.issue("own", "P-256", "CN=own", "keyUsage=keyAgreement", 30);
    let key = openssl.run("pkcs8 -topk8 -nocrypt -in own.key -outform DER")[..].into();
    assert!(matches!(
        check_own(&key, &[own]),
        Err(AuthError::Certificate(CertificateError::KeyUsage {
            certificate: Named {
                holder: Holder::Own,
                ..
            },
            ..
        }))
    ));
}

/// RFC 7296 §3.7: SHA-1 of the SubjectPublicKeyInfo of each root.
#[test]
fn request_names_roots() {
    let openssl = OpenSsl::new();
    let one = Authority::new(&openssl, "one", "P-256").root("CN=one", "");
    let two = Authority::new(&openssl, "two", "RSA:2048").root("CN=two", "");
    let mut expected = Vec::new();
    for name in ["one", "two"] {
        openssl.write("spki", &openssl.public(name));
        expected.extend(openssl.run("dgst -sha1 -binary spki"));
    }
    assert_eq!(certificate_request(&[one, two]), expected);
    assert_eq!(expected.len(), 40);
}
