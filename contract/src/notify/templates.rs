//! Templates: the texts of a message per language and channel.

use super::{Channel, NO_LANGUAGE, check_data, is_language, name};
use artel_message::{Command, Fault, Page, Query, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Languages of one template.
pub const LANGUAGES: usize = 100;
/// Fields for the app of one push message, and bytes of the name of one.
pub const FIELDS: usize = 50;
const FIELD: usize = 100;
/// Bytes of the JSON Schema that a template brings.
pub const SCHEMA: usize = 128 << 10;
/// Templates of a page: each has all of its texts read.
const PAGE: std::ops::RangeInclusive<u32> = 1..=50;

/// What a template says, and what it is filled from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TemplateBody {
    /// The language that everybody gets who asks for one that is not there.
    pub default_language: String,
    /// By language tag, such as `ru` or `en-GB`.
    pub languages: BTreeMap<String, Texts>,
    /// The message whose fields it uses, such as `logistics.shipment-moved`: every text is held against its schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The JSON Schema of what it is filled from, where that is no message of the platform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<Value>,
}

impl TemplateBody {
    /// How much there may be of it; the fault names the field.
    fn check(&self) -> Result<(), Fault> {
        let count = self.languages.len();
        if count > LANGUAGES {
            return Err(Fault::field("languages", format!("there are {count}; {LANGUAGES} are the most")));
        }
        let schema = self.schema.as_ref().map_or(0, |schema| schema.to_string().len());
        if schema > SCHEMA {
            let reason = format!("has {schema} bytes as JSON; {SCHEMA} are the most");
            return Err(Fault::field("schema", reason));
        }
        self.languages.iter().try_for_each(|(language, texts)| {
            let push = texts.push.as_ref();
            push.map_or(Ok(()), |push| push.check(&format!("languages.{language}.push.data")))
        })
    }
}

/// The texts of one language; a channel without texts is not sent over in this language.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Texts {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<EmailTexts>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sms: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub push: Option<PushTexts>,
}

/// Of an e-mail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EmailTexts {
    pub subject: String,
    /// Plain text; every mail has it.
    pub text: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub html: Option<Markup>,
}

/// How the HTML of a mail is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Markup {
    Html(String),
    Mjml(String),
}

/// Of a push message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PushTexts {
    pub title: String,
    pub body: String,
    /// For the app.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub data: BTreeMap<String, String>,
}

impl PushTexts {
    fn check(&self, field: &str) -> Result<(), Fault> {
        let count = self.data.len();
        if count > FIELDS {
            return Err(Fault::field(field, format!("there are {count}; {FIELDS} are the most")));
        }
        let bad = self.data.keys().find(|key| key.is_empty() || key.len() > FIELD);
        match bad.map(String::len) {
            Some(bytes) => {
                let reason = format!("the name of a field has {bytes} bytes; 1 to {FIELD} are right");
                Err(Fault::field(field, reason))
            }
            None => Ok(()),
        }
    }
}

/// A version of a template.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TemplateVersion {
    pub id: String,
    pub version: u32,
    /// Whether it is the one that is sent.
    pub current: bool,
    /// Whether it came with the program.
    pub shipped: bool,
    pub body: TemplateBody,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saved_at: Option<Time>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saved_by: Option<String>,
}

/// Saves a template as its next version, which is sent from then on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "notify.put-template", reply = SavedTemplate, key = template, validate = check_put)]
#[serde(deny_unknown_fields)]
pub struct PutTemplate {
    pub template: String,
    pub body: TemplateBody,
    pub by: String,
    /// The version that the change is made to. 0 = there is none yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<u64>,
}

fn check_put(command: &PutTemplate) -> Result<(), Fault> {
    name("template", &command.template)?;
    name("by", &command.by)?;
    command.body.check()
}

/// What was saved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SavedTemplate {
    pub version: u32,
    pub created: bool,
    /// Whether the texts were held against a schema.
    pub checked: bool,
}

/// Sends it no more. One that came with the program is as it came.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Command)]
#[command(name = "notify.remove-template", reply = (), key = template)]
#[serde(deny_unknown_fields)]
pub struct RemoveTemplate {
    pub template: String,
    pub by: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<u64>,
}

/// A template by its id.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Query)]
#[query(name = "notify.get-template", reply = TemplateVersion)]
#[serde(deny_unknown_fields)]
pub struct GetTemplate {
    pub template: String,
    /// The current one when absent.
    #[serde(default)]
    pub version: Option<u32>,
}

/// What there is of a template, without its texts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TemplateSummary {
    pub id: String,
    pub version: u32,
    pub shipped: bool,
    pub languages: Vec<String>,
    /// Those of the default language.
    pub channels: Vec<Channel>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saved_at: Option<Time>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saved_by: Option<String>,
}

/// The templates that are sent, by id; or the versions of one, the latest first.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema, Query)]
#[query(name = "notify.list-templates", reply = Page<TemplateSummary>, validate = check_list)]
#[serde(deny_unknown_fields)]
pub struct ListTemplates {
    #[serde(default)]
    pub versions_of: Option<String>,
    /// 1 to 50; 50 when absent.
    #[serde(default)]
    pub limit: Option<u32>,
    #[serde(default)]
    pub cursor: Option<String>,
}

fn check_list(query: &ListTemplates) -> Result<(), Fault> {
    match query.limit {
        Some(limit) if !PAGE.contains(&limit) => {
            Err(Fault::field("limit", format!("{limit} is not 1 to 50")))
        }
        _ => Ok(()),
    }
}

/// What a template would send.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Query)]
#[query(name = "notify.preview-template", reply = Preview, validate = check_preview)]
#[serde(deny_unknown_fields)]
pub struct PreviewTemplate {
    pub template: String,
    #[serde(default)]
    pub version: Option<u32>,
    /// In place of what is saved: to see it before.
    #[serde(default)]
    pub body: Option<TemplateBody>,
    /// What it is filled from; where absent, an example by the schema.
    #[serde(default)]
    pub data: Option<Value>,
    #[serde(default)]
    pub language: Option<String>,
    /// A name of the time zone database; UTC when absent.
    #[serde(default)]
    pub zone: Option<String>,
    /// The recipient's.
    #[serde(default)]
    pub name: Option<String>,
}

fn check_preview(query: &PreviewTemplate) -> Result<(), Fault> {
    name("template", &query.template)?;
    if let Some(own) = &query.name {
        name("name", own)?;
    }
    if query.language.as_ref().is_some_and(|tag| !is_language(tag)) {
        return Err(Fault::field("language", NO_LANGUAGE));
    }
    if let Some(data) = &query.data {
        check_data("data", data)?;
    }
    query.body.as_ref().map_or(Ok(()), TemplateBody::check)
}

/// What a template would send.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Preview {
    /// What it was filled from.
    pub data: Value,
    pub messages: Vec<PreviewMessage>,
    /// What keeps the template from being saved.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Problem>,
}

/// One channel of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PreviewMessage {
    pub channel: Channel,
    /// The language that it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub html: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub data: BTreeMap<String, String>,
    /// Of a short message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segments: Option<u32>,
    /// Why nothing would be sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What is wrong with something that was to be saved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// Such as `ru.email.html`, or `to.event.email`.
    pub field: String,
    /// From 1, of a text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    pub reason: String,
}
