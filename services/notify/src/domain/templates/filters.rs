//! The filters that texts have. What those that make texts and lists are given in one rendering is counted before they make
//! anything: what comes out is never more than 24 times of it, which is a list of the letters of a text.

use super::words;
use minijinja::value::{Rest, ValueOrKwargs};
use minijinja::{Environment, Error, ErrorKind, State, Value, filters};

/// Those that give back what they have, or a number, or a date.
const PLAIN: [&str; 17] = [
    "abs", "attr", "bool", "count", "d", "date", "day", "default", "first", "float", "int", "last", "length",
    "max", "min", "round", "time",
];

type Made = fn() -> Value;

const MAKING: [(&str, Made); 22] = [
    ("capitalize", || Value::from_function(filters::capitalize)),
    ("dictsort", || Value::from_function(filters::dictsort)),
    ("e", || Value::from_function(filters::escape)),
    ("escape", || Value::from_function(filters::escape)),
    ("items", || Value::from_function(filters::items)),
    ("join", || Value::from_function(filters::join)),
    ("list", || Value::from_function(filters::list)),
    ("lower", || Value::from_function(filters::lower)),
    ("map", || Value::from_function(filters::map)),
    ("plural", || Value::from_function(words::plural)),
    ("reject", || Value::from_function(filters::reject)),
    ("rejectattr", || Value::from_function(filters::rejectattr)),
    ("replace", || Value::from_function(filters::replace)),
    ("reverse", || Value::from_function(filters::reverse)),
    ("select", || Value::from_function(filters::select)),
    ("selectattr", || Value::from_function(filters::selectattr)),
    ("sort", || Value::from_function(filters::sort)),
    ("string", || Value::from_function(filters::string)),
    ("title", || Value::from_function(filters::title)),
    ("trim", || Value::from_function(filters::trim)),
    ("unique", || Value::from_function(filters::unique)),
    ("upper", || Value::from_function(filters::upper)),
];

/// Which let a text out of its escaping, show what is not meant for it, or make more than they are given.
const NONE: [&str; 14] = [
    "safe",
    "format",
    "indent",
    "pprint",
    "batch",
    "slice",
    "split",
    "lines",
    "sum",
    "groupby",
    "chain",
    "zip",
    "tojson",
    "urlencode",
];

/// Bytes that an element of a list counts for.
const ELEMENT: usize = 32;

/// The names of all of them.
pub(super) fn all() -> impl Iterator<Item = &'static str> {
    PLAIN.into_iter().chain(MAKING.into_iter().map(|(name, _)| name))
}

/// Bytes that the filters of one rendering were given.
struct Given(usize);

/// Adds them; what makes something is given `most` bytes in one rendering.
pub(super) fn add(environment: &mut Environment<'_>, most: usize) {
    words::add(environment);
    NONE.iter().for_each(|name| environment.remove_filter(name));
    for (name, made) in MAKING {
        let filter = made();
        let counted = move |state: &mut State<'_, '_>, args: Rest<ValueOrKwargs>| -> Result<Value, Error> {
            let args = args.into_values();
            let given = state.get_or_insert_extension(Given(0));
            given.0 = given.0.saturating_add(weight(name, &args));
            if given.0 > most {
                let reason = format!("gives filters more than {most} bytes to work on");
                return Err(Error::new(ErrorKind::InvalidOperation, reason));
            }
            filter.call(state, &args)
        };
        environment.add_filter(name, counted);
    }
}

/// What a call counts for: what it is given, and what it makes of it where that is more.
fn weight(name: &str, args: &[Value]) -> usize {
    let given = args.iter().map(size).fold(0, usize::saturating_add);
    let more = match (name, args) {
        ("replace", [text, from, to, ..]) => {
            let count = with_text(text, |text| with_text(from, |from| text.matches(from).count()));
            count.saturating_mul(with_text(to, str::len))
        }
        ("join", [list, rest @ ..]) => {
            let between = rest.iter().map(|arg| with_text(arg, str::len)).fold(0, usize::saturating_add);
            let items = list.try_iter().into_iter().flatten();
            items
                .map(|item| with_text(&item, str::len).saturating_add(between))
                .fold(0, usize::saturating_add)
        }
        _ => 0,
    };
    given.saturating_add(more)
}

fn size(value: &Value) -> usize {
    match value.as_str() {
        Some(text) => text.len(),
        None => value.len().unwrap_or(1).saturating_mul(ELEMENT),
    }
}

fn with_text<T>(value: &Value, work: impl FnOnce(&str) -> T) -> T {
    match value.as_str() {
        Some(text) => work(text),
        None => work(&value.to_string()),
    }
}
