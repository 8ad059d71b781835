//! The implementations that the derives write.

use crate::options::Options;
use proc_macro2::TokenStream;
use quote::quote;
use syn::{DeriveInput, LitStr, Member, Path, Type};

pub(crate) fn command(input: &DeriveInput) -> syn::Result<TokenStream> {
    let options = Options::read(input, "command", &["name", "reply", "key", "validate"])?;
    let message = message(input, &options.name(input)?, options.validate.as_ref());
    let (ident, reply, key) = (&input.ident, unit(options.reply), optional_key(options.key.as_ref()));
    Ok(quote! {
        #message
        impl ::artel_message::Later for #ident {
            fn order(&self) -> ::core::option::Option<::std::string::String> {
                ::artel_message::Command::key(self)
            }
        }
        impl ::artel_message::Command for #ident { type Reply = #reply; #key }
    })
}

pub(crate) fn query(input: &DeriveInput) -> syn::Result<TokenStream> {
    let options = Options::read(input, "query", &["name", "reply", "validate"])?;
    let message = message(input, &options.name(input)?, options.validate.as_ref());
    let (ident, reply) = (&input.ident, unit(options.reply));
    Ok(quote! {
        #message
        impl ::artel_message::Query for #ident { type Reply = #reply; }
    })
}

pub(crate) fn event(input: &DeriveInput) -> syn::Result<TokenStream> {
    let options = Options::read(input, "event", &["name", "topic", "key", "validate"])?;
    let name = options.name(input)?;
    let topic = options.topic(input, &name)?;
    let missing = || syn::Error::new_spanned(&input.ident, "key = <field with the entity's id> is missing");
    let key = options.key.as_ref().ok_or_else(missing)?;
    let (ident, message) = (&input.ident, message(input, &name, options.validate.as_ref()));
    Ok(quote! {
        #message
        impl ::artel_message::Event for #ident {
            const TOPIC: &'static str = #topic;
            fn key(&self) -> ::std::string::String { ::std::string::ToString::to_string(&self.#key) }
        }
    })
}

pub(crate) fn effect(input: &DeriveInput) -> syn::Result<TokenStream> {
    let options = Options::read(input, "effect", &["name", "done", "key", "validate"])?;
    let message = message(input, &options.name(input)?, options.validate.as_ref());
    let (ident, done, key) = (&input.ident, unit(options.done), optional_key(options.key.as_ref()));
    Ok(quote! {
        #message
        impl ::artel_message::Later for #ident {
            fn order(&self) -> ::core::option::Option<::std::string::String> {
                ::artel_message::Effect::key(self)
            }
        }
        impl ::artel_message::Effect for #ident { type Done = #done; #key }
    })
}

fn message(input: &DeriveInput, name: &LitStr, validate: Option<&Path>) -> TokenStream {
    let ident = &input.ident;
    let validate = validate.map(|path| {
        quote! {
            fn validate(&self) -> ::core::result::Result<(), ::artel_message::Fault> { #path(self) }
        }
    });
    quote! {
        impl ::artel_message::Message for #ident {
            const NAME: &'static str = #name;
            #validate
        }
    }
}

fn optional_key(key: Option<&Member>) -> Option<TokenStream> {
    key.map(|field| {
        quote! {
            fn key(&self) -> ::core::option::Option<::std::string::String> {
                ::core::option::Option::Some(::std::string::ToString::to_string(&self.#field))
            }
        }
    })
}

fn unit(given: Option<Type>) -> TokenStream {
    given.map_or_else(|| quote!(()), |ty| quote!(#ty))
}

#[cfg(test)]
mod tests {
    use super::*;
    use syn::parse_quote;

    /// The sentence that the compiler shows.
    fn error(result: syn::Result<TokenStream>) -> String {
        result.expect_err("the derive accepts it").to_string()
    }

    #[test]
    fn a_name_is_needed_and_has_two_words_in_kebab_case() {
        assert!(
            error(command(&parse_quote! { struct A; })).contains("name = \"<service>.<what>\" is missing")
        );
        for name in
            ["accept", "notify.", ".accept", "notify.Accept", "notify.a.b", "notify.a_b", "1.a", "a.-b"]
        {
            let found = error(query(&parse_quote! { #[query(name = #name)] struct A; }));
            assert!(found.contains("kebab case"), "{name}: {found}");
        }
        assert!(command(&parse_quote! { #[command(name = "notify2.accept-all")] struct A; }).is_ok());
    }

    #[test]
    fn an_event_has_a_topic_and_a_key() {
        let found = error(event(&parse_quote! { #[event(name = "a.b", key = id)] struct A; }));
        assert!(found.contains("topic = \"<service>.<entity>\" is missing"), "{found}");
        let found = error(event(&parse_quote! { #[event(name = "a.b", topic = "a.c")] struct A; }));
        assert!(found.contains("key = <field"), "{found}");
        assert!(event(&parse_quote! { #[event(name = "a.b", topic = "a.c", key = id)] struct A; }).is_ok());
    }

    #[test]
    fn a_topic_belongs_to_the_service_of_its_events() {
        let with =
            |topic: &str| event(&parse_quote! { #[event(name = "a.b", topic = #topic, key = id)] struct A; });
        assert!(error(with("c.d")).contains("belongs to the service"));
        assert!(error(with("a.commands")).contains("topic of their own"));
        assert!(error(with("a.replies")).contains("topic of their own"));
        assert!(error(with("A b")).contains("kebab case"));
    }

    #[test]
    fn unknown_and_repeated_words_are_refused() {
        let found = error(query(&parse_quote! { #[query(name = "a.b", key = id)] struct A; }));
        assert!(found.contains("expected one of: name, reply, validate"), "{found}");
        let found = error(command(&parse_quote! { #[command(name = "a.b", name = "a.c")] struct A; }));
        assert!(found.contains("given twice"), "{found}");
        let found =
            error(effect(&parse_quote! { #[effect(name = "a.b")] #[effect(name = "a.c")] struct A; }));
        assert!(found.contains("given twice"), "{found}");
    }

    #[test]
    fn a_message_has_no_type_parameters() {
        let found = error(command(&parse_quote! { #[command(name = "a.b")] struct A<T>(T); }));
        assert!(found.contains("no type parameters"), "{found}");
    }
}
