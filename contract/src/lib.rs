//! What services say to each other: one file per service with its commands, queries, events and topics. This page is the
//! table of contents of the platform.

pub mod bridge;
pub mod logistics;
pub mod notify;

use artel_message::{Described, Kind, service_of};

/// Every message of the contract. Start-up refuses a command or query here without a handler, and the JSON Schemas of all
/// of them are kept as snapshots in `schemas/`.
pub fn catalogue() -> Vec<Described> {
    vec![
        Described::command::<bridge::ProduceMessage>(),
        Described::command::<bridge::ProduceMany>(),
        Described::command::<bridge::ConsumeMessage>(),
        Described::command::<bridge::StartConsumer>(),
        Described::command::<bridge::StopConsumer>(),
        Described::command::<bridge::SetTimer>(),
        Described::command::<bridge::Tick>(),
        Described::command::<bridge::Purge>(),
        Described::query::<bridge::GetMessage>(),
        Described::query::<bridge::ListMessages>(),
        Described::query::<bridge::GetStats>(),
        Described::query::<bridge::GetTimer>(),
        Described::event::<logistics::ShipmentMoved>(),
        Described::command::<notify::Notify>(),
        Described::command::<notify::NotifyMany>(),
        Described::command::<notify::decisions::Decide>(),
        Described::query::<notify::GetDelivery>(),
        Described::query::<notify::ListDeliveries>(),
        Described::query::<notify::decisions::ExplainDelivery>(),
        Described::command::<notify::replay::ReplayDeliveries>(),
        Described::command::<notify::replay::StopReplay>(),
        Described::query::<notify::replay::TryReplay>(),
        Described::query::<notify::replay::GetReplay>(),
        Described::query::<notify::replay::ListReplays>(),
        Described::event::<notify::DeliveryChanged>(),
        Described::event::<notify::dead::EmailGivenUp>(),
        Described::event::<notify::dead::SmsGivenUp>(),
        Described::event::<notify::dead::PushGivenUp>(),
        Described::command::<notify::subscribers::PutSubscriber>(),
        Described::command::<notify::subscribers::PutAddress>(),
        Described::command::<notify::subscribers::RemoveAddress>(),
        Described::command::<notify::subscribers::SetPreferences>(),
        Described::command::<notify::subscribers::Subscribe>(),
        Described::command::<notify::subscribers::Unsubscribe>(),
        Described::command::<notify::person::EraseSubscriber>(),
        Described::query::<notify::person::ExportSubscriber>(),
        Described::query::<notify::subscribers::GetSubscriber>(),
        Described::query::<notify::subscribers::ListSubscribers>(),
        Described::query::<notify::subscribers::ListSubscriptions>(),
        Described::command::<notify::suppression::Suppress>(),
        Described::command::<notify::suppression::Unsuppress>(),
        Described::query::<notify::suppression::ListSuppressed>(),
        Described::command::<notify::topics::PutTopic>(),
        Described::query::<notify::topics::ListTopics>(),
        Described::command::<notify::templates::PutTemplate>(),
        Described::command::<notify::templates::RemoveTemplate>(),
        Described::query::<notify::templates::GetTemplate>(),
        Described::query::<notify::templates::ListTemplates>(),
        Described::query::<notify::templates::PreviewTemplate>(),
        Described::command::<notify::rules::PutRule>(),
        Described::command::<notify::rules::RemoveRule>(),
        Described::command::<notify::rules::ApplyRules>(),
        Described::query::<notify::rules::GetRule>(),
        Described::query::<notify::rules::ListRules>(),
        Described::query::<notify::rules::TryRule>(),
        Described::query::<notify::rules::ListMisses>(),
    ]
}

/// What a node needs that runs only these services: their messages, and every event.
pub fn of(services: &[&str]) -> Vec<Described> {
    let wanted =
        |message: &Described| message.kind == Kind::Event || services.contains(&service_of(message.name));
    catalogue().into_iter().filter(wanted).collect()
}
