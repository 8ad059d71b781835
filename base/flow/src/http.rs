//! Routes with their description beside them. What a handler takes is read from its signature, what it answers is said
//! where it is mounted; both end in one [`RouteDoc`], out of which the OpenAPI document is made.

use artel_message::Code;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Extension, OriginalUri, Request, State};
use axum::handler::Handler;
use axum::http::{HeaderMap, Method, Uri};
use axum::routing::{MethodFilter, MethodRouter, on};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde::Serialize;
use serde_json::{Map, Value};

/// Where schemas refer to each other: their place in an OpenAPI document.
const SCHEMAS: &str = "/components/schemas";

/// What one route takes and answers, as data.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RouteDoc {
    /// In capitals.
    pub method: String,
    /// The template, such as `/api/bridge/messages/{id}`.
    pub path: String,
    /// One line in the imperative.
    pub summary: String,
    pub description: Option<String>,
    /// What the caller's token must allow.
    pub scope: Option<&'static str>,
    pub parameters: Vec<Parameter>,
    pub body: Option<BodyDoc>,
    /// In the order they were said.
    pub answers: Vec<Answer>,
    /// How it may be refused, beside what any request may meet.
    pub refusals: Vec<Code>,
    /// The request's or the answer's body has no end of its own: no time limit holds.
    pub streams: bool,
    /// Whoever calls proves it by something else than a token: the handler looks.
    pub open: bool,
    /// Schemas that bodies and parameters refer to, by name.
    pub inputs: Map<String, Value>,
    /// Schemas that answers refer to, by name.
    pub outputs: Map<String, Value>,
}

/// A value in the path, the query or a header.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Parameter {
    pub name: String,
    pub place: Place,
    pub required: bool,
    pub description: Option<String>,
    pub schema: Value,
}

/// Where a parameter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    Path,
    Query,
    Header,
}

/// The body of a request.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BodyDoc {
    pub content_type: String,
    pub description: Option<String>,
    pub schema: Value,
}

/// An answer that is no refusal.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Answer {
    pub status: u16,
    pub description: String,
    /// `None` = without a body.
    pub content: Option<(String, Value)>,
}

/// Routes over a state, each with its description. Without parameter: ready to serve.
pub struct Routes<S = ()> {
    router: Router<S>,
    docs: Vec<RouteDoc>,
}

impl<S: Clone + Send + Sync + 'static> Default for Routes<S> {
    fn default() -> Self {
        Routes { router: Router::new(), docs: Vec::new() }
    }
}

impl<S: Clone + Send + Sync + 'static> Routes<S> {
    pub fn new() -> Routes<S> {
        Routes::default()
    }

    pub fn get<H: Handler<T, S>, T: Inputs>(self, path: &str, handler: H, say: fn(Op) -> Op) -> Routes<S> {
        self.on(MethodFilter::GET, "GET", path, handler, say)
    }
    pub fn post<H: Handler<T, S>, T: Inputs>(self, path: &str, handler: H, say: fn(Op) -> Op) -> Routes<S> {
        self.on(MethodFilter::POST, "POST", path, handler, say)
    }
    pub fn put<H: Handler<T, S>, T: Inputs>(self, path: &str, handler: H, say: fn(Op) -> Op) -> Routes<S> {
        self.on(MethodFilter::PUT, "PUT", path, handler, say)
    }
    pub fn patch<H: Handler<T, S>, T: Inputs>(self, path: &str, handler: H, say: fn(Op) -> Op) -> Routes<S> {
        self.on(MethodFilter::PATCH, "PATCH", path, handler, say)
    }
    pub fn delete<H: Handler<T, S>, T: Inputs>(self, path: &str, handler: H, say: fn(Op) -> Op) -> Routes<S> {
        self.on(MethodFilter::DELETE, "DELETE", path, handler, say)
    }

    fn on<H: Handler<T, S>, T: Inputs>(
        mut self,
        filter: MethodFilter,
        method: &str,
        path: &str,
        handler: H,
        say: fn(Op) -> Op,
    ) -> Routes<S> {
        let route: MethodRouter<S> = on(filter, handler);
        self.router = self.router.route(path, route);
        self.docs.push(say(T::describe(Op::new(method, path))).finish());
        self
    }

    /// Adds the routes of another.
    pub fn merge(mut self, other: Routes<S>) -> Routes<S> {
        self.router = self.router.merge(other.router);
        self.docs.extend(other.docs);
        self
    }

    /// Gives the handlers their state.
    pub fn with_state(self, state: S) -> Routes {
        Routes { router: self.router.with_state(state), docs: self.docs }
    }

    pub fn docs(&self) -> &[RouteDoc] {
        &self.docs
    }

    pub fn into_parts(self) -> (Router<S>, Vec<RouteDoc>) {
        (self.router, self.docs)
    }
}

