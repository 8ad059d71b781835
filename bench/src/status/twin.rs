//! The plain route: what an id has, out of a map.

use anyhow::{Context, Result};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::collections::HashMap;
use std::io::Write;
use std::net::Ipv4Addr;
use std::sync::{Arc, PoisonError, RwLock};

type Answers = Arc<RwLock<HashMap<String, Bytes>>>;

/// Serves the bytes of a file for every id, each with an entry of its own from its first request on; says where.
pub fn serve(args: &[String]) -> Result<()> {
    let file = args.first().context("the file of the answer")?;
    let body = Bytes::from(std::fs::read(file)?);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let state = (Answers::default(), body);
        let routes = Router::new().route("/api/notify/deliveries/{id}", get(status)).with_state(state);
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let mut out = std::io::stdout();
        writeln!(out, "is ready at http://{}", listener.local_addr()?)?;
        out.flush()?;
        Ok(axum::serve(listener, routes).await?)
    })
}

async fn status(State((answers, body)): State<(Answers, Bytes)>, Path(id): Path<String>) -> Response {
    let known = answers.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned();
    let answer = known.unwrap_or_else(|| {
        answers.write().unwrap_or_else(PoisonError::into_inner).insert(id, body.clone());
        body
    });
    (StatusCode::OK, [(CONTENT_TYPE, "application/json")], answer).into_response()
}
