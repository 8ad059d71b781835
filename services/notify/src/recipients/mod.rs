//! People: what is known of them, what they are reached by, what is never sent to.

pub mod convert;
pub mod opt_out;
mod people;
mod person;
pub mod subscribers;
pub mod subscriptions;
pub mod suppression;
pub mod topics;

pub use people::{people, subscribed};

use artel_flow::Service;

/// Takes in what is said about people.
pub fn register(service: Service) -> Service {
    service
        .command(subscribers::put)
        .command(subscribers::put_address)
        .command(subscribers::remove_address)
        .command(subscribers::set_preferences)
        .command(subscriptions::subscribe)
        .command(subscriptions::unsubscribe)
        .command(suppression::suppress)
        .command(suppression::unsuppress)
        .command(topics::put)
        .command(opt_out::opt_out)
        .query(opt_out::about_link)
        .query(topics::list)
        .command(person::erase)
        .command(person::forget)
        .query(person::export)
        .query(subscribers::get)
        .query(subscribers::list)
        .query(subscriptions::list)
        .query(suppression::list)
        .every("notify.purge-suppression", "23 * * * *", suppression::purge)
}
