//! The command line: two options, so that no library is needed for it.

use std::path::PathBuf;

/// How it is called.
pub const USAGE: &str = "usage: tombolo-dataplane [--runtime-dir DIR] [--busy]

  --runtime-dir DIR  where the private socket for tombolod lies (default /run/tombolo)
  --busy             workers never sleep: lowest latency, a whole core each
  --version          print the version
  --help             print this
";

/// What it is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arguments {
    /// Runtime directory, shared with `tombolod`.
    pub runtime_dir: PathBuf,
    /// Workers never sleep.
    pub busy: bool,
}

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Parsed {
    /// Run.
    Run(Arguments),
    /// Print this and end.
    Print(String),
}

/// Reads the words behind the program's name.
pub fn parse(words: impl Iterator<Item = String>) -> Result<Parsed, String> {
    let mut arguments = Arguments {
        runtime_dir: PathBuf::from("/run/tombolo"),
        busy: false,
    };
    let mut words = words;
    while let Some(word) = words.next() {
        match word.as_str() {
            "--runtime-dir" => {
                arguments.runtime_dir = words.next().ok_or("--runtime-dir needs a directory")?.into();
            }
            "--busy" => arguments.busy = true,
            "--version" => {
                return Ok(Parsed::Print(format!(
                    "tombolo-dataplane {}\n",
                    env!("CARGO_PKG_VERSION")
                )));
            }
            "--help" | "-h" => return Ok(Parsed::Print(USAGE.to_owned())),
            other => return Err(format!("unknown option {other}")),
        }
    }
    Ok(Parsed::Run(arguments))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Result<Parsed, String> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn options_are_read_and_mistakes_are_named() {
        let run = Parsed::Run(Arguments {
            runtime_dir: "/tmp/x".into(),
            busy: true,
        });
        assert_eq!(words("--runtime-dir /tmp/x --busy"), Ok(run));
        assert_eq!(
            words("--runtime-dir"),
            Err("--runtime-dir needs a directory".to_owned())
        );
        assert_eq!(words("--bsuy"), Err("unknown option --bsuy".to_owned()));
        assert!(matches!(words("--help"), Ok(Parsed::Print(_))));
    }
}
