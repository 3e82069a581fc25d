//! `tombolo check`: the same checks as the gateway's, without a gateway.

use super::{print, print_json, read};
use crate::failure::Failure;
use std::path::Path;
use tombolo_api::{Checked, Problem};
use tombolo_config::Gateway;

pub(super) fn run(file: &Path, json: bool) -> Result<(), Failure> {
    let (_, name) = gateway(file)?;
    if json {
        return print_json(&Checked { ok: true });
    }
    print(&format!("{name}: ok\n"))
}

/// What a file says, and its name. Warnings are told.
pub(super) fn gateway(file: &Path) -> Result<(Gateway, String), Failure> {
    let (gateway, name) = gateway_in_silence(file)?;
    for warning in &gateway.warnings {
        eprintln!("warning: {warning}");
    }
    Ok((gateway, name))
}

/// The same without warnings, for a command that says more than they do.
pub(super) fn gateway_in_silence(file: &Path) -> Result<(Gateway, String), Failure> {
    let (text, name) = read(file)?;
    let gateway = tombolo_config::parse(&text, &name)
        .map_err(|problems| Failure::problems(problems.into_iter().map(problem).collect()))?;
    Ok((gateway, name))
}

fn problem(problem: tombolo_config::Problem) -> Problem {
    let tombolo_config::Problem {
        file,
        line,
        column,
        message,
        hint,
    } = problem;
    Problem {
        file,
        line,
        column,
        message,
        hint,
    }
}
