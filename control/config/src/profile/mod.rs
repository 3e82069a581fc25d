//! What each kind of peer wants of a tunnel keyed by IKEv2: data files with sources and dates (`profiles/`), read once.

mod algorithms;
mod data;

pub(crate) use algorithms::{Algorithm, Kind, Transforms, canonical, esp_proposals, ike_proposals, unfit};
pub use data::{Ceilings, Children, Families, InsideRule, Profile, PskRule, Source, Sourced, Span, Values};

use crate::model::ProfileName;
use std::sync::OnceLock;

/// The data files, in the order of [`ProfileName::ALL`].
const FILES: [&str; 8] = [
    include_str!("../../profiles/aws.yaml"),
    include_str!("../../profiles/aws-large.yaml"),
    include_str!("../../profiles/azure-default.yaml"),
    include_str!("../../profiles/azure-custom.yaml"),
    include_str!("../../profiles/gcp.yaml"),
    include_str!("../../profiles/cloudflare.yaml"),
    include_str!("../../profiles/tombolo.yaml"),
    include_str!("../../profiles/custom.yaml"),
];

/// The profile of a name.
///
/// # Errors
/// If the data file that is part of this program is broken, which a test excludes.
pub fn profile(name: ProfileName) -> Result<&'static Profile, String> {
    static ALL: OnceLock<Vec<Result<Profile, String>>> = OnceLock::new();
    let all = ALL.get_or_init(|| {
        ProfileName::ALL
            .iter()
            .zip(FILES)
            .map(|(name, text)| data::read(*name, text))
            .collect()
    });
    let place = ProfileName::ALL.iter().position(|other| *other == name);
    match place.and_then(|place| all.get(place)) {
        Some(Ok(profile)) => Ok(profile),
        Some(Err(error)) => Err(format!("the data of profile {name} is broken: {error}")),
        None => Err(format!("there is no data of profile {name}")),
    }
}

#[cfg(test)]
mod tests;
