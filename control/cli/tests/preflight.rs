//! `tombolo preflight` with the secrets' files as tombolod finds them.

#[path = "../../ike/tests/authority/mod.rs"]
mod authority;
#[path = "../../ike/tests/openssl/mod.rs"]
mod openssl;

use authority::Authority;
use openssl::OpenSsl;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

struct Secrets(PathBuf);

impl Secrets {
    fn new() -> Secrets {
        let path = std::env::temp_dir().join(format!("tombolo-preflight-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir(&path).unwrap();
        set_mode(&path, 0o700);
        Secrets(path)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        std::fs::write(self.0.join(name), text).unwrap();
        set_mode(&self.0.join(name), 0o600);
    }

    /// Exit code, and the findings that the secrets are reason for: about, verdict, in words.
    fn preflight(&self, example: &str) -> (i32, Vec<(String, String, String)>) {
        let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/examples/");
        let output = Command::new(env!("CARGO_BIN_EXE_tombolo"))
            .args(["--json", "preflight", &format!("{examples}{example}"), "--secrets-dir"])
            .arg(&self.0)
            .output()
            .unwrap();
        let reports: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let of_secrets = ["secret", "certificate", "key", "roots", "revocations", "ppk", "keys"];
        let findings = reports[0]["findings"].as_array().unwrap().iter();
        let word = |finding: &serde_json::Value, name: &str| finding[name].as_str().unwrap_or_default().to_owned();
        let findings = findings
            .map(|one| (word(one, "about"), word(one, "verdict"), word(one, "text")))
            .filter(|(about, ..)| of_secrets.contains(&about.as_str()));
        (output.status.code().unwrap(), findings.collect())
    }
}

impl Drop for Secrets {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn set_mode(path: &std::path::Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn every_file_that_a_tunnel_names_is_read() {
    let (openssl, secrets) = (OpenSsl::new(), Secrets::new());
    let bad = |findings: &[(String, String, String)]| -> Vec<(String, String)> {
        let bad = findings.iter().filter(|(_, verdict, _)| verdict == "bad");
        bad.map(|(about, _, text)| (about.clone(), text.clone())).collect()
    };
    let (code, findings) = secrets.preflight("ipsec-tombolo.yaml");
    let missing = bad(&findings);
    let abouts: Vec<&str> = missing.iter().map(|(about, _)| about.as_str()).collect();
    assert_eq!(
        (code, abouts),
        (1, vec!["certificate", "key", "roots", "revocations", "ppk"])
    );
    assert!(
        missing
            .iter()
            .all(|(_, text)| text.contains("does not exist; put it there"))
    );

    let root = Authority::new(&openssl, "root", "P-256");
    root.root("CN=root", "");
    root.issue("gw", "P-256", "CN=gw", "subjectAltName=DNS:gw.example.org", 90);
    root.revocation_list("01", 90);
    for (made, name) in [
        ("gw.crt", "gw.pem"),
        ("root.crt", "roots.pem"),
        ("root.crl", "revoked.pem"),
    ] {
        secrets.write(name, openssl.read(made));
    }
    secrets.write("gw.key", openssl.run("pkcs8 -topk8 -nocrypt -in gw.key"));
    secrets.write("branch.ppk", "0123456789abcdef0123456789abcdef\n");
    let (code, findings) = secrets.preflight("ipsec-tombolo.yaml");
    assert_eq!((code, bad(&findings)), (0, vec![]), "{findings:?}");
    assert!(
        findings
            .iter()
            .any(|(about, verdict, _)| about == "key" && verdict == "good")
    );

    // The certificate in the place of the list, the key of another certificate, a file that others read, too short a PPK.
    secrets.write("revoked.pem", openssl.read("gw.crt"));
    let (code, findings) = secrets.preflight("ipsec-tombolo.yaml");
    assert!(
        code == 1 && bad(&findings)[0].1.contains("no revocation list in PEM"),
        "{findings:?}"
    );
    secrets.write("revoked.pem", openssl.read("root.crl"));
    secrets.write("gw.key", openssl.run("pkcs8 -topk8 -nocrypt -in root.key"));
    let (code, findings) = secrets.preflight("ipsec-tombolo.yaml");
    assert!(
        code == 1 && bad(&findings)[0].1.contains("not that of our certificate"),
        "{findings:?}"
    );
    set_mode(&secrets.0.join("gw.key"), 0o640);
    let (_, findings) = secrets.preflight("ipsec-tombolo.yaml");
    assert!(bad(&findings)[0].1.contains("chmod 0600"), "{findings:?}");
    secrets.write("gw.key", openssl.run("pkcs8 -topk8 -nocrypt -in gw.key"));
    secrets.write("branch.ppk", "0123456789abcdef");
    let (code, findings) = secrets.preflight("ipsec-tombolo.yaml");
    assert!(
        code == 1 && bad(&findings)[0].1.contains("the ppk has 16 bytes"),
        "{findings:?}"
    );
    set_mode(&secrets.0, 0o777);
    let (_, findings) = secrets.preflight("ipsec-tombolo.yaml");
    assert!(
        bad(&findings).iter().all(|(_, text)| text.contains("chmod 0700")),
        "{findings:?}"
    );
    set_mode(&secrets.0, 0o700);

    // Manual keys are a secret, too.
    let (code, findings) = secrets.preflight("gw-a.yaml");
    assert!(code == 1 && bad(&findings)[0].0 == "keys", "{findings:?}");
}
