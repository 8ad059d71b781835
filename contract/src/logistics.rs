//! Shipments, as the system that moves them tells of them. It is not part of the platform: whoever it is writes to the topic
//! `logistics.shipment`, with our headers or without.

use artel_message::{Event, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where a shipment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ShipmentState {
    /// The carrier has taken it.
    Accepted,
    InTransit,
    /// It can be fetched, or goes out from there.
    AtDepot,
    OutForDelivery,
    Delivered,
    /// It comes later than was said; `eta` has the new moment where it is known.
    Delayed,
    Lost,
}

impl ShipmentState {
    pub const ALL: [ShipmentState; 7] = [
        ShipmentState::Accepted,
        ShipmentState::InTransit,
        ShipmentState::AtDepot,
        ShipmentState::OutForDelivery,
        ShipmentState::Delivered,
        ShipmentState::Delayed,
        ShipmentState::Lost,
    ];

    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            ShipmentState::Accepted => "accepted",
            ShipmentState::InTransit => "in_transit",
            ShipmentState::AtDepot => "at_depot",
            ShipmentState::OutForDelivery => "out_for_delivery",
            ShipmentState::Delivered => "delivered",
            ShipmentState::Delayed => "delayed",
            ShipmentState::Lost => "lost",
        }
    }
}

/// Whoever waits for a shipment. A subscriber's own addresses and language are taken where `subscriber` is one that is known;
/// what stands here is taken otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Receiver {
    /// The id under which the receiver is known as a subscriber.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscriber: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// E.164, such as `+79161234567`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
    /// A language tag, such as `ru` or `en-GB`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
}

/// A shipment reached a state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Event)]
#[event(name = "logistics.shipment-moved", topic = "logistics.shipment", key = shipment)]
pub struct ShipmentMoved {
    /// The carrier's id of the shipment; its events stay in order.
    pub shipment: String,
    /// What the receiver looks it up by.
    pub tracking_number: String,
    pub state: ShipmentState,
    pub receiver: Receiver,
    /// Where it is: a city, or the depot's name and address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// When it is expected to arrive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eta: Option<Time>,
    /// How many parcels it consists of; one when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parcels: Option<u32>,
    pub occurred_at: Time,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_called_what_they_are_on_the_wire() {
        for state in ShipmentState::ALL {
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
    }
}
