//! Whether this processor can run what was built for it.
//!
//! Built for x86-64-v3 (`.cargo/config.toml`), a program on an older processor would end at some instruction with SIGILL. Asked first
//! thing in `main`, this gives a sentence instead.

/// What the build takes for granted, as `/proc/cpuinfo` names it.
const NEEDED: [&str; 6] = ["avx2", "bmi1", "bmi2", "fma", "movbe", "abm"];

/// Why this processor will not do; `None` if it will, or if the kernel does not say.
pub fn unfit() -> Option<String> {
    if cfg!(not(all(target_arch = "x86_64", target_feature = "avx2"))) {
        return None;
    }
    unfit_by(&std::fs::read_to_string("/proc/cpuinfo").ok()?)
}

fn unfit_by(cpuinfo: &str) -> Option<String> {
    let flags = cpuinfo.lines().find(|line| line.starts_with("flags"))?;
    let has = |flag: &&str| flags.split_ascii_whitespace().any(|known| known == *flag);
    let missing: Vec<_> = NEEDED.into_iter().filter(|flag| !has(flag)).collect();
    (!missing.is_empty()).then(|| {
        format!(
            "this processor lacks {}; build for it: RUSTFLAGS=-Ctarget-cpu=x86-64 cargo build --release",
            missing.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        let all = "processor: 0\nflags\t\t: fpu abm avx2 bmi1 bmi2 fma movbe sse\n";
        assert_eq!(unfit_by(all), None);
        let said = unfit_by(&all.replace("avx2 ", "")).expect("it is unfit");
        assert!(said.contains("lacks avx2;"), "{said}");
        assert_eq!(unfit_by("no flags here"), None);
    }

    #[test]
    fn the_processor_that_runs_the_tests_is_fit() {
        assert_eq!(unfit(), None);
    }
}
