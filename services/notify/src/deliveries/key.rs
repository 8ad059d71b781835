//! What an attempt is known by at providers: the same however often it is made.

use artel_contract::notify::DeliveryId;
use uuid::Uuid;

pub fn of(delivery: DeliveryId, leg: u32, attempt: u32) -> String {
    format!("{}-{leg}-{attempt}", delivery.uuid().simple())
}

/// The attempt that is known so: its delivery, leg and number.
pub fn read(key: &str) -> Option<(DeliveryId, u32, u32)> {
    let mut parts = key.splitn(3, '-');
    let delivery =
        parts.next().filter(|text| text.len() == 32).and_then(|text| Uuid::try_parse(text).ok())?;
    let mut number = || parts.next()?.parse().ok();
    Some((DeliveryId::from_uuid(delivery), number()?, number()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_names_its_attempt() {
        let id = DeliveryId::from_uuid(Uuid::from_u128(0x0190_f5a0_0000_7000_8000_0000_0000_0001));
        assert_eq!(of(id, 2, 31), "0190f5a0000070008000000000000001-2-31");
        assert_eq!(read(&of(id, 2, 31)), Some((id, 2, 31)));
        for bad in [
            "",
            "0190f5a0000070008000000000000001",
            "0190f5a0000070008000000000000001-1",
            "x-1-1",
            "0190f5a0-0000-7000-8000-000000000001-1-1",
            "0190f5a0000070008000000000000001-1-1-1",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
