//! What is wrong with a configuration, and where: made for an operator who has the file open in an editor.

use core::fmt;

/// One thing wrong in a configuration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// File as the operator named it.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

impl core::error::Error for Problem {}

/// A place in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// From 1.
    pub(crate) line: u32,
    /// From 1.
    pub(crate) column: u32,
}

impl Place {
    /// Where a problem stands that concerns the file as a whole.
    pub(crate) const START: Place = Place { line: 1, column: 1 };
}

/// Most problems that are reported at once; a file that is no configuration at all has thousands.
const PROBLEMS_MAX: usize = 100;

/// Problems found so far.
#[derive(Default)]
pub(crate) struct Problems(Vec<(Place, String, Option<String>)>);

impl Problems {
    /// A problem without advice.
    pub(crate) fn add(&mut self, place: Place, message: impl Into<String>) {
        self.push(place, message.into(), None);
    }

    /// A problem, and what to do about it.
    pub(crate) fn hint(&mut self, place: Place, message: impl Into<String>, hint: impl Into<String>) {
        self.push(place, message.into(), Some(hint.into()));
    }

    /// A problem that may come with advice.
    pub(crate) fn push(&mut self, place: Place, message: String, hint: Option<String>) {
        if self.0.len() < PROBLEMS_MAX {
            self.0.push((place, message, hint));
        }
    }

    /// Whether more problems would be left out: no need to look for advice then.
    pub(crate) fn is_full(&self) -> bool {
        self.0.len() >= PROBLEMS_MAX
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// In the order of the file.
    pub(crate) fn into_sorted(mut self, file: &str) -> Vec<Problem> {
        self.0.sort();
        self.0.dedup();
        self.0
            .into_iter()
            .map(|(place, message, hint)| Problem {
                file: file.to_owned(),
                line: place.line,
                column: place.column,
                message,
                hint,
            })
            .collect()
    }
}
