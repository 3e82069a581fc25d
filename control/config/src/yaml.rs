//! YAML text as a tree in which every key and value knows its place.
//!
//! Untrusted. Bounds: the file's size, the depth of nesting, the number of nodes; anchors, aliases, merge keys, custom tags
//! and second documents are refused, so that nothing can grow beyond what is written.

use crate::FILE_BYTES_MAX;
use crate::problem::{Place, Problems};
use core::fmt;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_saphyr::budget::BudgetBreach;
use serde_saphyr::options::{DuplicateKeyPolicy, MergeKeyPolicy, NonFiniteFloatPolicy};
use serde_saphyr::{Error, Options, Spanned};

/// Levels of nesting; a configuration needs six.
const DEPTH_MAX: usize = 16;
/// Keys and values in all.
const NODES_MAX: usize = 1_000_000;

/// A value and its place.
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) value: Value,
}

/// What a value can be. A scalar is its text, whatever YAML would make of it: its reader knows what it is to be.
pub(crate) enum Value {
    Null,
    Scalar(String),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

/// A key and its place.
pub(crate) struct Key {
    pub(crate) place: Place,
    pub(crate) text: String,
}

/// Reads one document.
pub(crate) fn read(text: &str, problems: &mut Problems) -> Option<Node> {
    if text.len() > FILE_BYTES_MAX {
        problems.add(
            Place::START,
            format!("the file has {} bytes, the most is {FILE_BYTES_MAX}", text.len()),
        );
        return None;
    }
    match serde_saphyr::from_str_with_options::<Spanned<Shape>>(text, options()) {
        Ok(root) => Some(node(root, text)),
        Err(error) => {
            refuse(&error, problems);
            None
        }
    }
}

fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: DEPTH_MAX,
            flow_nesting_limit: DEPTH_MAX,
            max_nodes: NODES_MAX,
            max_events: 4 * NODES_MAX,
            max_anchors: 0,
            max_aliases: 0,
            max_documents: 1,
            max_total_scalar_bytes: FILE_BYTES_MAX,
        },
        duplicate_keys: DuplicateKeyPolicy::Error,
        merge_keys: MergeKeyPolicy::Error,
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
        strict_booleans: true,
        reject_unsupported_tags: true,
        with_snippet: false,
    }
}

fn refuse(error: &Error, problems: &mut Problems) {
    let place = error
        .location()
        .map_or(Place::START, |location| place(location.line(), location.column()));
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "a foreign enum of sixty kinds, three of which need better words"
    )]
    match error {
        Error::DuplicateMappingKey { key, .. } => {
            let key = key.as_deref().map(crate::value::shorten).unwrap_or_default();
            problems.hint(
                place,
                format!("the key '{key}' stands here for the second time"),
                "keep one of them",
            );
        }
        Error::Budget { breach, .. } => refuse_size(place, breach, problems),
        other => problems.add(place, syntax(&other.to_string())),
    }
}

/// The parser's words without its place, which stands in front anyway.
fn syntax(message: &str) -> String {
    let message = message.split(" at line ").next().unwrap_or_default();
    match message.lines().next().unwrap_or_default() {
        "recursion limit exceeded" => format!("nested more than {DEPTH_MAX} levels deep"),
        message => format!("this is not YAML: {message}"),
    }
}

fn refuse_size(place: Place, breach: &BudgetBreach, problems: &mut Problems) {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "a foreign enum; what is not named is an effect of size"
    )]
    match breach {
        BudgetBreach::Anchors { .. } | BudgetBreach::Aliases { .. } => {
            problems.hint(
                place,
                "YAML anchors and aliases are not accepted",
                "write the value out",
            );
        }
        BudgetBreach::Documents { .. } => problems.add(place, "a second YAML document is not accepted"),
        BudgetBreach::Depth { .. } => problems.add(place, format!("nested more than {DEPTH_MAX} levels deep")),
        _ => problems.add(place, "the configuration is too large"),
    }
}

fn place(line: u64, column: u64) -> Place {
    let clamp = |number: u64| u32::try_from(number).unwrap_or(u32::MAX).max(1);
    Place {
        line: clamp(line),
        column: clamp(column),
    }
}

/// What `serde` hands over; a scalar that YAML takes for something else than text is read again from its place.
enum Shape {
    Null,
    Text(String),
    Typed,
    List(Vec<Spanned<Shape>>),
    Map(Vec<(Spanned<String>, Spanned<Shape>)>),
}

fn node(spanned: Spanned<Shape>, text: &str) -> Node {
    let location = spanned.referenced;
    let value = match spanned.value {
        Shape::Null => Value::Null,
        Shape::Text(text) => Value::Scalar(text),
        Shape::Typed => Value::Scalar(source(&location.span(), text)),
        Shape::List(items) => Value::List(items.into_iter().map(|item| node(item, text)).collect()),
        Shape::Map(entries) => Value::Map(entries.into_iter().map(|(k, v)| (key(k), node(v, text))).collect()),
    };
    Node {
        place: place(location.line(), location.column()),
        value,
    }
}

fn key(spanned: Spanned<String>) -> Key {
    Key {
        place: place(spanned.referenced.line(), spanned.referenced.column()),
        text: spanned.value,
    }
}

fn source(span: &serde_saphyr::Span, text: &str) -> String {
    let start = span
        .byte_offset()
        .and_then(|start| usize::try_from(start).ok())
        .unwrap_or(0);
    let length = span
        .byte_len()
        .and_then(|length| usize::try_from(length).ok())
        .unwrap_or(0);
    start
        .checked_add(length)
        .and_then(|end| text.get(start..end))
        .unwrap_or_default()
        .to_owned()
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ShapeVisitor)
    }
}

struct ShapeVisitor;

impl<'de> Visitor<'de> for ShapeVisitor {
    type Value = Shape;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a scalar, a list or a map")
    }

    fn visit_unit<E>(self) -> Result<Shape, E> {
        Ok(Shape::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Shape, E> {
        Ok(Shape::Typed)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Shape, E> {
        Ok(Shape::Typed)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Shape, E> {
        Ok(Shape::Typed)
    }

    fn visit_i128<E>(self, _: i128) -> Result<Shape, E> {
        Ok(Shape::Typed)
    }

    fn visit_u128<E>(self, _: u128) -> Result<Shape, E> {
        Ok(Shape::Typed)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Shape, E> {
        Ok(Shape::Typed)
    }

    fn visit_str<E>(self, text: &str) -> Result<Shape, E> {
        Ok(Shape::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Shape, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Shape::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Shape, A::Error> {
        let mut entries: Vec<(Spanned<String>, Spanned<Shape>)> = Vec::new();
        while let Some(key) = access.next_key()? {
            if entries.len() >= NODES_MAX {
                return Err(A::Error::custom("too many keys"));
            }
            entries.push((key, access.next_value()?));
        }
        Ok(Shape::Map(entries))
    }
}
