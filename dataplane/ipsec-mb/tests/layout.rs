//! The layouts that `manager.rs` and `gcm.rs` assume, as the C compiler sees them in the installed header. Not run without the
//! header or a compiler.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

const HEADER: &str = "/usr/include/intel-ipsec-mb.h";

const CLAIMS: &str = r#"
#include <stddef.h>
#define LINUX
#include <intel-ipsec-mb.h>
#define IS(what, value) _Static_assert((what) == (value), #what)
IS(offsetof(IMB_MGR, features), 8);
IS(offsetof(IMB_MGR, get_next_job), 64);
IS(offsetof(IMB_MGR, submit_job_nocheck), 80);
IS(offsetof(IMB_MGR, gcm128_enc), 256);
IS(offsetof(IMB_MGR, gcm256_enc), 272);
IS(offsetof(IMB_MGR, gcm128_dec), 280);
IS(offsetof(IMB_MGR, gcm256_dec), 296);
IS(offsetof(IMB_MGR, gcm128_pre), 448);
IS(offsetof(IMB_MGR, gcm256_pre), 464);
IS(offsetof(IMB_JOB, enc_keys), 0);
IS(offsetof(IMB_JOB, dec_keys), 8);
IS(offsetof(IMB_JOB, key_len_in_bytes), 16);
IS(offsetof(IMB_JOB, src), 24);
IS(offsetof(IMB_JOB, dst), 32);
IS(offsetof(IMB_JOB, cipher_start_src_offset_in_bytes), 40);
IS(offsetof(IMB_JOB, msg_len_to_cipher_in_bytes), 48);
IS(offsetof(IMB_JOB, hash_start_src_offset_in_bytes), 56);
IS(offsetof(IMB_JOB, msg_len_to_hash_in_bytes), 64);
IS(offsetof(IMB_JOB, iv), 72);
IS(offsetof(IMB_JOB, iv_len_in_bytes), 80);
IS(offsetof(IMB_JOB, auth_tag_output), 88);
IS(offsetof(IMB_JOB, auth_tag_output_len_in_bytes), 96);
IS(offsetof(IMB_JOB, u.CHACHA20_POLY1305.aad), 104);
IS(offsetof(IMB_JOB, u.CHACHA20_POLY1305.aad_len_in_bytes), 112);
IS(offsetof(IMB_JOB, u.CHACHA20_POLY1305.ctx), 120);
IS(offsetof(IMB_JOB, status), 128);
IS(offsetof(IMB_JOB, cipher_mode), 132);
IS(offsetof(IMB_JOB, cipher_direction), 136);
IS(offsetof(IMB_JOB, hash_alg), 140);
IS(offsetof(IMB_JOB, chain_order), 144);
_Static_assert(sizeof(IMB_JOB) >= 152, "a job holds what is written to it");
_Static_assert(sizeof(struct gcm_key_data) <= 1024 && _Alignof(struct gcm_key_data) <= 64, "key");
_Static_assert(sizeof(struct gcm_context_data) <= 128, "scratch");
IS(IMB_CIPHER_CHACHA20_POLY1305, 19);
IS(IMB_AUTH_CHACHA20_POLY1305, 29);
IS(IMB_DIR_ENCRYPT, 1);
IS(IMB_DIR_DECRYPT, 2);
IS(IMB_ORDER_CIPHER_HASH, 1);
IS(IMB_ORDER_HASH_CIPHER, 2);
IS(IMB_STATUS_COMPLETED, 3);
IS(IMB_FEATURE_AVX512_SKX, 0x1full << 7);
IS(IMB_FEATURE_VAES | IMB_FEATURE_VPCLMULQDQ | IMB_FEATURE_AVX512_IFMA, 1ull << 12 | 1ull << 13 | 1ull << 17);
IS(IMB_FEATURE_SELF_TEST_PASS, 1ull << 21);
"#;

/// Whether the C compiler, which building this takes too, accepts a file.
fn compiles(source: &str) -> Result<(), String> {
    let mut compiler = Command::new("gcc")
        .args(["-fsyntax-only", "-x", "c", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("gcc");
    let mut stdin = compiler.stdin.take().expect("piped");
    stdin.write_all(source.as_bytes()).expect("gcc reads");
    drop(stdin);
    let output = compiler.wait_with_output().expect("gcc ends");
    if output.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

#[test]
fn structs_and_numbers_are_those_of_the_header() {
    if !Path::new(HEADER).exists() {
        return; // `here.rs` says so
    }
    assert_eq!(compiles(CLAIMS), Ok(()));
    let wrong = CLAIMS.replace("gcm256_enc), 272", "gcm256_enc), 280");
    assert!(compiles(&wrong).is_err(), "the claims are looked at");
}
