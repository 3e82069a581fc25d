//! `tombolo schema`, `completions` and `man`: texts that follow from the code.

use super::print;
use crate::arguments::Arguments;
use crate::failure::Failure;
use clap::CommandFactory;
use std::path::Path;

pub(super) fn completions(shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "tombolo", &mut text);
    print(&String::from_utf8_lossy(&text))
}

pub(super) fn man(directory: &Path) -> Result<(), Failure> {
    clap_mangen::generate_to(Arguments::command(), directory)
        .map_err(|error| Failure::local(directory.display(), error))
}

pub(super) fn schema() -> Result<(), Failure> {
    print(&(tombolo_config::schema() + "\n"))
}
