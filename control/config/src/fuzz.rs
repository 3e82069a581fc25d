//! Entries for fuzzers: they must not panic, whatever the bytes.

/// Reads `data` as a configuration.
pub fn fuzz_parse(data: &[u8]) {
    let Ok(text) = core::str::from_utf8(data) else { return };
    if let Err(problems) = crate::parse(text, "fuzz.yaml") {
        assert!(!problems.is_empty(), "refused without a reason");
        assert!(
            problems.iter().all(|problem| problem.line > 0 && problem.column > 0),
            "a problem without a place"
        );
    }
}

/// Reads `data` as a key file.
pub fn fuzz_sa_file(data: &[u8]) {
    if let Ok(pair) = crate::sa_file::SaPair::parse(data) {
        assert!(
            crate::sa_file::SaPair::parse(&pair.to_json()).is_ok_and(|again| again == pair),
            "changes when written"
        );
    }
}
