//! Why a command did not do what it was asked to, and the exit code that says so to a script.

use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use tombolo_api::{Problem, Refusal};

/// A command failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The gateway or a check said no.
    Refused(Refusal),
    /// Nobody answers at the control socket.
    Unreachable(PathBuf, std::io::Error),
    /// Standard output has said it all; this is its sum.
    Told(String),
    /// Something on this side: a file, a broken answer.
    Local(String),
}

impl Failure {
    /// A failure of this side, with what it concerns.
    pub(crate) fn local(what: impl std::fmt::Display, error: impl std::fmt::Display) -> Failure {
        Failure::Local(format!("{what}: {error}"))
    }

    /// A configuration with problems.
    pub(crate) fn problems(problems: Vec<Problem>) -> Failure {
        let count = problems.len();
        let error = format!(
            "{count} problem{} in the configuration",
            if count == 1 { "" } else { "s" }
        );
        Failure::Refused(Refusal {
            error,
            hint: None,
            problems,
        })
    }

    /// 1: refused or failed; 3: cannot reach tombolod. (2 is clap's, for wrong usage.)
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Failure::Refused(_) | Failure::Told(_) | Failure::Local(_) => ExitCode::from(1),
            Failure::Unreachable(..) => ExitCode::from(3),
        }
    }

    /// On standard error; as JSON on standard output when that was asked for.
    pub(crate) fn print(&self, json: bool) {
        if json && !matches!(self, Failure::Told(_)) {
            println!("{}", serde_json::to_string(&self.refusal()).unwrap_or_default());
        }
        eprint!("{}", self.text());
    }

    fn refusal(&self) -> Refusal {
        let plain = |error: String, hint: Option<String>| Refusal {
            error,
            hint,
            problems: Vec::new(),
        };
        match self {
            Failure::Refused(refusal) => refusal.clone(),
            Failure::Told(error) | Failure::Local(error) => plain(error.clone(), None),
            Failure::Unreachable(path, error) => {
                let hint = if error.kind() == std::io::ErrorKind::PermissionDenied {
                    "the control socket is for root and for the group that tombolod names with --control-group"
                } else {
                    "is tombolod running? --runtime-dir, --socket or TOMBOLO_SOCKET name its socket"
                };
                plain(
                    format!("cannot reach tombolod at {}: {error}", path.display()),
                    Some(hint.into()),
                )
            }
        }
    }

    fn text(&self) -> String {
        let Refusal { error, hint, problems } = self.refusal();
        let mut text = String::new();
        for problem in &problems {
            let _ = write!(text, "{}", problem_text(problem));
        }
        let _ = writeln!(text, "error: {error}");
        if let Some(hint) = hint {
            let _ = writeln!(text, "  hint: {hint}");
        }
        text
    }
}

/// `file:line:column: error: what`, which editors and CI systems understand.
fn problem_text(problem: &Problem) -> String {
    let Problem {
        file,
        line,
        column,
        message,
        hint,
    } = problem;
    let place = if *line == 0 {
        file.clone()
    } else {
        format!("{file}:{line}:{column}")
    };
    let hint = hint
        .as_ref()
        .map(|hint| format!("  hint: {hint}\n"))
        .unwrap_or_default();
    format!("{place}: error: {message}\n{hint}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_reads_like_a_compiler_error() {
        let problem = Problem {
            file: "a.yaml".into(),
            line: 3,
            column: 7,
            message: "unknown key adress".into(),
            hint: Some("did you mean address?".into()),
        };
        let text = Failure::problems(vec![problem]).text();
        let expected = "a.yaml:3:7: error: unknown key adress\n  hint: did you mean address?\n\
                        error: 1 problem in the configuration\n";
        assert_eq!(text, expected);
    }
}
