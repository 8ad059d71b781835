//! Routes that something is said of, such as that they need no token.

use artel_flow::http::RouteDoc;
use axum::extract::{MatchedPath, Request};
use axum::http::Method;
use std::collections::HashMap;
use std::sync::Arc;

/// Methods by template.
#[derive(Clone)]
pub(super) struct Marked(Arc<HashMap<String, Vec<String>>>);

impl Marked {
    pub(super) fn of(docs: &[RouteDoc], is: impl Fn(&RouteDoc) -> bool) -> Marked {
        let mut all: HashMap<String, Vec<String>> = HashMap::new();
        for doc in docs.iter().filter(|doc| is(doc)) {
            all.entry(doc.path.clone()).or_default().push(doc.method.clone());
        }
        Marked(Arc::new(all))
    }

    /// Whether the request's route is one of them. A HEAD is answered by the route of GET.
    pub(super) fn has(&self, request: &Request) -> bool {
        let template = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
        let method = match request.method() {
            &Method::HEAD => Method::GET.as_str(),
            other => other.as_str(),
        };
        self.0.get(template).is_some_and(|methods| methods.iter().any(|own| own == method))
    }
}
