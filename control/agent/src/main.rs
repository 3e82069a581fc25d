//! `tombolod`: the control process of a gateway.
#![forbid(unsafe_code)]

use clap::Parser;
use std::io::IsTerminal;
use std::process::ExitCode;
use tombolo_agent::arguments::Arguments;

/// The netlink parser warns of every attribute that this kernel has and it has not.
const DEFAULT_LOG: &str = "info,netlink_packet_route=error,netlink_proto=error";

fn main() -> ExitCode {
    if let Some(problem) = tombolo_tables::processor::unfit() {
        eprintln!("tombolod: {problem}");
        return ExitCode::FAILURE;
    }
    let arguments = Arguments::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| DEFAULT_LOG.into());
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    log.with_ansi(std::io::stderr().is_terminal()).init();
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tombolod: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> anyhow::Result<()> {
    // A core dump would hold keys.
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(tombolo_agent::gateway::start(arguments))
}
