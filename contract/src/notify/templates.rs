//! Templates: the texts of a message per language and channel.

use super::{Channel, name, page_size};
use artel_message::{Command, Fault, Page, Query, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Languages of one template.
pub const LANGUAGES: usize = 100;

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
    let count = command.body.languages.len();
    match count > LANGUAGES {
        true => Err(Fault::field("languages", format!("there are {count}; {LANGUAGES} are the most"))),
        false => Ok(()),
    }
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
    /// 1 to 500; 50 when absent.
    #[serde(default)]
    pub limit: Option<u32>,
    #[serde(default)]
    pub cursor: Option<String>,
}

fn check_list(query: &ListTemplates) -> Result<(), Fault> {
    page_size(query.limit)
}

/// What a template would send.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Query)]
#[query(name = "notify.preview-template", reply = Preview)]
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
