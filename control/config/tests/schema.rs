//! The JSON Schema says what the reader accepts.

use serde_json::Value;

fn schema() -> Value {
    serde_json::from_str(&tombolo_config::schema()).unwrap()
}

#[test]
fn top_level_keys_and_required_ones() {
    let schema = schema();
    let mut keys: Vec<&String> = schema["properties"].as_object().unwrap().keys().collect();
    keys.sort();
    assert_eq!(
        keys,
        [
            "bundles", "gateway", "limits", "nat", "policy", "ports", "routes", "segments", "tunnels", "workers"
        ]
    );
    assert_eq!(schema["additionalProperties"], Value::Bool(false));
    let mut required: Vec<&str> = schema["required"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    required.sort_unstable();
    assert_eq!(required, ["gateway", "ports", "segments"]);
}

/// The reader names all fields of a statement when it finds something else in its place.
fn known_to_reader(text: &str) -> Vec<String> {
    let problems = tombolo_config::parse(text, "x").unwrap_err();
    let hint = problems
        .iter()
        .find_map(|problem| problem.hint.as_deref()?.strip_prefix("known are "))
        .unwrap();
    let mut keys: Vec<String> = hint.split(", ").map(str::to_owned).collect();
    keys.sort();
    keys
}

#[test]
fn every_statement_has_the_same_fields_in_both() {
    let schema = schema();
    let statements = [
        ("RawPort", "ports: { p: x }"),
        ("RawSegment", "segments: { p: x }"),
        ("RawRoute", "routes: { p: [x] }"),
        ("RawEspTunnel", "tunnels: { p: x }"),
        ("RawChild", "tunnels: { p: { type: ipsec, children: { c: x } } }"),
        ("RawPpk", "tunnels: { p: { type: ipsec, ppk: x } }"),
        ("RawIke", "tunnels: { p: { type: ipsec, ike: x } }"),
        ("RawEsp", "tunnels: { p: { type: ipsec, esp: x } }"),
        ("RawRekey", "tunnels: { p: { type: ipsec, rekey: x } }"),
        ("RawDpd", "tunnels: { p: { type: ipsec, dpd: x } }"),
        ("RawBundle", "bundles: { p: x }"),
        ("RawSelector", "tunnels: { p: { selectors: [x] } }"),
        ("RawNat", "nat: x"),
        ("RawSourceNat", "nat: { source: [x] }"),
        ("RawDestinationNat", "nat: { destination: [x] }"),
        ("RawPolicyRule", "policy: [x]"),
        ("RawLimits", "limits: x"),
    ];
    for (definition, text) in statements {
        let properties = schema["$defs"][definition]["properties"].as_object();
        let mut keys: Vec<String> = properties
            .unwrap_or_else(|| panic!("no {definition}"))
            .keys()
            .cloned()
            .collect();
        keys.sort();
        assert_eq!(keys, known_to_reader(text), "{definition}");
    }
}

#[test]
fn every_field_of_an_ipsec_tunnel_is_known_to_the_reader() {
    let schema = schema();
    let properties = schema["$defs"]["RawIpsecTunnel"]["properties"].as_object().unwrap();
    assert!(properties.len() > 25);
    for key in properties.keys().filter(|key| *key != "type") {
        let text = format!("tunnels: {{ p: {{ type: ipsec, {key}: [[x]] }} }}");
        let problems = tombolo_config::parse(&text, "x").unwrap_err();
        assert!(
            !problems.iter().any(|problem| problem.message.contains("no field")),
            "{key}"
        );
    }
    let text = "tunnels: { p: { type: ipsec, keys: x } }";
    let problems = tombolo_config::parse(text, "x").unwrap_err();
    assert!(
        problems
            .iter()
            .any(|problem| problem.message.contains("no field 'keys'"))
    );
}