/// The description of one route while it is made.
pub struct Op {
    doc: RouteDoc,
    inputs: SchemaGenerator,
    outputs: SchemaGenerator,
}

impl Op {
    fn new(method: &str, path: &str) -> Op {
        let settings = SchemaSettings::draft2020_12().with(|settings| {
            settings.definitions_path = SCHEMAS.into();
            settings.meta_schema = None;
        });
        Op {
            doc: RouteDoc {
                method: method.to_owned(),
                path: path.to_owned(),
                summary: String::new(),
                description: None,
                scope: None,
                parameters: Vec::new(),
                body: None,
                answers: Vec::new(),
                refusals: Vec::new(),
                streams: false,
                open: false,
                inputs: Map::new(),
                outputs: Map::new(),
            },
            inputs: settings.clone().for_deserialize().into_generator(),
            outputs: settings.for_serialize().into_generator(),
        }
    }

    /// One line in the imperative, such as "Send a message".
    pub fn summary(mut self, text: &str) -> Op {
        self.doc.summary = text.to_owned();
        self
    }

    /// What one must know beyond the summary; Markdown.
    pub fn description(mut self, text: &str) -> Op {
        self.doc.description = Some(text.to_owned());
        self
    }

    /// The scope the caller's token needs; extractors of callers say it themselves.
    pub fn scope(mut self, scope: &'static str) -> Op {
        self.doc.scope = Some(scope);
        self.refuses(&[Code::Unauthenticated, Code::Forbidden])
    }

    /// A JSON body; the extractor of one says it itself.
    pub fn body<T: JsonSchema>(mut self) -> Op {
        let schema = self.inputs.subschema_for::<T>().to_value();
        self.doc.body =
            Some(BodyDoc { content_type: "application/json".to_owned(), description: None, schema });
        self.refuses(&[Code::Invalid])
    }

    /// A body of another type, `T` being one element of it where it is a stream of such.
    pub fn raw_body<T: JsonSchema>(mut self, content_type: &str, description: &str) -> Op {
        let schema = self.inputs.subschema_for::<T>().to_value();
        let description = Some(description.to_owned());
        self.doc.body = Some(BodyDoc { content_type: content_type.to_owned(), description, schema });
        self.refuses(&[Code::Invalid])
    }

    /// The fields of `T` as parameters of the query or the path; a `T` without fields is the path's parameter itself.
    pub fn parameters<T: JsonSchema>(mut self, place: Place) -> Op {
        let schema = T::json_schema(&mut self.inputs).to_value();
        let fields = schema.get("properties").and_then(Value::as_object).cloned();
        match fields {
            Some(fields) => {
                let required = schema.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
                for (name, schema) in fields {
                    let required = place == Place::Path || required.iter().any(|known| *known == name);
                    self.parameter(name, place, required, schema);
                }
            }
            None => {
                for name in template_names(&self.doc.path.clone()) {
                    self.parameter(name, place, true, schema.clone());
                }
            }
        }
        self.refuses(&[Code::Invalid])
    }

    fn parameter(&mut self, name: String, place: Place, required: bool, mut schema: Value) {
        let description = schema.as_object_mut().and_then(|schema| schema.remove("description"));
        let description = description.as_ref().and_then(Value::as_str).map(str::to_owned);
        self.doc.parameters.push(Parameter { name, place, required, description, schema });
    }

