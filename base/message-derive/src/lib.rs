//! `#[derive(Command)]`, `#[derive(Query)]`, `#[derive(Event)]`, `#[derive(Effect)]`; the traits stand in artel-message.

use proc_macro::TokenStream;
use proc_macro2::TokenStream as Tokens;
use quote::quote;
use syn::{DeriveInput, LitStr, Member, Path, Type, parse_macro_input};

/// What stood in the attribute.
#[derive(Default)]
struct Options {
    name: Option<LitStr>,
    topic: Option<LitStr>,
    reply: Option<Type>,
    done: Option<Type>,
    key: Option<Member>,
    validate: Option<Path>,
}

fn options(input: &DeriveInput, attribute: &str, allowed: &[&str]) -> syn::Result<Options> {
    let mut options = Options::default();
    for attr in input.attrs.iter().filter(|a| a.path().is_ident(attribute)) {
        attr.parse_nested_meta(|meta| {
            let word = meta.path.get_ident().map(ToString::to_string).unwrap_or_default();
            if !allowed.contains(&word.as_str()) {
                return Err(meta.error(format!("expected one of: {}", allowed.join(", "))));
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
            Ok(())
        })?;
    }
    Ok(options)
}

/// `<service>.<what>`: lowercase letters, digits and hyphens on both sides of one point.
fn checked_name(name: Option<LitStr>, input: &DeriveInput) -> syn::Result<LitStr> {
    let name =
        name.ok_or_else(|| syn::Error::new_spanned(&input.ident, "name = \"<service>.<what>\" is missing"))?;
    let text = name.value();
    let word = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_lowercase())
            && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    };
    match text.split_once('.') {
        Some((service, what)) if word(service) && word(what) => Ok(name),
        _ => Err(syn::Error::new(
            name.span(),
            "a message name is <service>.<what> in kebab case, such as \"notify.accept\"",
        )),
    }
}

fn message(input: &DeriveInput, name: &LitStr, validate: Option<&Path>) -> Tokens {
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

fn optional_key(key: Option<&Member>) -> Option<Tokens> {
    key.map(|field| {
        quote! {
            fn key(&self) -> ::core::option::Option<::std::string::String> {
                ::core::option::Option::Some(::std::string::ToString::to_string(&self.#field))
            }
        }
    })
}

fn unit(given: Option<Type>) -> Tokens {
    given.map_or_else(|| quote!(()), |ty| quote!(#ty))
}

fn finish(result: syn::Result<Tokens>) -> TokenStream {
    result.unwrap_or_else(|e| e.to_compile_error()).into()
}

/// `#[command(name = "service.what", reply = Type, key = field, validate = path)]`
#[proc_macro_derive(Command, attributes(command))]
pub fn command(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    finish((|| {
        let options = options(&input, "command", &["name", "reply", "key", "validate"])?;
        let name = checked_name(options.name, &input)?;
        let (ident, message) = (&input.ident, message(&input, &name, options.validate.as_ref()));
        let (reply, key) = (unit(options.reply), optional_key(options.key.as_ref()));
        Ok(quote! {
            #message
            impl ::artel_message::Command for #ident { type Reply = #reply; #key }
        })
    })())
}

/// `#[query(name = "service.what", reply = Type, validate = path)]`
#[proc_macro_derive(Query, attributes(query))]
pub fn query(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    finish((|| {
        let options = options(&input, "query", &["name", "reply", "validate"])?;
        let name = checked_name(options.name, &input)?;
        let (ident, message) = (&input.ident, message(&input, &name, options.validate.as_ref()));
        let reply = unit(options.reply);
        Ok(quote! {
            #message
            impl ::artel_message::Query for #ident { type Reply = #reply; }
        })
    })())
}

/// `#[event(name = "service.what", topic = "service.entity", key = field, validate = path)]`
#[proc_macro_derive(Event, attributes(event))]
pub fn event(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    finish((|| {
        let options = options(&input, "event", &["name", "topic", "key", "validate"])?;
        let name = checked_name(options.name, &input)?;
        let missing = |what: &str| syn::Error::new_spanned(&input.ident, format!("{what} is missing"));
        let topic = options.topic.ok_or_else(|| missing("topic = \"<service>.<entity>\""))?;
        let key = options.key.ok_or_else(|| missing("key = <field with the entity's id>"))?;
        let (ident, message) = (&input.ident, message(&input, &name, options.validate.as_ref()));
        Ok(quote! {
            #message
            impl ::artel_message::Event for #ident {
                const TOPIC: &'static str = #topic;
                fn key(&self) -> ::std::string::String { ::std::string::ToString::to_string(&self.#key) }
            }
        })
    })())
}

/// `#[effect(name = "service.what", done = Type, key = field, validate = path)]`
#[proc_macro_derive(Effect, attributes(effect))]
pub fn effect(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    finish((|| {
        let options = options(&input, "effect", &["name", "done", "key", "validate"])?;
        let name = checked_name(options.name, &input)?;
        let (ident, message) = (&input.ident, message(&input, &name, options.validate.as_ref()));
        let (done, key) = (unit(options.done), optional_key(options.key.as_ref()));
        Ok(quote! {
            #message
            impl ::artel_message::Effect for #ident { type Done = #done; #key }
        })
    })())
}
