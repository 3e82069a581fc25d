//! `tombolo check`: the same checks as the gateway's, without a gateway.

use super::{print, print_json, read};
use crate::failure::Failure;
use std::path::Path;
use tombolo_api::Checked;

pub(super) fn run(file: &Path, json: bool) -> Result<(), Failure> {
    let (_text, name) = read(file)?;
    if json {
        return print_json(&Checked { ok: true });
    }
    print(&format!("{name}: ok\n"))
}
