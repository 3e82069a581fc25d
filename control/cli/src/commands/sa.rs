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
use tombolo_agent::offline;
use tombolo_agent::paths::Paths;
use tombolo_api::{SaInit, SaInitDone, path};
use tombolo_config::sa_file::{Cipher, SaPair};

pub(super) fn run(arguments: &Arguments, command: &SaCommand) -> Result<(), Failure> {
    match command {
        SaCommand::Generate { a, b, cipher, no_esn } => generate(a, b, *cipher, !no_esn),
        SaCommand::Init {
            tunnel, offline: false, ..
        } => {
            let body = serde_json::to_vec(&SaInit { tunnel: tunnel.clone() })
                .map_err(|error| Failure::local("request", error))?;
            let client = Client::new(arguments.control_socket())?;
            show(&client.request(Method::POST, path::SA_INIT, body)?, arguments.json)
        }
        SaCommand::Init {
            tunnel,
            offline: true,
            config,
            state_dir,
            secrets_dir,
        } => {
            let paths = Paths {
                runtime: arguments.runtime_dir.clone(),
                state: state_dir.clone(),
                secrets: secrets_dir.clone(),
            };
            let done = offline::sa_init(&paths, config.as_deref(), tunnel);
            show(
                &done.map_err(|error| Failure::Local(format!("{error:#}")))?,
                arguments.json,
            )
        }
    }
}

fn show(done: &SaInitDone, json: bool) -> Result<(), Failure> {
    if json {
        return print_json(done);
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

fn generate(a: &Path, b: &Path, cipher: SaCipher, esn: bool) -> Result<(), Failure> {
    let cipher = match cipher {
        SaCipher::Aes128Gcm => Cipher::Aes128Gcm,
        SaCipher::Aes256Gcm => Cipher::Aes256Gcm,
        SaCipher::Chacha20Poly1305 => Cipher::ChaCha20Poly1305,
    };
    let random = SystemRandom::new();
    let (ours, theirs) = SaPair::generate(cipher, esn, |bytes| random.fill(bytes))
        .map_err(|error| Failure::local("random numbers", error))?;
    write(a, &ours.to_json())?;
    write(b, &theirs.to_json()).inspect_err(|_| {
        // Half a pair is of no use to anyone.
        let _ = std::fs::remove_file(a);
    })
}

/// Never over a file that is there: it may hold a key in use.
fn write(path: &Path, text: &[u8]) -> Result<(), Failure> {
    let failed = |error| Failure::local(path.display(), error);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(failed)?;
    file.write_all(text).and_then(|()| file.sync_all()).map_err(failed)
}
