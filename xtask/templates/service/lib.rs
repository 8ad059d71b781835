#![doc = include_str!("../README.md")]

mod config;
mod domain;
mod handlers;
mod http;
mod store;

pub use config::Config;

use artel_flow::Service;

/// The service, to be put into a table of services.
pub fn service() -> Service {
    Service::new("@name@")
        .migrations(artel_store::migrations!("@name@", "0001_init.sql"))
        .settings::<Config>()
        .command(handlers::add_note)
        .query(handlers::find_note)
        .routes(http::routes)
}
