//! We began: IKE_SA_INIT, IKE_INTERMEDIATE where additional key exchanges were agreed on, IKE_AUTH.

mod auth_sent;
mod init_sent;
mod intermediate_sent;

pub(crate) use auth_sent::AuthSent;
pub(crate) use init_sent::{InitSent, Said};
pub(crate) use intermediate_sent::IntermediateSent;
