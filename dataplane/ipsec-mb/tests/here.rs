//! Whether this machine can run the tests of the library; if not, the runner is told, past what a passing test would hide.

use std::io::Write;
use std::path::Path;
use tombolo_ipsec_mb::{Library, Unavailable};

#[test]
fn the_library_and_its_header_are_here() {
    let say = |line: String| {
        // `println!` is caught by the test harness, this is not; the line begins one whatever came before.
        std::io::stdout()
            .write_all(format!("\n{line}\n").as_bytes())
            .expect("a standard output");
    };
    match Library::load() {
        Ok(_) => {}
        // Nothing on such a processor would use the library.
        Err(Unavailable::Cpu) => say(format!("left out: tests of ipsec-mb: {}", Unavailable::Cpu)),
        Err(error @ (Unavailable::Missing(_) | Unavailable::Version(_) | Unavailable::Unfit)) => {
            say(format!("NOT RUN: tests of ipsec-mb: {error}"));
        }
    }
    if cfg!(target_arch = "x86_64") && !Path::new("/usr/include/intel-ipsec-mb.h").exists() {
        say("NOT RUN: structs_and_numbers_are_those_of_the_header: no header (package libipsec-mb-dev)".to_owned());
    }
}
