//! Certificate authorities made by the `openssl` command.
#![allow(dead_code, reason = "not every test binary needs everything")]

use crate::openssl::OpenSsl;
use std::cell::Cell;
use std::time::SystemTime;

pub(crate) const DAY: u64 = 86_400;

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .expect("a clock behind 1970")
        .as_secs()
}

/// An authority: `name.key` and `name.crt`.
pub(crate) struct Authority<'a> {
    pub(crate) openssl: &'a OpenSsl,
    pub(crate) name: String,
    /// How it signs, as options of OpenSSL.
    pub(crate) options: &'static str,
    pub(crate) serial: Cell<u32>,
}

impl<'a> Authority<'a> {
    /// With a key, still without a certificate.
    pub(crate) fn new(openssl: &'a OpenSsl, name: &str, kind: &str) -> Authority<'a> {
        openssl.key(name, kind);
        openssl.write(&format!("{name}.index"), b"");
        Authority {
            openssl,
            name: name.to_owned(),
            options: "",
            serial: Cell::new(1),
        }
    }

    /// Makes it a root for ten years; gives DER. `constraint`: "" or "pathlen:0".
    pub(crate) fn root(&self, subject: &str, constraint: &str) -> Vec<u8> {
        self.self_signed(subject, &authority_extensions(constraint))
    }

    pub(crate) fn self_signed(&self, subject: &str, extensions: &str) -> Vec<u8> {
        let name = &self.name;
        let config = format!("[req]\ndistinguished_name=dn\nx509_extensions=ext\n[dn]\n[ext]\n{extensions}\n");
        self.openssl.write("root.cnf", config.as_bytes());
        self.openssl.run(&format!(
            "req -x509 -new -config root.cnf -key {name}.key -subj /{subject} -days 3650 -out {name}.crt {}",
            self.options
        ));
        self.certificate()
    }

    /// DER.
    pub(crate) fn certificate(&self) -> Vec<u8> {
        self.openssl.run(&format!("x509 -in {}.crt -outform DER", self.name))
    }

    /// An authority below it.
    pub(crate) fn intermediate(&self, name: &str, subject: &str, constraint: &str, days: u32) -> Authority<'a> {
        self.issue_authority(name, subject, &authority_extensions(constraint), days)
    }

    pub(crate) fn issue_authority(&self, name: &str, subject: &str, extensions: &str, days: u32) -> Authority<'a> {
        let authority = Authority::new(self.openssl, name, "P-256");
        self.sign(name, subject, extensions, days);
        authority
    }

    /// A certificate for a new key `name.key`: DER. `subject` as OpenSSL wants it, without the first stroke.
    pub(crate) fn issue(&self, name: &str, kind: &str, subject: &str, extensions: &str, days: u32) -> Vec<u8> {
        self.openssl.key(name, kind);
        self.sign(name, subject, extensions, days);
        self.openssl.run(&format!("x509 -in {name}.crt -outform DER"))
    }

    fn sign(&self, name: &str, subject: &str, extensions: &str, days: u32) {
        let (openssl, issuer, serial) = (self.openssl, &self.name, self.serial.get());
        self.serial.set(serial + 1);
        openssl.write("request.cnf", b"[req]\ndistinguished_name=dn\n[dn]\n");
        openssl.write("extensions", extensions.as_bytes());
        openssl.run(&format!(
            "req -new -config request.cnf -key {name}.key -subj /{subject} -out request.csr"
        ));
        openssl.run(&format!(
            "x509 -req -in request.csr -CA {issuer}.crt -CAkey {issuer}.key -set_serial {serial} -days {days} -extfile extensions \
             -out {name}.crt {}",
            self.options
        ));
    }

    /// Notes that `name.crt` is revoked.
    pub(crate) fn revoke(&self, name: &str) {
        self.write_config("");
        let authority = &self.name;
        self.openssl.run(&format!(
            "ca -config ca.cnf -keyfile {authority}.key -cert {authority}.crt -revoke {name}.crt"
        ));
    }

    /// A revocation list of what is revoked by now: DER. `number` empty: of version 1.
    pub(crate) fn revocation_list(&self, number: &str, days: u32) -> Vec<u8> {
        let line = if number.is_empty() { "" } else { "crlnumber=number\n" };
        self.openssl.write("number", number.as_bytes());
        self.write_config(line);
        let authority = &self.name;
        self.openssl.run(&format!(
            "ca -config ca.cnf -keyfile {authority}.key -cert {authority}.crt -gencrl -crldays {days} -out {authority}.crl"
        ));
        self.openssl.run(&format!("crl -in {authority}.crl -outform DER"))
    }

    fn write_config(&self, line: &str) {
        let config = format!(
            "[ca]\ndefault_ca=ca\n[ca]\ndatabase={}.index\ndefault_md=sha256\n{line}",
            self.name
        );
        self.openssl.write("ca.cnf", config.as_bytes());
    }
}

fn authority_extensions(constraint: &str) -> String {
    let comma = if constraint.is_empty() { "" } else { "," };
    format!(
        "basicConstraints=critical,CA:TRUE{comma}{constraint}\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash"
    )
}
