//! Where the tables of a run are.

use anyhow::Result;
#[cfg(not(feature = "postgres"))]
use anyhow::ensure;
use tempfile::TempDir;

/// Where the tables are: a folder, or a database of its own.
pub(crate) struct Place {
    pub url: String,
    #[cfg(feature = "postgres")]
    database: Option<crate::postgres::Fresh>,
}

impl Place {
    #[cfg(feature = "postgres")]
    pub async fn new(postgres: Option<&str>, dir: &TempDir) -> Result<Place> {
        match postgres {
            None => Ok(Place { url: embedded(dir), database: None }),
            Some(url) => {
                let database = crate::postgres::Fresh::new(url).await?;
                Ok(Place { url: database.url.clone(), database: Some(database) })
            }
        }
    }

    #[cfg(not(feature = "postgres"))]
    pub async fn new(postgres: Option<&str>, dir: &TempDir) -> Result<Place> {
        ensure!(postgres.is_none(), "build it with --features postgres");
        Ok(Place { url: embedded(dir) })
    }

    #[cfg(feature = "postgres")]
    pub async fn close(self) -> Result<()> {
        match self.database {
            Some(database) => database.remove().await,
            None => Ok(()),
        }
    }

    #[cfg(not(feature = "postgres"))]
    pub async fn close(self) -> Result<()> {
        Ok(())
    }
}

fn embedded(dir: &TempDir) -> String {
    format!("sqlite:{}", dir.path().join("db").display())
}
