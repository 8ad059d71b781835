//! What a template would send, before it sends anything.

use super::{Body, Compiled, Context, RenderError, Rendered};
use crate::domain::sms_text::{self, Count};
use artel_contract::notify::Channel;
use serde_json::Value;

/// A message in every channel that the template has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    pub messages: Vec<(Channel, Result<Rendered, RenderError>)>,
    /// What the short message would cost.
    pub sms: Option<Count>,
}

impl Compiled {
    /// What these data would become. One channel's error does not hide the others.
    pub fn preview(&self, wanted: Option<&str>, message: &Value, context: &Context<'_>) -> Preview {
        let channels = Channel::ALL.into_iter().filter(|channel| {
            let chain = self.template().fallbacks(wanted);
            chain.iter().any(|language| {
                self.template().languages.get(*language).is_some_and(|texts| texts.has(*channel))
            })
        });
        let messages: Vec<(Channel, Result<Rendered, RenderError>)> =
            channels.map(|channel| (channel, self.render(channel, wanted, message, context))).collect();
        let sms = messages.iter().find_map(|(_, rendered)| match rendered {
            Ok(Rendered { body: Body::Sms { text }, .. }) => Some(sms_text::count(text)),
            _ => None,
        });
        Preview { messages, sms }
    }
}
