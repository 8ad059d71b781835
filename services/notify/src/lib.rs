#![doc = include_str!("../README.md")]

pub mod channels;
mod config;
mod deliveries;
pub mod domain;
mod http;
mod recipients;
mod rules;
mod store;
mod templates;

use crate::channels::Carriers;
use crate::deliveries::Desk;
use crate::templates::Needs;
use artel_contract::notify::Channel;
use artel_flow::{HandlerExt, Service};
use artel_store::migrations;
use std::sync::Arc;
use std::time::Duration;

pub use config::NotifySettings;
pub use deliveries::{TakeReceipts, Told};

/// How many messages of a channel are worked on at a time, by each node; how many are on their way to an account is bounded by that.
const WIDTH: usize = 4_096;
const BULK_WIDTH: usize = 2_048;
/// An effect goes on for as long as the message's own policy says, which has fewer tries than that.
const TRIES: u32 = 1_000_000;

/// How often it is looked for what has gone out of date unseen.
const LAPSES: Duration = Duration::from_secs(10);

/// The service, for the table of services.
pub fn service() -> Service {
    service_over(Carriers::default())
}

/// The same with kinds of providers of the caller's own.
pub fn service_over(carriers: Carriers) -> Service {
    let desk = Arc::new(Desk::new(carriers));
    let service = Service::new("notify")
        .migrations(migrations!(
            "notify",
            "0001_deliveries.sql",
            "0002_recipients.sql",
            "0003_rules.sql",
            "0004_lapses.sql",
            "0005_once.sql",
            "0006_attachments.sql",
            "0007_opt_outs.sql",
            "0008_replays.sql"
        ))
        .settings::<NotifySettings>();
    let service = opened(service, &desk);
    let service = rules::register(templates::register(recipients::register(service)));
    sending(commands(service, &Arc::default()), &desk)
}

/// What a node has while it runs the service: accounts that receipts come in over, and routes.
fn opened(service: Service, desk: &Arc<Desk>) -> Service {
    let (here, callbacks) = (desk.clone(), desk.clone());
    service.routes(move |ctx| http::routes(ctx, &callbacks)).on_start(move |ctx| here.open(ctx))
}

fn commands(service: Service, needs: &Arc<Needs>) -> Service {
    service
        .command(deliveries::notify(needs))
        .command(deliveries::notify_many(needs))
        .command(deliveries::decide)
        .command(deliveries::begin)
        .command(deliveries::record)
        .command(deliveries::take_receipts)
        .command_batch(deliveries::no_receipt)
        .query(deliveries::get)
        .query(deliveries::list)
        .query(deliveries::why)
        .command(deliveries::lapse)
        .every("notify.lapse", LAPSES, deliveries::lapse_on_time)
        .command(deliveries::replay)
        .command(deliveries::step)
        .command(deliveries::stop_replay)
        .query(deliveries::try_replay)
        .query(deliveries::get_replay)
        .query(deliveries::list_replays)
        .command(deliveries::purge)
        .every("notify.purge", "23 * * * *", deliveries::purge_on_time)
}

/// A channel's two effects: what is ordered by recipient, and bulk beside it.
fn sending(service: Service, desk: &Arc<Desk>) -> Service {
    use deliveries::{
        DeliverEmail, DeliverEmailBulk, DeliverPush, DeliverPushBulk, DeliverSms, DeliverSmsBulk, handler,
        told,
    };
    macro_rules! channel {
        ($service:expr, $channel:expr, $one:ty, $bulk:ty) => {
            $service
                .effect(handler::<$one>(desk, $channel).width(WIDTH).per_key().tries(TRIES))
                .done_batch(told::<$one>(desk))
                .effect(handler::<$bulk>(desk, $channel).width(BULK_WIDTH).tries(TRIES))
                .done_batch(told::<$bulk>(desk))
        };
    }
    let service = channel!(service, Channel::Email, DeliverEmail, DeliverEmailBulk);
    let service = channel!(service, Channel::Sms, DeliverSms, DeliverSmsBulk);
    let service = channel!(service, Channel::Push, DeliverPush, DeliverPushBulk);
    service.effect(deliveries::ask_handler(desk)).done_batch(deliveries::asked).effect(deliveries::uncache)
}
