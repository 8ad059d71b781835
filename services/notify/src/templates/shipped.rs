//! Templates that come with the program. They are their own first version and are kept nowhere; a change of one is its second.

use crate::domain::templates::{Template, shipment};
use crate::recipients::convert;
use crate::store::templates::Version;
use artel_contract::logistics::ShipmentMoved;
use artel_contract::notify::templates::TemplateBody;
use artel_message::{Message, Time};

/// Their ids.
pub const ALL: [&str; 1] = ["shipment"];

/// One of them.
pub fn of(id: &str) -> Option<Version> {
    let template = Some(shipment()).filter(|template| template.id == id)?;
    let Template { id, version, default_language, languages } = template;
    let body = TemplateBody {
        default_language,
        languages: convert::same("languages", &languages).ok()?,
        message: Some(ShipmentMoved::NAME.to_owned()),
        schema: None,
    };
    Some(Version { id, version, body, saved_at: Time::MIN, saved_by: String::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_of_them_is_there_and_survives_the_contract() {
        for id in ALL {
            let own = of(id).unwrap();
            assert_eq!((own.id.as_str(), own.version), (id, 1));
            assert_eq!(crate::templates::template(id, 1, &own.body).unwrap(), shipment());
        }
        assert!(of("other").is_none());
    }
}
