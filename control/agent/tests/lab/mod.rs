//! A network namespace of its own for a test: the test runs itself again inside one, which goes away with the process.

use std::process::Command;

/// Set in the process that runs inside the namespace.
const INSIDE: &str = "TOMBOLO_TEST_INSIDE";

/// True in the process that shall run the test's body; the other one has started it, waited and checked. Fails loudly
/// without root, except when TOMBOLO_SKIP_ROOT=1 says that it shall not run.
pub(crate) fn inside(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    if std::env::var("TOMBOLO_SKIP_ROOT").as_deref() == Ok("1") {
        println!("NOT RUN: {test}: TOMBOLO_SKIP_ROOT=1");
        return false;
    }
    let status = Command::new("unshare")
        .args(["--net", "--"])
        .arg(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .status()
        .expect("unshare (util-linux) starts");
    assert!(status.success(), "{test} failed inside its namespace (it needs root)");
    false
}

/// Runs `ip` with these words.
#[track_caller]
pub(crate) fn ip(words: &str) -> String {
    run("ip", words)
}

/// Runs a program with these words and returns what it prints.
#[track_caller]
pub(crate) fn run(program: &str, words: &str) -> String {
    let output = Command::new(program).args(words.split_whitespace()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{program} {words}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    text
}
