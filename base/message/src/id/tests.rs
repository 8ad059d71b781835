use super::*;
use proptest::prelude::*;

struct Order;
impl Tag for Order {
    const NAME: &'static str = "Order";
}

fn cause() -> Cause {
    Cause::message(Uuid::from_u128(7), Time::from_millis(1_769_851_800_123))
}

#[test]
fn an_id_is_its_uuid_on_the_wire() {
    let text = "0198c2f4-5a10-7cc3-98c4-dc0c0c07398f";
    let id: Id<Order> = text.parse().unwrap();
    assert_eq!(id.to_string(), text);
    assert_eq!(format!("{id:?}"), text);
    assert_eq!(serde_json::to_string(&id).unwrap(), format!("{text:?}"));
    assert_eq!(serde_json::from_value::<Id<Order>>(text.into()).unwrap(), id);
    assert!("0198c2f4".parse::<Id<Order>>().is_err());
    let schema = schemars::schema_for!(Id<Order>);
    assert_eq!((schema.get("title"), schema.get("format")), (Some(&"OrderId".into()), Some(&"uuid".into())));
}

/// Stored state and providers hold derived ids: the derivation never changes. The texts were computed by another program.
#[test]
fn derived_ids_are_the_same_for_ever() {
    let log = Uuid::from_u128(1);
    let at = Time::from_millis(1_769_851_800_123);
    assert_eq!(cause().derive("notify.accept", 0).to_string(), "019c1363-4a3b-7809-a97f-0d8684aa2996");
    assert_eq!(
        Cause::foreign(log, "orders", 3, 42, at).id().to_string(),
        "019c1363-4a3b-705b-95ba-f95c0a3dacae"
    );
    assert_eq!(
        Cause::keyed("public", "notify.accept", "k1", at).id().to_string(),
        "019c1363-4a3b-7fdc-868f-619e2cd0539e"
    );
}

#[test]
fn whatever_differs_gives_another_id() {
    let at = cause().at();
    let other = Cause::message(Uuid::from_u128(8), at);
    let log = Uuid::from_u128(1);
    let ids = [
        cause().derive("a.b", 0),
        cause().derive("a.b", 1),
        cause().derive("a.c", 0),
        other.derive("a.b", 0),
        Cause::foreign(log, "ab", 0, 1, at).id(),
        Cause::foreign(log, "a", 0, 1, at).id(),
        Cause::foreign(log, "ab", 1, 1, at).id(),
        Cause::foreign(log, "ab", 0, 2, at).id(),
        Cause::foreign(Uuid::from_u128(2), "ab", 0, 1, at).id(),
        Cause::keyed("ab", "c", "d", at).id(),
        Cause::keyed("a", "bc", "d", at).id(),
        Cause::keyed("a", "b", "cd", at).id(),
    ];
    let different: std::collections::HashSet<Uuid> = ids.into_iter().collect();
    assert_eq!(different.len(), ids.len());
}

#[test]
fn a_moment_before_1970_counts_as_1970() {
    let id = Cause::message(Uuid::nil(), Time::from_millis(-5)).derive("a.b", 0);
    assert_eq!(id.as_bytes()[..6], [0; 6]);
    assert_eq!(id.get_version_num(), 7);
}

proptest! {
    #[test]
    fn derived_ids_have_the_layout_of_version_7(id: u128, millis in 0i64..253_402_300_799_999, ordinal: u32) {
        let at = Time::from_millis(millis);
        let born = Cause::message(Uuid::from_u128(id), at).derive("a.b", ordinal);
        prop_assert_eq!(born.get_version_num(), 7);
        prop_assert_eq!(born.get_variant(), uuid::Variant::RFC4122);
        let mut head = [0u8; 8];
        head[2..].copy_from_slice(&born.as_bytes()[..6]);
        prop_assert_eq!(i64::from_be_bytes(head), millis);
        prop_assert_eq!(born, Cause::message(Uuid::from_u128(id), at).derive("a.b", ordinal));
    }
}
