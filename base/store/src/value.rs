//! What goes into a statement: typed values, so that a null is bound with its type as PostgreSQL needs it.

use artel_message::{Id, Time};
use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use uuid::Uuid;

/// One parameter. A `None` is the SQL null of that type.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Bool(Option<bool>),
    /// BIGINT; also times, in microseconds.
    I64(Option<i64>),
    F64(Option<f64>),
    Text(Option<String>),
    Bytes(Option<Vec<u8>>),
    Uuid(Option<Uuid>),
    /// The text of a JSON document, for a JSONB column. An engine may normalise it (key order, spaces, `1.0`): what has
    /// to stay as it was sent goes into a TEXT column.
    Json(Option<String>),
    /// A value that could not be made, with the reason; the statement fails as `invalid`.
    Unfit(String),
}

impl Value {
    /// The name of its type on PostgreSQL.
    pub(crate) fn postgres(&self) -> &'static str {
        match self {
            Value::Bool(_) => "BOOLEAN",
            Value::I64(_) => "BIGINT",
            Value::F64(_) => "DOUBLE PRECISION",
            Value::Text(_) | Value::Unfit(_) => "TEXT",
            Value::Bytes(_) => "BYTEA",
            Value::Uuid(_) => "UUID",
            Value::Json(_) => "JSONB",
        }
    }

    /// Refuses what only one of the engines would store.
    pub(crate) fn fit(&self) -> Result<(), String> {
        match self {
            Value::Unfit(reason) => Err(reason.clone()),
            Value::F64(Some(x)) if x.is_nan() => {
                Err("is not a number, which SQLite would store as null".to_owned())
            }
            Value::Text(Some(text)) if text.as_bytes().contains(&0) => {
                Err("holds the character U+0000, which PostgreSQL does not store".to_owned())
            }
            Value::Json(Some(text)) if has_escaped_nul(text) => {
                Err("holds the character U+0000 (\\u0000), which PostgreSQL does not store".to_owned())
            }
            _ => Ok(()),
        }
    }
}

/// Whether a JSON text holds `\u0000` as an escape (and not as the text after an escaped backslash).
fn has_escaped_nul(text: &str) -> bool {
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        if rest[at..].starts_with("\\u0000") {
            return true;
        }
        // Past the escape's second character, which is one byte: JSON escapes are ASCII.
        rest = rest.get(at + 2..).unwrap_or("");
    }
    false
}

/// The parameters of one statement, or of one row of [`crate::Write::exec_rows`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Values(pub(crate) Vec<Value>);

impl Values {
    pub fn len(&self) -> usize {
        self.0.len()
    }
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<Vec<Value>> for Values {
    fn from(values: Vec<Value>) -> Values {
        Values(values)
    }
}

/// What can be a parameter.
pub trait ToValue: Sized + Send {
    /// The null of this type.
    const NULL: Value;
    fn into_value(self) -> Value;
}

/// A JSONB column, read and written through serde.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Json<T>(pub T);

macro_rules! to_value {
    ($($type:ty => $kind:ident, $self:ident => $value:expr;)*) => {$(
        impl ToValue for $type {
            const NULL: Value = Value::$kind(None);
            fn into_value($self) -> Value {
                Value::$kind(Some($value))
            }
        }
    )*};
}

to_value! {
    bool => Bool, self => self;
    i64 => I64, self => self;
    i32 => I64, self => i64::from(self);
    u32 => I64, self => i64::from(self);
    f64 => F64, self => self;
    String => Text, self => self;
    &str => Text, self => self.to_owned();
    Vec<u8> => Bytes, self => self;
    &[u8] => Bytes, self => self.to_vec();
    Bytes => Bytes, self => Vec::from(self);
    Uuid => Uuid, self => self;
    Time => I64, self => self.micros();
}

impl<T> ToValue for Id<T> {
    const NULL: Value = Value::Uuid(None);
    fn into_value(self) -> Value {
        Value::Uuid(Some(self.uuid()))
    }
}

impl<T: Serialize + DeserializeOwned + Send> ToValue for Json<T> {
    const NULL: Value = Value::Json(None);
    fn into_value(self) -> Value {
        match serde_json::to_string(&self.0) {
            Ok(text) => Value::Json(Some(text)),
            Err(error) => Value::Unfit(format!("not representable as JSON: {error}")),
        }
    }
}

impl<T: ToValue> ToValue for Option<T> {
    const NULL: Value = T::NULL;
    fn into_value(self) -> Value {
        self.map_or(T::NULL, T::into_value)
    }
}

/// What can be the parameters of a statement: `()`, tuples up to 16, `Vec<Value>`, [`Values`].
pub trait Args: Send {
    fn values(self) -> Values;
}

impl Args for Values {
    fn values(self) -> Values {
        self
    }
}

impl Args for Vec<Value> {
    fn values(self) -> Values {
        Values(self)
    }
}

impl Args for () {
    fn values(self) -> Values {
        Values(Vec::new())
    }
}

macro_rules! args {
    ($($name:ident)+) => {
        impl<$($name: ToValue),+> Args for ($($name,)+) {
            #[allow(non_snake_case)] // the type parameters name the fields
            fn values(self) -> Values {
                let ($($name,)+) = self;
                Values(vec![$($name.into_value()),+])
            }
        }
    };
}

args!(A);
args!(A B);
args!(A B C);
args!(A B C D);
args!(A B C D E);
args!(A B C D E F);
args!(A B C D E F G);
args!(A B C D E F G H);
args!(A B C D E F G H I);
args!(A B C D E F G H I J);
args!(A B C D E F G H I J K);
args!(A B C D E F G H I J K L);
args!(A B C D E F G H I J K L M);
args!(A B C D E F G H I J K L M N);
args!(A B C D E F G H I J K L M N O);
args!(A B C D E F G H I J K L M N O P);
