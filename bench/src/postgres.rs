//! A database for one run, on a server that is there.

use anyhow::Result;
use sqlx::Connection;
use sqlx::PgConnection;
use uuid::Uuid;

pub(crate) struct Fresh {
    pub url: String,
    server: String,
    name: String,
}

impl Fresh {
    /// Makes a database beside the one that `server` names.
    pub async fn new(server: &str) -> Result<Fresh> {
        let name = format!("artel_bench_{}", Uuid::now_v7().simple());
        let mut on = PgConnection::connect(server).await?;
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut on).await?;
        on.close().await?;
        let (base, query) = server
            .split_once('?')
            .map_or((server, String::new()), |(base, query)| (base, format!("?{query}")));
        let scheme = base.find("://").map_or(0, |at| at + 3);
        let authority = base[scheme..].find('/').map_or(base.len(), |at| scheme + at);
        let url = format!("{}/{name}{query}", &base[..authority]);
        Ok(Fresh { url, server: server.to_owned(), name })
    }

    pub async fn remove(self) -> Result<()> {
        let mut on = PgConnection::connect(&self.server).await?;
        let drop = format!("DROP DATABASE {} WITH (FORCE)", self.name);
        sqlx::raw_sql(sqlx::AssertSqlSafe(drop)).execute(&mut on).await?;
        Ok(on.close().await?)
    }
}
