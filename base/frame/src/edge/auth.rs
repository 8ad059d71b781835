//! Who calls, and what they may do: bearer tokens with scopes. What a handler needs stands in its signature.

use super::marked::Marked;
use super::problem::Problem;
use crate::config::{Auth, Scope, Secret};
use artel_flow::http::{Input, Op};
use artel_message::Fault;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

const OPERATOR: &str = "operator";
const PUBLIC: &str = "public";
const ALL: [Scope; 3] = [Scope::Produce, Scope::Read, Scope::Operate];

/// Who sends a request: the name of a token, or `public`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    pub name: Arc<str>,
    scopes: Vec<Scope>,
    /// Came with a token.
    known: bool,
}

impl Caller {
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }
}

/// A token without its text: only the hash is kept.
struct Known {
    name: Arc<str>,
    hash: [u8; 32],
    scopes: Vec<Scope>,
}

/// The tokens of this node, and whether one is needed at all.
#[derive(Clone)]
pub struct Access(Arc<Tokens>);

struct Tokens {
    known: Vec<Known>,
    closed: bool,
}

/// The operator's token: the configured one, or a new one of 128 random bits for `artel run` to print.
pub fn operator_token(auth: &Auth) -> Result<Secret, getrandom::Error> {
    if let Some(token) = &auth.operator_token {
        return Ok(token.clone());
    }
    let mut bits = [0u8; 16];
    getrandom::fill(&mut bits)?;
    Ok(Secret::new(format!("{:032x}", u128::from_be_bytes(bits))))
}

fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

/// 64 hexadecimal digits, as the configuration has checked.
fn from_hex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0u8; 32];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

impl Access {
    /// Takes the checked settings. Routes under `/api` need a token where one is configured by name, or where the
    /// listener can be reached from other machines; otherwise anyone may produce and read.
    pub fn new(auth: &Auth, operator: &Secret, loopback: bool) -> Access {
        let by_name = auth.tokens.iter().filter_map(|token| {
            let hash = match (&token.secret, &token.sha256) {
                (Some(secret), _) => hash(secret.expose()),
                (None, Some(hex)) => from_hex(hex)?,
                (None, None) => return None,
            };
            Some(Known { name: Arc::from(&*token.name), hash, scopes: token.scopes.clone() })
        });
        let operator =
            Known { name: Arc::from(OPERATOR), hash: hash(operator.expose()), scopes: ALL.to_vec() };
        let known = std::iter::once(operator).chain(by_name).collect();
        Access(Arc::new(Tokens { known, closed: !loopback || !auth.tokens.is_empty() }))
    }

    /// Whether every route under `/api` needs a token.
    pub fn is_closed(&self) -> bool {
        self.0.closed
    }

    /// Who a request comes from. A token that is not known is refused, also where none is needed.
    pub fn identify(&self, headers: &HeaderMap) -> Result<Caller, Fault> {
        let Some(value) = headers.get(header::AUTHORIZATION) else {
            if self.0.closed {
                return Err(Fault::unauthenticated(
                    "a token is needed; send the header authorization: Bearer TOKEN",
                ));
            }
            let scopes = vec![Scope::Produce, Scope::Read];
            return Ok(Caller { name: Arc::from(PUBLIC), scopes, known: false });
        };
        let text = value.to_str().ok().and_then(|text| text.split_once(' '));
        match text {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
                self.find(token.trim()).ok_or_else(|| {
                    Fault::unauthenticated("the token is not known; check it, or ask the operator for one")
                })
            }
            _ => Err(Fault::unauthenticated(
                "authorization: not a bearer token; send authorization: Bearer TOKEN",
            )),
        }
    }

    /// Compares with every token, so that the time says nothing about which one was near.
    fn find(&self, token: &str) -> Option<Caller> {
        let given = hash(token);
        let (mut found, mut index) = (Choice::from(0), 0u32);
        for (at, known) in (0u32..).zip(&self.0.known) {
            let equal = known.hash.ct_eq(&given);
            index.conditional_assign(&at, equal);
            found |= equal;
        }
        let known = self.0.known.get(usize::try_from(index).ok()?).filter(|_| found.into())?;
        Some(Caller { name: known.name.clone(), scopes: known.scopes.clone(), known: true })
    }
}

/// The tokens, and the routes that need none.
#[derive(Clone)]
pub(crate) struct Gate {
    access: Access,
    open: Marked,
}

impl Gate {
    pub(crate) fn new(access: Access, open: Marked) -> Gate {
        Gate { access, open }
    }

    /// The documentation's page holds no data, so that a token can be typed into it.
    fn lets_in(&self, request: &Request) -> bool {
        let path = request.uri().path();
        !path.starts_with("/api/")
            || path == "/api/docs"
            || path.starts_with("/api/docs/")
            || self.open.has(request)
    }
}

/// Finds out who calls.
pub(crate) async fn authenticate(State(gate): State<Gate>, mut request: Request, next: Next) -> Response {
    if gate.lets_in(&request) {
        return next.run(request).await;
    }
    let access = &gate.access;
    match access.identify(request.headers()) {
        Ok(caller) => {
            let name = caller.name.clone();
            request.extensions_mut().insert(caller);
            let mut response = next.run(request).await;
            response.extensions_mut().insert(CallerName(name));
            response
        }
        Err(fault) => Problem::from(fault).into_response(),
    }
}

/// Tells the access log who called.
#[derive(Clone)]
pub(crate) struct CallerName(pub Arc<str>);

/// A scope as a type, for [`Needs`].
pub trait Permission: Send + 'static {
    const SCOPE: Scope;
}

/// May send messages and change a service's own things.
pub enum Produce {}
/// May look at things.
pub enum Read {}
/// May look at and change the system itself.
pub enum Operate {}

impl Permission for Produce {
    const SCOPE: Scope = Scope::Produce;
}
impl Permission for Read {
    const SCOPE: Scope = Scope::Read;
}
impl Permission for Operate {
    const SCOPE: Scope = Scope::Operate;
}

/// The caller, who has this permission: a handler that takes `Needs<Operate>` runs for nobody else.
pub struct Needs<P>(Caller, PhantomData<fn() -> P>);

impl<P> Deref for Needs<P> {
    type Target = Caller;
    fn deref(&self) -> &Caller {
        &self.0
    }
}

impl<P: Permission, S: Send + Sync> FromRequestParts<S> for Needs<P> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let scope = P::SCOPE.as_str();
        match parts.extensions.get::<Caller>() {
            Some(caller) if caller.may(P::SCOPE) => Ok(Needs(caller.clone(), PhantomData)),
            Some(caller) if caller.known => Err(Problem::from(Fault::forbidden(format!(
                "the token '{}' may not {scope}; use one with the scope {scope}",
                caller.name
            )))),
            Some(_) => Err(Problem::from(Fault::unauthenticated(format!(
                "a token with the scope {scope} is needed; send authorization: Bearer TOKEN with the operator token that \
                 artel run prints or [auth] sets"
            )))),
            None => Err(Problem::from(Fault::internal("a route that needs a caller is not under /api"))),
        }
    }
}

impl<P: Permission> Input for Needs<P> {
    fn describe(op: Op) -> Op {
        op.scope(P::SCOPE.as_str())
    }
}
