//! One file per command.

mod apply;
mod capture;
mod check;
mod generate;
mod preflight;
mod replay;
mod sa;
mod show;
mod status;

use crate::arguments::{Arguments, Command};
use crate::client::Client;
use crate::failure::Failure;
use serde::Serialize;
use std::io::Read;
use std::path::Path;

/// Does what the command line says.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let client = || Client::new(arguments.control_socket());
    match &arguments.command {
        Command::Check { file } => check::run(file, arguments.json),
        Command::Preflight { file, secrets_dir } => preflight::run(file, secrets_dir.as_deref(), arguments.json),
        Command::Apply { file } => apply::run(&client()?, file, arguments.json),
        Command::Status => status::run(&client()?, arguments.json),
        Command::Show { what, limit } => show::run(&client()?, *what, *limit, arguments.json),
        Command::Capture { port, write, count } => {
            capture::run(&client()?, port, write.as_deref(), *count, arguments.json)
        }
        Command::Replay {
            config,
            port,
            input,
            output,
            secrets_dir,
            verbose,
        } => replay::run(&replay::Wanted {
            config,
            port,
            input,
            output,
            secrets: secrets_dir.as_deref(),
            verbose: *verbose,
            json: arguments.json,
        }),
        Command::Schema => generate::schema(),
        Command::Sa(command) => sa::run(arguments, command),
        Command::Completions { shell } => generate::completions(*shell),
        Command::Man { directory } => generate::man(directory),
    }
}

/// The text of a file, or of standard input for `-`, and the name that messages use.
fn read(file: &Path) -> Result<(String, String), Failure> {
    if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin()
            .read_to_string(&mut text)
            .map_err(|error| Failure::local("standard input", error))?;
        return Ok((text, "standard input".into()));
    }
    let name = file.display().to_string();
    let text = std::fs::read_to_string(file).map_err(|error| Failure::local(&name, error))?;
    Ok((text, name))
}

/// Prints a value for machines.
fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Failure::local("JSON", error))?;
    print(&format!("{text}\n"))
}

/// Prints; a reader that has seen enough (`| head`) is no error.
fn print(text: &str) -> Result<(), Failure> {
    use std::io::Write;
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::local("standard output", error)),
        Err(_) | Ok(()) => Ok(()),
    }
}
