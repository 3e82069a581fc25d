use super::*;

#[test]
fn every_profile_is_whole_and_only_azures_default_is_refused() {
    for name in ProfileName::ALL {
        let profile = profile(name).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(profile.refused.is_some(), name == ProfileName::AzureDefault, "{name}");
        assert!(!profile.policy.is_empty() && !profile.sources.is_empty(), "{name}");
    }
}

#[test]
fn a_broken_data_file_is_told() {
    let text = FILES[0];
    for (from, to, what) in [
        ("profile: aws", "profile: awz", "called awz"),
        (
            "groups: [ecp384, ecp256, modp2048]",
            "groups: [modp1024]",
            "modp1024 is not",
        ),
        ("source: tunnel-options }", "source: nowhere }", "no source nowhere"),
        ("date: 2026-11-20", "date: yesterday", "date"),
        (
            "seconds: 3600, least: 900",
            "seconds: 60, least: 900",
            "out of its own bounds",
        ),
        (
            "encryption: [aes-256-cbc], integrity: [sha384, sha256]",
            "encryption: [aes-256-cbc]",
            "integrity",
        ),
        ("within: [169.254.0.0/16]", "within: [169.254]", "no network"),
        ("least: 8, most: 64", "leest: 8, most: 64", "leest"),
        (
            "encryption: [aes-256-gcm, aes-128-gcm], prf",
            "encryption: [chacha20-poly1305], prf",
            "not accepted",
        ),
    ] {
        assert!(text.contains(from), "{from}");
        let error = data::read(ProfileName::Aws, &text.replace(from, to)).expect_err(to);
        assert!(error.contains(what), "{to}: {error}");
    }
}

#[test]
fn inside_addresses_by_the_clouds_rules() {
    let aws = profile(ProfileName::Aws).unwrap().values.as_ref().unwrap();
    let rule = &aws.inside4.as_ref().unwrap().value;
    let unfit = |text: &str| rule.unfit(crate::Prefix::parse(text).unwrap());
    assert_eq!(unfit("169.254.10.0/30"), None);
    assert!(unfit("169.254.169.252/30").unwrap().contains("reserved"));
    assert!(unfit("169.254.5.0/30").unwrap().contains("reserved"));
    assert!(unfit("169.254.10.0/29").unwrap().contains("is no /30"));
    assert!(unfit("10.0.0.0/30").unwrap().contains("not within"));
    let azure = profile(ProfileName::AzureCustom).unwrap().values.as_ref().unwrap();
    let rule = &azure.inside4.as_ref().unwrap().value;
    assert_eq!(rule.unfit(crate::Prefix::parse("169.254.21.4/30").unwrap()), None);
    assert!(rule.unfit(crate::Prefix::parse("169.254.23.0/30").unwrap()).is_some());
}
