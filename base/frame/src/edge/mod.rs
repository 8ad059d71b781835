//! The HTTP edge.

mod extract;
mod problem;
mod routes;

pub use extract::{Json, Path, Query, parse_json, wrong_type};
pub use problem::{PROBLEM_JSON, Problem, ProblemDocument, status_of};
pub use routes::{Answer, BodyDoc, Input, Inputs, Op, Parameter, Place, RouteDoc, Routes};
