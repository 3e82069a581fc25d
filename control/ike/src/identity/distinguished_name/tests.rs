use super::*;

/// `openssl req -subj "/C=DE/O=Example/CN=gw-a"`: PrintableString for the country, UTF8String for the rest.
const OPENSSL: &[u8] = &[
    0x30, 0x2e, 0x31, 0x0b, 0x30, 0x09, 0x06, 0x03, 0x55, 0x04, 0x06, 0x13, 0x02, b'D', b'E', 0x31, 0x10, 0x30, 0x0e,
    0x06, 0x03, 0x55, 0x04, 0x0a, 0x0c, 0x07, b'E', b'x', b'a', b'm', b'p', b'l', b'e', 0x31, 0x0d, 0x30, 0x0b, 0x06,
    0x03, 0x55, 0x04, 0x03, 0x0c, 0x04, b'g', b'w', b'-', b'a',
];

#[test]
fn text_is_in_the_order_of_the_certificate() {
    assert_eq!(parse("C=DE, O=Example, CN=gw-a").as_deref(), Ok(OPENSSL));
    assert_eq!(parse("c=DE,o = Example ,2.5.4.3=gw-a").as_deref(), Ok(OPENSSL));
    assert_eq!(to_text(OPENSSL).as_deref(), Some("C=DE, O=Example, CN=gw-a"));
    assert!(!same(OPENSSL, &parse("CN=gw-a, O=Example, C=DE").unwrap()));
}

#[test]
fn what_is_written_is_read_again() {
    for text in [
        "CN=gw-a",
        "DC=example, DC=org, CN=gw-a",
        "CN=a+UID=b, O=c",
        "O=Example\\, Inc., CN=a\\+b\\=c\\\\d",
        "O=\\ blank\\ , CN=\\#1, OU=a#b c",
        "CN=Zürich",
        "CN=a\\0ab",
        "emailAddress=admin@example.org, CN=x",
        "1.2.3.4=text",
        "CN=#0403010203",
        "C=#0c024445, CN=x",
    ] {
        let der = parse(text).unwrap_or_else(|reason| panic!("{text}: {reason}"));
        let written = to_text(&der).expect("a name");
        assert!(
            same(&parse(&written).expect("readable"), &der),
            "{text} becomes {written}"
        );
    }
    assert_eq!(
        to_text(&parse("O=Example\\, Inc.").unwrap()).as_deref(),
        Some("O=Example\\, Inc.")
    );
    assert_eq!(
        to_text(&parse("CN=a\\1b[0m").unwrap()).as_deref(),
        Some("CN=a\\1b[0m"),
        "no terminal is driven"
    );
    assert_eq!(
        to_text(&parse("CN=#0403010203").unwrap()).as_deref(),
        Some("CN=#0403010203")
    );
}

#[test]
fn what_is_no_name_says_why() {
    for (text, reason) in [
        ("", NameError::Empty),
        ("CN=a,", NameError::Empty),
        ("CN=a,,O=b", NameError::Empty),
        ("CN", NameError::NoEquals("CN".to_owned())),
        ("XY=a", NameError::UnknownAttribute("XY".to_owned())),
        ("CN=", NameError::Value(String::new())),
        ("C=Ö", NameError::Value("Ö".to_owned())),
        ("DC=ö", NameError::Value("ö".to_owned())),
        ("CN=a\\x", NameError::Value("a\\x".to_owned())),
        ("CN=a\\", NameError::Value("a\\".to_owned())),
        ("CN=\\ff", NameError::Value("\\ff".to_owned())),
        ("CN=\"a\"", NameError::Value("\"a\"".to_owned())),
        ("CN=#04", NameError::Value("#04".to_owned())),
        ("CN=#040", NameError::Value("#040".to_owned())),
    ] {
        assert_eq!(parse(text), Err(reason), "{text}");
    }
    assert_eq!(parse(&"CN=a,".repeat(1000)), Err(NameError::TooLong));
    assert_eq!(parse(&["CN=a"; 400].join(",")), Err(NameError::TooLong));
}

/// Authorities differ in the kind of string; everything else counts.
#[test]
fn names_are_matched_exactly_but_for_the_kind_of_string() {
    let name = |text: &str| parse(text).unwrap();
    let printable = name("CN=#130467772d61");
    assert!(same(&printable, &name("CN=gw-a")));
    assert!(same(&name("CN=#160467772d61"), &name("CN=gw-a")));
    assert!(same(&name("CN=a+O=#130162"), &name("O=b+CN=a")));
    for other in [
        "CN=GW-A",
        "CN=gw-a, O=x",
        "O=gw-a",
        "CN=gw-a\\ ",
        "CN=#040467772d61",
        "CN=gw-b",
    ] {
        assert!(!same(&name("CN=gw-a"), &name(other)), "{other}");
        assert!(!same(&printable, &name(other)), "{other}");
    }
    assert!(!same(b"", &name("CN=a")));
    assert!(!same(&name("CN=a"), &name("CN=a")[..3]));
    assert!(is_empty(&[0x30, 0]) && !is_empty(&name("CN=a")) && !is_empty(b""));
}
