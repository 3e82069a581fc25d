//! Compiles `src/steer.bpf.c` into the object that `src/lib.rs` embeds.

use libbpf_cargo::SkeletonBuilder;
use std::path::PathBuf;
use std::{env, fs};

fn main() {
    let source = "src/steer.bpf.c";
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("steer.bpf.o");
    let mut arguments = vec!["-Wall".to_owned(), "-Wextra".to_owned(), "-Werror".to_owned()];
    // Debian keeps <asm/types.h>, which <linux/bpf.h> needs, under the host's triplet; -target bpf does not look there.
    let architecture = env::var("CARGO_CFG_TARGET_ARCH").expect("cargo sets the target architecture");
    let triplet = format!("/usr/include/{architecture}-linux-gnu");
    if fs::exists(&triplet).unwrap_or(false) {
        arguments.push(format!("-I{triplet}"));
    }
    println!("cargo:rerun-if-changed=src");
    SkeletonBuilder::new()
        .source(source)
        .obj(out)
        .clang_args(arguments)
        .build()
        .expect("clang compiles the steering program (Debian: clang libelf-dev zlib1g-dev linux-libc-dev)");
}
