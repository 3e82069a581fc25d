//! `tombolo apply`.

use super::{print, print_json, read};
use crate::client::Client;
use crate::failure::Failure;
use hyper::Method;
use std::path::Path;
use tombolo_api::{Applied, path};

pub(super) fn run(client: &Client, file: &Path, json: bool) -> Result<(), Failure> {
    let (text, name) = read(file)?;
    let applied: Applied = client
        .request(Method::PUT, path::CONFIG, text.into_bytes())
        .map_err(|f| named(f, &name))?;
    if json {
        return print_json(&applied);
    }
    for warning in &applied.warnings {
        eprintln!("warning: {warning}");
    }
    if applied.active {
        print(&format!(
            "applied: generation {} is in use by every worker\n",
            applied.generation
        ))
    } else {
        print("stored, not active: no dataplane is running\n")
    }
}

/// The gateway does not know the operator's file name: puts it into the problems.
fn named(failure: Failure, name: &str) -> Failure {
    match failure {
        Failure::Refused(mut refusal) => {
            for problem in &mut refusal.problems {
                problem.file = name.to_owned();
            }
            Failure::Refused(refusal)
        }
        Failure::Unreachable(..) | Failure::Told(_) | Failure::Local(_) => failure,
    }
}
