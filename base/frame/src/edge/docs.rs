//! The interactive page of the API at `/api/docs`. Everything it needs comes from this binary: no network.

use super::problem::Problem;
use artel_message::Fault;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use swagger_ui_dist::{ApiDefinition, OpenApiSource};
use tower::ServiceExt;

/// Swagger UI sets styles from scripts and draws its arrows from data URLs.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                      font-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
/// The files change with the binary only.
const KEEP: &str = "public, max-age=3600";

const PAGE: &str = include_str!("../../assets/docs.html");
const STYLE: &str = include_str!("../../assets/docs.css");
const SCRIPT: &str = include_str!("../../assets/docs.js");

pub(crate) fn router() -> Router {
    let bundled = swagger_ui_dist::generate_routes(ApiDefinition {
        uri_prefix: "/bundled",
        api_definition: OpenApiSource::Uri("/api/openapi.json"),
        title: None,
    });
    let file = move |Path(name): Path<String>| {
        let bundled = bundled.clone();
        async move { serve(&name, bundled).await }
    };
    Router::new()
        .route("/api/docs", get(|| async { own("text/html; charset=utf-8", PAGE) }))
        .route("/api/docs/{file}", get(file))
}

async fn serve(name: &str, bundled: Router) -> Response {
    match name {
        "docs.css" => own("text/css; charset=utf-8", STYLE),
        "docs.js" => own("text/javascript; charset=utf-8", SCRIPT),
        "swagger-ui.css" | "swagger-ui-bundle.js" => match request(name) {
            Ok(request) => {
                let Ok(mut response) = bundled.oneshot(request).await;
                response.headers_mut().insert(header::CACHE_CONTROL, header::HeaderValue::from_static(KEEP));
                response
            }
            Err(error) => Problem::from(Fault::internal(error.to_string())).into_response(),
        },
        _ => Problem::from(Fault::not_found("no such file; the page is at /api/docs")).into_response(),
    }
}

fn request(name: &str) -> Result<Request, axum::http::Error> {
    Request::get(format!("/bundled/{name}")).body(Body::empty())
}

fn own(content_type: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, KEEP),
        (header::CONTENT_SECURITY_POLICY, POLICY),
    ];
    (headers, text).into_response()
}
