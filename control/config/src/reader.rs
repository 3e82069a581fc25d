//! From the tree to the raw statements: each value is read as what its key says it is, and every mismatch is noted, not only
//! the first.

use crate::problem::{Place, Problems};
use crate::suggest;
use crate::value::{Refused, shorten};
use crate::yaml::{Node, Value};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Something that can be read from a node. `None` means that a problem was noted.
pub(crate) trait FromNode: Sized {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self>;
}

/// Something that is written as one scalar.
pub(crate) trait Scalar: Sized {
    /// What it is, for messages: "an address".
    const WHAT: &'static str;

    fn parse_scalar(text: &str) -> Result<Self, Refused>;

    fn scalar_schema() -> Schema;
}

/// A scalar and its place.
#[derive(Clone, Debug)]
pub(crate) struct At<T> {
    pub(crate) place: Place,
    pub(crate) value: T,
}

impl<T: Scalar> FromNode for At<T> {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let Value::Scalar(text) = &node.value else {
            problems.add(
                node.place,
                format!("expected {}, found {}", T::WHAT, describe(&node.value)),
            );
            return None;
        };
        match T::parse_scalar(text) {
            Ok(value) => Some(At {
                place: node.place,
                value,
            }),
            Err(refused) => {
                problems.push(node.place, refused.message, refused.hint);
                None
            }
        }
    }
}

impl<T: Scalar> JsonSchema for At<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        T::WHAT.into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        T::scalar_schema()
    }
}

impl<T: FromNode> FromNode for Vec<T> {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        match &node.value {
            Value::Null => Some(Vec::new()),
            Value::List(items) => {
                let read: Vec<Option<T>> = items.iter().map(|item| T::read(item, problems)).collect();
                read.into_iter().collect()
            }
            other @ (Value::Scalar(_) | Value::Map(_)) => {
                let message = format!("expected a list, found {}", describe(other));
                problems.hint(
                    node.place,
                    message,
                    "a list is written [ … ] or with a dash before each item",
                );
                None
            }
        }
    }
}

/// Statements by name, in the order of the file.
#[derive(Debug)]
pub(crate) struct Named<K, T>(pub(crate) Vec<(At<K>, T)>);

impl<K, T> Default for Named<K, T> {
    fn default() -> Self {
        Named(Vec::new())
    }
}

impl<K: Scalar, T: FromNode> FromNode for Named<K, T> {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let entries = match &node.value {
            Value::Null => return Some(Named::default()),
            Value::Map(entries) => entries,
            other @ (Value::Scalar(_) | Value::List(_)) => {
                let message = format!("expected a map of names, found {}", describe(other));
                problems.hint(node.place, message, "write NAME: followed by what it is");
                return None;
            }
        };
        let mut named = Vec::with_capacity(entries.len());
        let mut complete = true;
        for (key, value) in entries {
            let name = match K::parse_scalar(&key.text) {
                Ok(value) => Some(At {
                    place: key.place,
                    value,
                }),
                Err(refused) => {
                    problems.push(key.place, refused.message, refused.hint);
                    None
                }
            };
            match (name, T::read(value, problems)) {
                (Some(name), Some(value)) => named.push((name, value)),
                (None, _) | (_, None) => complete = false,
            }
        }
        complete.then_some(Named(named))
    }
}

impl<K, T: JsonSchema> JsonSchema for Named<K, T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        BTreeMap::<String, T>::json_schema(generator)
    }
}

/// The fields of a statement.
pub(crate) struct Fields<'a> {
    place: Place,
    what: &'static str,
    entries: &'a [(crate::yaml::Key, Node)],
}

impl<'a> Fields<'a> {
    /// Opens a map and notes every key that is not one of `known` (written with underscores).
    pub(crate) fn open(node: &'a Node, what: &'static str, known: &[&str], problems: &mut Problems) -> Option<Self> {
        let entries = match &node.value {
            Value::Null => &[][..],
            Value::Map(entries) => entries,
            other @ (Value::Scalar(_) | Value::List(_)) => {
                let message = format!("expected the fields of {what}, found {}", describe(other));
                let known: Vec<String> = known.iter().map(|field| key_of(field)).collect();
                let hint = format!("known are {}", known.join(", "));
                problems.hint(node.place, message, hint);
                return None;
            }
        };
        let known: Vec<String> = known.iter().map(|field| key_of(field)).collect();
        for (key, _) in entries {
            if !known.contains(&key.text) {
                let message = format!("{what} has no field '{}'", shorten(&key.text));
                problems.push(
                    key.place,
                    message,
                    suggest::hint(&key.text, known.iter().map(String::as_str)),
                );
            }
        }
        Some(Fields {
            place: node.place,
            what,
            entries,
        })
    }

    /// A field that must be there.
    pub(crate) fn required<T: FromNode>(&self, name: &str, problems: &mut Problems) -> Option<T> {
        let name = key_of(name);
        match self.entries.iter().find(|(key, _)| key.text == name) {
            Some((key, Node { value: Value::Null, .. })) => {
                problems.add(key.place, format!("'{name}' has no value"));
                None
            }
            Some((_, node)) => T::read(node, problems),
            None => {
                problems.add(self.place, format!("{} lacks '{name}'", self.what));
                None
            }
        }
    }

    /// A field that may be absent or empty.
    pub(crate) fn optional<T: FromNode>(&self, name: &str, problems: &mut Problems) -> Option<Option<T>> {
        let name = key_of(name);
        match self.entries.iter().find(|(key, _)| key.text == name) {
            Some((_, Node { value: Value::Null, .. })) | None => Some(None),
            Some((_, node)) => T::read(node, problems).map(Some),
        }
    }

    pub(crate) fn place(&self) -> Place {
        self.place
    }
}

/// The key of a struct's field.
fn key_of(field: &str) -> String {
    field.trim_start_matches("r#").replace('_', "-")
}

fn describe(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Scalar(text) => format!("'{}'", shorten(text)),
        Value::List(_) => "a list".to_owned(),
        Value::Map(_) => "a map".to_owned(),
    }
}

/// Declares a statement: the struct, how it is read, and its JSON Schema, so that the three cannot differ.
macro_rules! statement {
    (@type required $type:ty) => { $type };
    (@type optional $type:ty) => { Option<$type> };
    (
        $(#[$doc:meta])*
        $name:ident = $what:literal {
            $($(#[$field_doc:meta])* $field:ident: $mode:ident $type:ty,)*
        }
    ) => {
        $(#[$doc])*
        #[derive(Debug, schemars::JsonSchema)]
        #[schemars(rename_all = "kebab-case", deny_unknown_fields)]
        pub(crate) struct $name {
            /// Where the statement starts.
            #[schemars(skip)]
            #[allow(dead_code, reason = "not every statement has a problem of its own")]
            pub(crate) place: $crate::problem::Place,
            $($(#[$field_doc])* pub(crate) $field: statement!(@type $mode $type),)*
        }

        impl $crate::reader::FromNode for $name {
            fn read(node: &$crate::yaml::Node, problems: &mut $crate::problem::Problems) -> Option<Self> {
                let fields = $crate::reader::Fields::open(node, $what, &[$(stringify!($field)),*], problems)?;
                $(let $field = fields.$mode::<$type>(stringify!($field), problems);)*
                Some($name { place: fields.place(), $($field: $field?),* })
            }
        }
    };
}
pub(crate) use statement;
