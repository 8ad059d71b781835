//! Trying a text without running it. The server infers the types of parameters from their use, but in service they are sent
//! with the types of the values: what is tried here is whether some types that values can have suit the text.

use super::{Session, bind, cell};
use crate::sql::{ROWS, Template, parameters};
use crate::{Engine, StoreError};
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgStatement, PgTypeInfo};
use sqlx::{AssertSqlSafe, Column, Either, Executor, SqlSafeStr, Statement, TypeInfo};

/// Columns of a `{rows}` whose types are searched for, where the server doesn't infer them: seven types to the power of it.
const SEARCHED: usize = 4;

/// A text, and which of its parameters share a type.
struct Shape {
    text: String,
    /// For each parameter its slot.
    slots: Vec<usize>,
    /// How many of the slots, from the first on, are columns of `{rows}`.
    columns: usize,
    count: usize,
}

/// The type of each slot; `None` leaves it to the server.
type Types = Vec<Option<PgTypeInfo>>;

impl Shape {
    fn plain(text: &str) -> Shape {
        let count = parameters(text);
        Shape { text: text.to_owned(), slots: (0..count).collect(), columns: 0, count }
    }

    fn rows(template: &Template<'_>, columns: usize) -> Shape {
        let mut slots: Vec<usize> = (0..2).flat_map(|_| 0..columns).collect();
        slots.extend(columns..columns + template.fixed);
        let count = columns + template.fixed;
        Shape { text: template.expand(Engine::Postgres, 2, columns), slots, columns, count }
    }
}

impl Session {
    pub async fn prepare(&mut self, sql: &'static str) -> Result<(), StoreError> {
        // A text that fails must not end a transaction; and sqlx keeps what is prepared here, with types that may not be
        // those of the values: the connection is not used again.
        if self.open {
            self.script("ROLLBACK").await?;
            self.open = false;
        }
        self.broken = true;
        if !sql.contains(ROWS) {
            return self.try_shape(&Shape::plain(sql)).await.map(|_| ());
        }
        let template = Template::parse(sql)?;
        let mut refused = Ok(());
        for columns in 1..=32 {
            match self.try_shape(&Shape::rows(&template, columns)).await {
                // With the types known: the text that is sent in service.
                Ok(types) => return self.try_listed(&template, columns, &types).await,
                // What is said about the right number of columns is worth more than that a number is wrong.
                Err(error) if refused.is_ok() || !is_shape(&error) => refused = Err(error),
                Err(_) => {}
            }
        }
        refused
    }

    async fn try_listed(
        &mut self,
        template: &Template<'_>,
        columns: usize,
        types: &Types,
    ) -> Result<(), StoreError> {
        let name = |slot: &Option<PgTypeInfo>| slot.as_ref().map_or("TEXT", |of| of.name()).to_owned();
        let of: Vec<String> = types.iter().take(columns).map(name).collect();
        let of: Vec<&str> = of.iter().map(String::as_str).collect();
        let listed = Shape::plain(&template.listed(&of));
        // The arrays have their types in the text.
        let types = (0..listed.count)
            .map(|n| n.checked_sub(columns).and_then(|n| types.get(columns + n).cloned().flatten()))
            .collect();
        self.compile(&listed, &types).await.map(|_| ())
    }

    /// The types that it takes.
    async fn try_shape(&mut self, shape: &Shape) -> Result<Types, StoreError> {
        let mut types: Types = vec![None; shape.count];
        loop {
            let refused = match self.compile(shape, &types).await {
                Ok(statement) => return self.check(shape, types, &statement).await,
                Err(error) => error,
            };
            if let Some(slot) = undetermined(&refused).and_then(|n| shape.slots.get(n - 1).copied())
                && types[slot].is_none()
            {
                types = self.determine(shape, types, slot).await.ok_or(refused)?;
            } else if is_type(&refused) && shape.columns > 0 && shape.columns <= SEARCHED {
                let found = self.search(shape, &types).await;
                types = found.ok_or(refused)?;
            } else {
                return Err(refused);
            }
        }
    }

