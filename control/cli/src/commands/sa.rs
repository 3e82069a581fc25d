//! `tombolo sa`: keys of tunnels.

use super::{print, print_json};
use crate::arguments::{Arguments, SaCipher, SaCommand};
use crate::client::Client;
use crate::failure::Failure;
use hyper::Method;
use ring::rand::{SecureRandom, SystemRandom};
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use tombolo_api::{SaInit, SaInitDone, path};
use zeroize::Zeroizing;

pub(super) fn run(arguments: &Arguments, command: &SaCommand) -> Result<(), Failure> {
    match command {
        SaCommand::Generate { a, b, cipher, no_esn } => generate(a, b, *cipher, !no_esn),
        SaCommand::Init { tunnel } => init(&Client::new(arguments.control_socket())?, tunnel, arguments.json),
    }
}

fn init(client: &Client, tunnel: &str, json: bool) -> Result<(), Failure> {
    let body = serde_json::to_vec(&SaInit {
        tunnel: tunnel.to_owned(),
    })
    .map_err(|e| Failure::local("request", e))?;
    let done: SaInitDone = client.request(Method::POST, path::SA_INIT, body)?;
    if json {
        return print_json(&done);
    }
    let news = if done.fresh {
        "accepted as new"
    } else {
        "was known: its sequence numbers go on"
    };
    print(&format!(
        "{}: key {} {news}\n",
        done.tunnel,
        done.fingerprint.get(..16).unwrap_or_default()
    ))
}

/// One direction's key as the files hold it.
struct Direction {
    spi: u32,
    key: Zeroizing<String>,
    salt: Zeroizing<String>,
}

fn generate(a: &Path, b: &Path, cipher: SaCipher, esn: bool) -> Result<(), Failure> {
    let (name, key_bytes) = match cipher {
        SaCipher::Aes128Gcm => ("aes-128-gcm", 16),
        SaCipher::Aes256Gcm => ("aes-256-gcm", 32),
        SaCipher::Chacha20Poly1305 => ("chacha20-poly1305", 32),
    };
    let (there, back) = (Direction::random(key_bytes)?, Direction::random(key_bytes)?);
    write(a, &text(name, esn, &there, &back))?;
    write(b, &text(name, esn, &back, &there)).inspect_err(|_| {
        // Half a pair is of no use to anyone.
        let _ = std::fs::remove_file(a);
    })
}

impl Direction {
    fn random(key_bytes: usize) -> Result<Direction, Failure> {
        let spi = random(4)?;
        let spi = spi.iter().fold(0, |value: u32, &byte| value << 8 | u32::from(byte));
        // RFC 4303 §2.1: SPIs 0 to 255 are reserved.
        let spi = if spi < 256 { spi + 256 } else { spi };
        Ok(Direction {
            spi,
            key: hex(&random(key_bytes)?),
            salt: hex(&random(4)?),
        })
    }
}

fn random(bytes: usize) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let mut random = Zeroizing::new(vec![0; bytes]);
    SystemRandom::new()
        .fill(&mut random)
        .map_err(|error| Failure::local("random numbers", error))?;
    Ok(random)
}

fn hex(bytes: &[u8]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(bytes.len() * 2));
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            text.extend(char::from_digit(u32::from(digit), 16));
        }
    }
    text
}

fn text(cipher: &str, esn: bool, outbound: &Direction, inbound: &Direction) -> Zeroizing<String> {
    let direction = |name: &str, d: &Direction| {
        let (spi, key, salt) = (d.spi, d.key.as_str(), d.salt.as_str());
        Zeroizing::new(format!(
            "  \"{name}\": {{ \"spi\": {spi}, \"key\": \"{key}\", \"salt\": \"{salt}\" }}"
        ))
    };
    let (outbound, inbound) = (direction("outbound", outbound), direction("inbound", inbound));
    let (outbound, inbound) = (outbound.as_str(), inbound.as_str());
    Zeroizing::new(format!(
        "{{\n  \"cipher\": \"{cipher}\",\n  \"esn\": {esn},\n{outbound},\n{inbound}\n}}\n"
    ))
}

/// Never over a file that is there: it may hold a key in use.
fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let failed = |error| Failure::local(path.display(), error);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(failed)?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_files_mirror_each_other() {
        let (there, back) = (Direction::random(32).unwrap(), Direction::random(32).unwrap());
        let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        let a = read(&text("aes-256-gcm", true, &there, &back));
        let b = read(&text("aes-256-gcm", true, &back, &there));
        assert_eq!(a["outbound"], b["inbound"]);
        assert_eq!(a["inbound"], b["outbound"]);
        assert_ne!(a["inbound"]["key"], a["outbound"]["key"]);
        assert_eq!(a["outbound"]["key"].as_str().unwrap().len(), 64);
        assert!(a["outbound"]["spi"].as_u64().unwrap() > 255);
    }
}
