//! What librdkafka's codes mean to a caller.

use super::health::Health;
use crate::BusError;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

/// Whether the topic or partition is not there.
pub(super) fn is_unknown(code: Code) -> bool {
    matches!(
        code,
        Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition | Code::UnknownTopicId
    )
}

/// Whether an ACL stands in the way.
pub(super) fn is_denied(code: Code) -> bool {
    matches!(
        code,
        Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::TransactionalIdAuthorizationFailed
    )
}

/// Whether nobody answered, so that the reason has to be asked from [`Health`].
pub(super) fn is_away(code: Code) -> bool {
    matches!(
        code,
        Code::OperationTimedOut
            | Code::RequestTimedOut
            | Code::TimedOutQueue
            | Code::MessageTimedOut
            | Code::BrokerTransportFailure
            | Code::AllBrokersDown
            | Code::Resolve
            | Code::Authentication
            | Code::SSL
            | Code::WaitingForCoordinator
            | Code::InProgress
            | Code::Outdated
            | Code::WaitCache
            | Code::LeaderNotAvailable
            | Code::NotLeaderForPartition
            | Code::BrokerNotAvailable
            | Code::ReplicaNotAvailable
            | Code::NetworkException
            | Code::CoordinatorLoadInProgress
            | Code::CoordinatorNotAvailable
            | Code::NotCoordinator
            | Code::NotController
            | Code::NotEnoughReplicas
            | Code::NotEnoughReplicasAfterAppend
            | Code::KafkaStorageError
            | Code::FencedLeaderEpoch
            | Code::UnknownLeaderEpoch
            | Code::OffsetNotAvailable
    )
}

/// The sentence of a refusal by an ACL.
pub(super) fn denied(doing: &str, code: Code) -> BusError {
    let what = match code {
        Code::GroupAuthorizationFailed => "the group",
        Code::ClusterAuthorizationFailed => "the cluster",
        _ => "the topic",
    };
    BusError::Denied(format!(
        "{doing}: an ACL of the brokers refuses it ({code:?}); grant this user the operation on {what}, it goes on by itself"
    ))
}

/// The error of a call about `topic` (empty: none) that librdkafka refused.
pub(super) fn of_code(health: &Health, topic: &str, doing: &str, code: Code) -> BusError {
    if is_unknown(code) && !topic.is_empty() {
        BusError::UnknownTopic(topic.to_owned())
    } else if is_denied(code) {
        denied(doing, code)
    } else if is_away(code) {
        health.away(doing)
    } else if matches!(code, Code::BrokerDestroy | Code::State) {
        BusError::Closed
    } else {
        BusError::Io { context: doing.to_owned(), reason: format!("the brokers answer {code}") }
    }
}

pub(super) fn of(health: &Health, topic: &str, doing: &str, error: &KafkaError) -> BusError {
    match error.rdkafka_error_code() {
        Some(code) => of_code(health, topic, doing, code),
        None => BusError::Io { context: doing.to_owned(), reason: error.to_string() },
    }
}