    /// A type for a slot of which the server knows nothing: the first one that brings it further.
    async fn determine(&mut self, shape: &Shape, types: Types, slot: usize) -> Option<Types> {
        for candidate in bind::types() {
            let mut tried = types.clone();
            tried[slot] = Some(candidate);
            match self.compile(shape, &tried).await {
                Err(error) if undetermined(&error).is_none() => {}
                _ => return Some(tried),
            }
        }
        None
    }

    /// Types for the columns of the rows: all combinations.
    async fn search(&mut self, shape: &Shape, types: &Types) -> Option<Types> {
        let candidates = bind::types();
        let base = candidates.len();
        for number in 0..base.pow(u32::try_from(shape.columns).unwrap_or(0)) {
            let mut tried = types.clone();
            let mut rest = number;
            for slot in tried.iter_mut().take(shape.columns) {
                *slot = Some(candidates[rest % base].clone());
                rest /= base;
            }
            match self.compile(shape, &tried).await {
                Err(error) if undetermined(&error).is_none() => {}
                _ => return Some(tried),
            }
        }
        None
    }

    /// The server may have inferred types that no value has (INT4): then it has to take the one that comes instead.
    async fn check(
        &mut self,
        shape: &Shape,
        mut types: Types,
        statement: &PgStatement,
    ) -> Result<Types, StoreError> {
        let mut other = false;
        if let Some(Either::Left(inferred)) = statement.parameters() {
            for (slot, inferred) in shape.slots.iter().zip(inferred) {
                let sent = sent(inferred.name());
                other |= sent.name() != inferred.name();
                types[*slot] = Some(sent);
            }
        }
        if other {
            self.compile(shape, &types).await?;
        }
        for column in statement.columns() {
            let name = column.type_info().name();
            if !cell::is_read(name) {
                return Err(StoreError::decode(column.name(), cell::unread(name)));
            }
        }
        Ok(types)
    }

    async fn compile(&mut self, shape: &Shape, types: &Types) -> Result<PgStatement, StoreError> {
        let of_slot = |slot: &usize| types[*slot].clone().unwrap_or(PgTypeInfo::with_oid(Oid(0)));
        let declared: Vec<PgTypeInfo> = shape.slots.iter().map(of_slot).collect();
        let names: Vec<String> =
            types.iter().map(|t| t.as_ref().map_or("?", |t| t.name()).to_owned()).collect();
        // sqlx finds what it has prepared by the text alone. The text is a constant of the program.
        let text = AssertSqlSafe(format!("{}\n-- {}", shape.text, names.join(" "))).into_sql_str();
        self.answer(async |connection| connection.prepare_with(text, &declared).await).await
    }
}

/// The type that a value comes with where the server expects that one.
fn sent(inferred: &str) -> PgTypeInfo {
    let [integer, text, uuid, boolean, bytes, float, document] = bind::types();
    match inferred {
        "UUID" => uuid,
        "BOOL" => boolean,
        "BYTEA" => bytes,
        "FLOAT8" | "FLOAT4" => float,
        "JSONB" | "JSON" => document,
        "INT8" | "INT4" | "INT2" | "NUMERIC" => integer,
        _ => text,
    }
}

fn code(error: &StoreError) -> &str {
    match error {
        StoreError::Statement { code, .. } => code.strip_prefix("postgres ").unwrap_or(code),
        _ => "",
    }
}

/// "could not determine data type of parameter $2", in the server's language: the 2.
fn undetermined(error: &StoreError) -> Option<usize> {
    let StoreError::Statement { message, .. } = error else { return None };
    // The first code where nothing is known, the second where something is known only after it was needed.
    if !matches!(code(error), "42P18" | "42P08") {
        return None;
    }
    message.rsplit_once('$')?.1.parse().ok().filter(|n| *n > 0)
}

/// A wrong number of columns, or a column of the rows that is not there.
fn is_shape(error: &StoreError) -> bool {
    matches!(code(error), "42601" | "42703" | "42P10")
}

/// Types that don't suit each other.
fn is_type(error: &StoreError) -> bool {
    matches!(code(error), "42883" | "42804" | "42725" | "42P08")
}
