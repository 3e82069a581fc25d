//! The `openssl` command in a directory of its own: keys, certificates and signatures that we did not make.
#![allow(dead_code, reason = "not every test binary needs everything")]

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// Removed at the end of the test.
pub(crate) struct OpenSsl {
    directory: PathBuf,
}

impl OpenSsl {
    pub(crate) fn new() -> OpenSsl {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "tombolo-openssl-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let directory = std::env::temp_dir().join(name);
        fs::create_dir(&directory).expect("a writable temporary directory");
        OpenSsl { directory }
    }

    /// Runs `openssl` with arguments separated by blanks; fails the test if it fails.
    pub(crate) fn run(&self, arguments: &str) -> Vec<u8> {
        self.try_run(&arguments.split_whitespace().collect::<Vec<_>>())
            .unwrap_or_else(|reason| panic!("openssl {arguments}: {reason}"))
    }

    pub(crate) fn try_run(&self, arguments: &[&str]) -> Result<Vec<u8>, String> {
        let output = Command::new("openssl")
            .args(arguments)
            .current_dir(&self.directory)
            .output()
            .expect("the openssl command (Debian: openssl; scripts/setup installs it)");
        if output.status.success() {
            return Ok(output.stdout);
        }
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// Makes a private key `name.key` (PEM) and gives its PKCS #8 DER. `kind`: "RSA:2048", "P-256", "ED25519", ….
    pub(crate) fn key(&self, name: &str, kind: &str) -> Vec<u8> {
        let algorithm = match kind.split_once(':') {
            Some(("RSA", bits)) => format!("RSA -pkeyopt rsa_keygen_bits:{bits}"),
            _ if kind.starts_with("P-") => format!("EC -pkeyopt ec_paramgen_curve:{kind}"),
            _ => kind.to_owned(),
        };
        self.run(&format!("genpkey -algorithm {algorithm} -out {name}.key"));
        self.run(&format!("pkey -in {name}.key -pubout -out {name}.pub"));
        self.run(&format!("pkcs8 -topk8 -nocrypt -in {name}.key -outform DER"))
    }

    /// DER of the SubjectPublicKeyInfo of `name.key`.
    pub(crate) fn public(&self, name: &str) -> Vec<u8> {
        self.run(&format!("pkey -in {name}.key -pubout -outform DER"))
    }

    pub(crate) fn write(&self, file: &str, bytes: &[u8]) {
        fs::write(self.directory.join(file), bytes).expect("a writable temporary directory");
    }

    #[allow(dead_code, reason = "each test program uses some of these")]
    pub(crate) fn read(&self, file: &str) -> Vec<u8> {
        fs::read(self.directory.join(file)).unwrap_or_else(|reason| panic!("{file}: {reason}"))
    }
}

impl Drop for OpenSsl {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}
