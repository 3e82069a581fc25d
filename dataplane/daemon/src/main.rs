//! Starts the dataplane process; everything else is in the library beside it.

#![forbid(unsafe_code)]

use anyhow::Context;
use std::process::ExitCode;
use tombolo_dataplane_daemon::{arguments, dataplane};

fn main() -> ExitCode {
    if let Some(problem) = tombolo_tables::processor::unfit() {
        eprintln!("tombolo-dataplane: {problem}");
        return ExitCode::FAILURE;
    }
    let arguments = match arguments::parse(std::env::args().skip(1)) {
        Ok(arguments::Parsed::Run(arguments)) => arguments,
        Ok(arguments::Parsed::Print(text)) => {
            print!("{text}");
            return ExitCode::SUCCESS;
        }
        Err(problem) => {
            eprintln!("tombolo-dataplane: {problem}\n{}", arguments::USAGE);
            return ExitCode::from(2);
        }
    };
    let ran = dataplane::Dataplane::listen(&arguments).and_then(dataplane::Dataplane::run);
    match ran.context("the dataplane stopped") {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tombolo-dataplane: {error:#}");
            ExitCode::FAILURE
        }
    }
}
