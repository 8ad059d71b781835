//! `#[derive(Command)]`, `#[derive(Query)]`, `#[derive(Event)]`, `#[derive(Effect)]`; the traits stand in artel-message.

mod expand;
mod options;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// `#[command(name = "service.what", reply = Type, key = field, validate = path)]`; without `reply` it is `()`.
#[proc_macro_derive(Command, attributes(command))]
pub fn command(input: TokenStream) -> TokenStream {
    derive(&parse_macro_input!(input as DeriveInput), expand::command)
}

/// `#[query(name = "service.what", reply = Type, validate = path)]`
#[proc_macro_derive(Query, attributes(query))]
pub fn query(input: TokenStream) -> TokenStream {
    derive(&parse_macro_input!(input as DeriveInput), expand::query)
}

/// `#[event(name = "service.what", topic = "service.entity", key = field, validate = path)]`
#[proc_macro_derive(Event, attributes(event))]
pub fn event(input: TokenStream) -> TokenStream {
    derive(&parse_macro_input!(input as DeriveInput), expand::event)
}

/// `#[effect(name = "service.what", done = Type, key = field, validate = path)]`; without `done` it is `()`.
#[proc_macro_derive(Effect, attributes(effect))]
pub fn effect(input: TokenStream) -> TokenStream {
    derive(&parse_macro_input!(input as DeriveInput), expand::effect)
}

fn derive(
    input: &DeriveInput,
    expand: fn(&DeriveInput) -> syn::Result<proc_macro2::TokenStream>,
) -> TokenStream {
    expand(input).unwrap_or_else(|e| e.to_compile_error()).into()
}
