#![doc = include_str!("../README.md")]

mod batch;
mod config;
mod consumers;
mod domain;
mod handlers;
mod http;
mod lines;
mod message_send;
mod repository;
mod store;

use artel_flow::Service;
use artel_store::migrations;

pub use config::BridgeSettings;

/// The service, for the table of services.
pub fn service() -> Service {
    Service::new("bridge")
        .migrations(migrations!("bridge", "0001_bridge.sql", "0002_totals.sql", "0003_reason.sql"))
        .settings::<BridgeSettings>()
        .command(handlers::produce_message)
        .command(handlers::produce_many)
        .command_batch(handlers::consume_messages)
        .command(handlers::start_consumer)
        .command(handlers::stop_consumer)
        .command(handlers::set_timer)
        .command(handlers::tick)
        .command(handlers::purge)
        .query(handlers::get_message)
        .query(handlers::list_messages)
        .query(handlers::get_stats)
        .query(handlers::get_timer)
        .published(handlers::produced)
        .given_up(handlers::given_up)
        .on_raw(handlers::read)
        .every("bridge.purge", "17 * * * *", handlers::purge_on_time)
        .routes(http::routes)
        .positions(store::POSITIONS)
}
