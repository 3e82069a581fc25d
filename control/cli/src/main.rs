//! `tombolo`: the operator's command. It asks `tombolod` over its control socket and shows the answers; `check`, `preflight`,
//! `replay`, `schema`, `sa generate`, `completions` and `man` need no gateway.
#![forbid(unsafe_code)]

mod arguments;
mod client;
mod commands;
mod failure;
mod packet;
mod pcapng;
mod table;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    if let Some(problem) = tombolo_tables::processor::unfit() {
        eprintln!("tombolo: {problem}");
        return ExitCode::FAILURE;
    }
    // A usage error ends the process with code 2.
    let arguments = arguments::Arguments::parse();
    match commands::run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.print(arguments.json);
            failure.exit_code()
        }
    }
}
