use super::*;

/// Not random: every byte differs from the one before.
fn counter() -> impl FnMut(&mut [u8]) -> Result<(), ()> {
    let mut next = 0u8;
    move |out| {
        for byte in out {
            next = next.wrapping_add(1);
            *byte = next;
        }
        Ok(())
    }
}

fn pair(cipher: Cipher) -> (SaPair, SaPair) {
    SaPair::generate(cipher, true, counter()).unwrap()
}

#[test]
fn pair_survives_the_file_for_every_cipher() {
    for cipher in Cipher::ALL {
        let (left, right) = pair(cipher);
        for side in [&left, &right] {
            assert!(
                SaPair::parse(&side.to_json()).is_ok_and(|again| again == *side),
                "{}",
                cipher.name()
            );
        }
        assert_eq!(left.outbound.key().len(), cipher.key_length());
    }
}

#[test]
fn mirror_swaps_directions() {
    let (left, right) = pair(Cipher::Aes256Gcm);
    assert!(left.outbound == right.inbound && left.inbound == right.outbound);
    assert!(left.outbound != left.inbound);
    assert!(left.outbound.spi() >= 256 && left.inbound.spi() >= 256);
}

#[test]
fn spi_is_never_reserved_and_never_twice() {
    let zeros = |out: &mut [u8]| -> Result<(), ()> {
        out.fill(0);
        Ok(())
    };
    assert_eq!(random_spi(&mut { zeros }), Ok(256));
    // The generator repeats the first SPI once; the pair must not.
    let mut calls = 0u8;
    let (left, _) = SaPair::generate(Cipher::Aes128Gcm, false, |out: &mut [u8]| -> Result<(), ()> {
        calls += 1;
        out.fill(if calls == 4 { 1 } else { calls });
        Ok(())
    })
    .unwrap();
    assert_ne!(left.outbound.spi(), left.inbound.spi());
}

#[test]
fn refused_files_say_why_and_tell_nothing() {
    let good = String::from_utf8(pair(Cipher::Aes256Gcm).0.to_json().to_vec()).unwrap();
    let key = good
        .split("\"key\":\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap()
        .to_owned();
    let cases = [
        (good.replace("aes-256-gcm", "aes-256-cbc"), "cipher"),
        (good.replace("aes-256-gcm", "aes-128-gcm"), "length"),
        (good.replace(&key, &key[2..]), "length"),
        (good.replace(&key, &"zz".repeat(32)), "hex"),
        (good.replace(&key, &"00".repeat(32)), "zero"),
        (good.replace("\"esn\"", "\"esm\""), "not a key file"),
        (good.replace("\"spi\":", "\"spi\":1,\"spi\":"), "not a key file"),
        (good.replace('}', ""), "not a key file"),
        ("x".repeat(SA_FILE_BYTES_MAX + 1), "at most"),
    ];
    for (text, reason) in cases {
        let error = SaPair::parse(text.as_bytes())
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default();
        assert!(error.contains(reason), "{reason}: {error}");
        assert!(!error.contains(&key[..8]), "the error repeats the key");
    }
}

#[test]
fn one_key_for_both_directions_is_refused() {
    let text = r#"{"cipher":"aes-128-gcm","esn":true,
        "outbound":{"spi":256,"key":"000102030405060708090a0b0c0d0e0f","salt":"00000000"},
        "inbound":{"spi":257,"key":"000102030405060708090a0b0c0d0e0f","salt":"00000001"}}"#;
    assert!(SaPair::parse(text.as_bytes()).is_err_and(|error| error.to_string().contains("same key")));
    let reserved = text
        .replace("256", "255")
        .replace("0e0f\",\"salt\":\"00000001", "0e10\",\"salt\":\"00000001");
    assert!(SaPair::parse(reserved.as_bytes()).is_err_and(|error| error.to_string().contains("reserved")));
}
