//! The peer began: we answer IKE_SA_INIT, IKE_INTERMEDIATE and IKE_AUTH.

mod auth;
mod init;
mod init_answered;

pub(crate) use init::{Refused, answer, stateless};
pub(crate) use init_answered::InitAnswered;
