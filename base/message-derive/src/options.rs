//! What may stand in the attribute of a message, and what its names have to look like.

use syn::{DeriveInput, LitStr, Member, Path, Type};

/// What stood in the attribute.
#[derive(Default)]
pub(crate) struct Options {
    name: Option<LitStr>,
    topic: Option<LitStr>,
    pub(crate) reply: Option<Type>,
    pub(crate) done: Option<Type>,
    pub(crate) key: Option<Member>,
    pub(crate) validate: Option<Path>,
}

impl Options {
    pub(crate) fn read(input: &DeriveInput, attribute: &str, allowed: &[&str]) -> syn::Result<Options> {
        if !input.generics.params.is_empty() {
            return Err(syn::Error::new_spanned(&input.generics, "a message has no type parameters"));
        }
        let mut options = Options::default();
        let mut seen = Vec::new();
        for attr in input.attrs.iter().filter(|a| a.path().is_ident(attribute)) {
            attr.parse_nested_meta(|meta| {
                let word = meta.path.get_ident().map(ToString::to_string).unwrap_or_default();
                if !allowed.contains(&word.as_str()) {
                    return Err(meta.error(format!("expected one of: {}", allowed.join(", "))));
                }
                if seen.contains(&word) {
                    return Err(meta.error(format!("{word} is given twice")));
                }
                let value = meta.value()?;
                match word.as_str() {
                    "name" => options.name = Some(value.parse()?),
                    "topic" => options.topic = Some(value.parse()?),
                    "reply" => options.reply = Some(value.parse()?),
                    "done" => options.done = Some(value.parse()?),
                    "key" => options.key = Some(value.parse()?),
                    _ => options.validate = Some(value.parse()?),
                }
                seen.push(word);
                Ok(())
            })?;
        }
        Ok(options)
    }

    /// `<service>.<what>`: lowercase letters, digits and hyphens on both sides of one point.
    pub(crate) fn name(&self, input: &DeriveInput) -> syn::Result<LitStr> {
        let missing = || syn::Error::new_spanned(&input.ident, "name = \"<service>.<what>\" is missing");
        let name = self.name.clone().ok_or_else(missing)?;
        match halves(&name.value()) {
            Some(_) => Ok(name),
            None => Err(syn::Error::new(
                name.span(),
                "a message name is <service>.<what> in kebab case, such as \"notify.accept\"",
            )),
        }
    }

    /// `<service>.<entity>` of the service that the event's name begins with: it alone writes to its topics.
    pub(crate) fn topic(&self, input: &DeriveInput, name: &LitStr) -> syn::Result<LitStr> {
        let missing = || syn::Error::new_spanned(&input.ident, "topic = \"<service>.<entity>\" is missing");
        let topic = self.topic.clone().ok_or_else(missing)?;
        let (text, name) = (topic.value(), name.value());
        let refuse = |reason: String| Err(syn::Error::new(topic.span(), reason));
        let Some((service, entity)) = halves(&text) else {
            return refuse(
                "a topic is <service>.<entity> in kebab case, such as \"notify.delivery\"".to_owned(),
            );
        };
        if matches!(entity, "commands" | "replies") {
            return refuse(format!("{text} carries commands and answers; events have a topic of their own"));
        }
        if halves(&name).is_some_and(|(owner, _)| owner != service) {
            return refuse(format!(
                "{name} can't stand in {text}: a topic belongs to the service it is named after"
            ));
        }
        Ok(topic)
    }
}

fn halves(text: &str) -> Option<(&str, &str)> {
    let word = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_lowercase())
            && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    };
    text.split_once('.').filter(|(service, what)| word(service) && word(what))
}