    /// A header that changes what the route does.
    pub fn header(mut self, name: &str, description: &str) -> Op {
        self.doc.parameters.push(Parameter {
            name: name.to_owned(),
            place: Place::Header,
            required: false,
            description: Some(description.to_owned()),
            schema: serde_json::json!({ "type": "string" }),
        });
        self
    }

    /// An answer with a `T` as JSON.
    pub fn answers<T: JsonSchema>(mut self, status: u16, description: &str) -> Op {
        let schema = self.outputs.subschema_for::<T>().to_value();
        self.answer(status, description, Some(("application/json".to_owned(), schema)))
    }

    /// An answer of another type, such as `text/event-stream`; `T` is one element of it.
    pub fn answers_raw<T: JsonSchema>(mut self, status: u16, content_type: &str, description: &str) -> Op {
        let schema = self.outputs.subschema_for::<T>().to_value();
        self.answer(status, description, Some((content_type.to_owned(), schema)))
    }

    /// An answer without a body.
    pub fn answers_empty(self, status: u16, description: &str) -> Op {
        self.answer(status, description, None)
    }

    fn answer(mut self, status: u16, description: &str, content: Option<(String, Value)>) -> Op {
        self.doc.answers.push(Answer { status, description: description.to_owned(), content });
        self
    }

    /// How it may be refused.
    pub fn refuses(mut self, codes: &[Code]) -> Op {
        for code in codes {
            if !self.doc.refusals.contains(code) {
                self.doc.refusals.push(*code);
            }
        }
        self
    }

    /// Says that no token is needed, not even where all other routes want one: the handler finds out by other means who calls.
    /// Logs and traces have the template in place of the path, which may hold what proves it.
    pub fn open(mut self) -> Op {
        self.doc.open = true;
        self
    }

    /// Says that a body has no end of its own, so that no time limit holds.
    pub fn streams(mut self) -> Op {
        self.doc.streams = true;
        self
    }

    /// What the path names and nobody described is text.
    fn finish(mut self) -> RouteDoc {
        for name in template_names(&self.doc.path.clone()) {
            let known = |parameter: &Parameter| parameter.place == Place::Path && parameter.name == name;
            if !self.doc.parameters.iter().any(known) {
                self.parameter(name, Place::Path, true, serde_json::json!({ "type": "string" }));
            }
        }
        self.doc.inputs = self.inputs.take_definitions(true);
        self.doc.outputs = self.outputs.take_definitions(true);
        self.doc
    }
}

/// The names in braces of a path's template.
fn template_names(path: &str) -> Vec<String> {
    path.split('/')
        .filter_map(|part| part.split_once('{')?.1.split_once('}'))
        .map(|(name, _)| name.trim_start_matches('*').to_owned())
        .collect()
}

/// An extractor that says what it takes from the request.
pub trait Input {
    fn describe(op: Op) -> Op;
}

/// All parameters of a handler: the marker that axum gives its handlers' types.
pub trait Inputs: 'static {
    fn describe(op: Op) -> Op;
}

macro_rules! takes_nothing {
    ($($extractor:ty $(where $parameter:ident)?),* $(,)?) => {$(
        impl $(<$parameter>)? Input for $extractor {
            fn describe(op: Op) -> Op {
                op
            }
        }
    )*};
}

takes_nothing!(State<T> where T, Extension<T> where T, HeaderMap, Method, Uri, OriginalUri, Request, Body, Bytes);

impl<T: Input> Input for Option<T> {
    fn describe(op: Op) -> Op {
        T::describe(op)
    }
}

impl Inputs for ((),) {
    fn describe(op: Op) -> Op {
        op
    }
}

macro_rules! handlers {
    ($(($($extractor:ident),+))*) => {$(
        impl<M: 'static, $($extractor: Input + 'static),+> Inputs for (M, $($extractor,)+) {
            fn describe(op: Op) -> Op {
                $(let op = $extractor::describe(op);)+
                op
            }
        }
    )*};
}

handlers! {
    (A) (A, B) (A, B, C) (A, B, C, D) (A, B, C, D, E) (A, B, C, D, E, F) (A, B, C, D, E, F, G)
}
