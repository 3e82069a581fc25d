//! What tunnels name is read from files that `openssl` made, and held together before any peer sees it.

#[path = "../../ike/tests/authority/mod.rs"]
mod authority;
#[path = "../../ike/tests/openssl/mod.rs"]
mod openssl;

use authority::Authority;
use openssl::OpenSsl;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tombolo_agent::ike::credentials::{check, read};
use tombolo_config::connection::connection;
use tombolo_config::parse;

struct Directory(PathBuf);

impl Directory {
    fn new() -> Directory {
        let path = std::env::temp_dir().join(format!("tombolo-credentials-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir(&path).unwrap();
        set_mode(&path, 0o700);
        Directory(path)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        std::fs::write(self.0.join(name), text).unwrap();
        set_mode(&self.0.join(name), 0o600);
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_key_of_another_certificate_is_no_connection() {
    let (openssl, directory) = (OpenSsl::new(), Directory::new());
    let gateway = parse(include_str!("../../config/examples/ipsec-tombolo.yaml"), "x.yaml").unwrap();
    let tunnel = &gateway.tunnels[0];
    let ike = tunnel.ike().unwrap();
    let unread = read(ike, &directory.0).unwrap_err();
    let what: Vec<&str> = unread.iter().map(|one| one.what).collect();
    assert_eq!(what, ["certificate", "key", "roots", "revocations", "ppk"]);

    let root = Authority::new(&openssl, "root", "P-256");
    root.root("CN=root", "");
    root.issue("gw", "P-256", "CN=gw", "subjectAltName=DNS:gw.example.org", 90);
    root.revocation_list("01", 90);
    // Own first, then who issued it.
    directory.write("gw.pem", [openssl.read("gw.crt"), openssl.read("root.crt")].concat());
    directory.write("roots.pem", openssl.read("root.crt"));
    directory.write("revoked.pem", openssl.read("root.crl"));
    directory.write("branch.ppk", "0123456789abcdef0123456789abcdef\n");
    let made = |key: &str| {
        directory.write("gw.key", openssl.run(&format!("pkcs8 -topk8 -nocrypt -in {key}")));
        connection(tunnel, &read(ike, &directory.0).unwrap(), None, 2).unwrap()
    };
    let fit = made("gw.key");
    assert_eq!(check(&fit), Ok(()));
    assert_eq!(fit.ppk.unwrap().key.len(), 32, "without the line's end");
    let why = check(&made("root.key")).unwrap_err();
    assert!(
        why.contains("our private key is not that of our certificate CN=gw"),
        "{why}"
    );
}
