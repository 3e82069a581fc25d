//! The agent: everything that `tombolod` does, as a library, so that tests can run it.
#![forbid(unsafe_code)]
