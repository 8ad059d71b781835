//! What a template's texts are filled with, against the schema of it, before it is sent.

use super::check::OWN;
use super::compile::{Bounds, environment};
use super::{Template, channel_of};
use crate::domain::path::Path;
use crate::domain::schema::Schema;
use artel_contract::notify::Channel;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What the texts of each channel name of the message that fills them, in any language.
#[derive(Debug, Default)]
pub struct Fields {
    schema: Value,
    named: BTreeMap<Channel, Vec<Path>>,
}

impl Fields {
    /// Of a template, and the schema of what fills it.
    pub fn new(template: &Template, schema: Value) -> Fields {
        let environment = environment(Bounds::default());
        let mut named: BTreeMap<Channel, BTreeSet<String>> = BTreeMap::new();
        for texts in template.languages.values() {
            for (name, source) in texts.parts() {
                let (Some(channel), Ok(text)) = (channel_of(&name), environment.template_from_str(source))
                else {
                    continue;
                };
                named.entry(channel).or_default().extend(text.undeclared_variables(true));
            }
        }
        let globals: BTreeSet<&str> = environment.globals().map(|(name, _)| name).collect();
        let is_message = |name: &String| {
            let top = name.split('.').next().unwrap_or_default();
            !OWN.contains(&top) && !globals.contains(top)
        };
        let paths = |names: BTreeSet<String>| {
            names.into_iter().filter(is_message).filter_map(|name| name.parse().ok()).collect()
        };
        Fields { schema, named: named.into_iter().map(|(channel, names)| (channel, paths(names))).collect() }
    }

    /// The first field that these channels name and that the data do not have as the schema says: the field and the reason.
    pub fn misfit(&self, channels: &[Channel], data: &Value) -> Option<(String, String)> {
        let schema = Schema::new(&self.schema);
        let named = channels.iter().filter_map(|channel| self.named.get(channel)).flatten();
        named.into_iter().find_map(|path| schema.misfit(data, path))
    }
}
