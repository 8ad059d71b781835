//! What a person wants to hear of, and how: choices per topic and channel, over defaults of the topic.

use artel_contract::notify::{Channel, Lane};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Wanted or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Choice {
    In,
    Out,
}

/// One subscriber's choices. What is not chosen is as the topic says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preferences {
    /// For every topic that has no choice of its own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub everywhere: BTreeMap<Channel, Choice>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub topics: BTreeMap<String, BTreeMap<Channel, Choice>>,
}

/// What holds for a topic.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topic {
    /// Where nobody chose; a channel that is not there is wanted.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub defaults: BTreeMap<Channel, Choice>,
    /// Nobody can opt out, such as of a message about the account's security.
    #[serde(default)]
    pub required: bool,
    /// What goes in the critical lane passes an opt-out. Off for whatever is not worth it.
    #[serde(default)]
    pub critical_passes: bool,
}

/// Why a channel is used or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Because {
    /// The person's choice for this topic.
    TopicChoice,
    /// The person's choice for all topics.
    GeneralChoice,
    /// The topic's default.
    Default,
    /// Nobody can opt out of the topic.
    Required,
    /// It is critical, and passes the opt-out.
    Critical,
}

impl Topic {
    /// Whether whoever says no to what goes in this lane hears no more of it.
    pub fn can_opt_out(&self, lane: Lane) -> bool {
        match lane {
            Lane::Bulk => true,
            Lane::Transactional => !self.required,
            Lane::Critical => !self.required && !self.critical_passes,
        }
    }
}

impl Preferences {
    /// Whether something of a topic may go over a channel. The nearer choice counts: topic before all, all before the default. Nothing
    /// of the bulk lane passes an opt-out, whatever the topic says.
    pub fn allow(&self, name: &str, topic: &Topic, channel: Channel, lane: Lane) -> (bool, Because) {
        let chosen = self.topics.get(name).and_then(|choices| choices.get(&channel));
        let (choice, because) = match (chosen, self.everywhere.get(&channel)) {
            (Some(choice), _) => (*choice, Because::TopicChoice),
            (None, Some(choice)) => (*choice, Because::GeneralChoice),
            (None, None) => {
                let default = topic.defaults.get(&channel).copied().unwrap_or(Choice::In);
                (default, Because::Default)
            }
        };
        match choice {
            Choice::In => (true, because),
            Choice::Out if lane == Lane::Bulk => (false, because),
            Choice::Out if topic.required => (true, Because::Required),
            Choice::Out if topic.critical_passes && lane == Lane::Critical => (true, Because::Critical),
            Choice::Out => (false, because),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn preferences() -> Preferences {
        serde_json::from_value(json!({
            "everywhere": { "sms": "out", "email": "in" },
            "topics": { "shipments": { "sms": "in", "push": "out" } },
        }))
        .unwrap()
    }

    #[test]
    fn the_nearer_choice_counts() {
        let (own, topic) = (preferences(), Topic::default());
        for (name, channel, expected) in [
            ("shipments", Channel::Sms, (true, Because::TopicChoice)),
            ("shipments", Channel::Push, (false, Because::TopicChoice)),
            ("shipments", Channel::Email, (true, Because::GeneralChoice)),
            ("news", Channel::Sms, (false, Because::GeneralChoice)),
            ("news", Channel::Push, (true, Because::Default)),
        ] {
            assert_eq!(own.allow(name, &topic, channel, Lane::Transactional), expected, "{name} {channel:?}");
        }
        let off: Topic = serde_json::from_value(json!({ "defaults": { "push": "out" } })).unwrap();
        assert_eq!(own.allow("news", &off, Channel::Push, Lane::Bulk), (false, Because::Default));
    }

    #[test]
    fn what_is_critical_passes_only_where_the_topic_says_so() {
        let own = preferences();
        let passes = Topic { critical_passes: true, ..Topic::default() };
        let push = |topic: &Topic, lane| own.allow("shipments", topic, Channel::Push, lane);
        assert_eq!(push(&passes, Lane::Critical), (true, Because::Critical));
        assert_eq!(push(&passes, Lane::Transactional), (false, Because::TopicChoice));
        assert_eq!(push(&Topic::default(), Lane::Critical), (false, Because::TopicChoice));
        let required = Topic { required: true, ..Topic::default() };
        assert_eq!(push(&required, Lane::Transactional), (true, Because::Required));
    }

    proptest! {
        #[test]
        fn bulk_never_passes_an_opt_out(required: bool, critical_passes: bool, name in "shipments|news") {
            let topic = Topic { required, critical_passes, ..Topic::default() };
            for channel in Channel::ALL {
                let (plain, _) = preferences().allow(&name, &Topic::default(), channel, Lane::Transactional);
                prop_assert_eq!(preferences().allow(&name, &topic, channel, Lane::Bulk).0, plain);
                // And what is wanted is never held back by what the topic says beside its defaults.
                prop_assert!(!plain || preferences().allow(&name, &topic, channel, Lane::Critical).0);
            }
        }

        #[test]
        fn who_can_opt_out_is_let_alone_by_it(required: bool, critical_passes: bool) {
            let topic = Topic { required, critical_passes, ..Topic::default() };
            for lane in [Lane::Bulk, Lane::Transactional, Lane::Critical] {
                let (passes, _) = preferences().allow("shipments", &topic, Channel::Push, lane);
                prop_assert_eq!(topic.can_opt_out(lane), !passes);
            }
        }
    }
}
