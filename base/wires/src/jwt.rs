//! JSON Web Tokens in the compact form (RFC 7515, section 3.1).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;

/// base64url without padding.
pub(crate) fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// `sign` gets the bytes to sign.
pub(crate) fn compact<E>(
    header: &impl Serialize,
    claims: &impl Serialize,
    sign: impl FnOnce(&[u8]) -> Result<Vec<u8>, E>,
) -> Result<String, E> {
    // Structs of texts and numbers are always written.
    let part = |json: Result<Vec<u8>, serde_json::Error>| base64url(json.unwrap_or_default());
    let mut token = format!("{}.{}", part(serde_json::to_vec(header)), part(serde_json::to_vec(claims)));
    let signature = sign(token.as_bytes())?;
    token.push('.');
    token.push_str(&base64url(signature));
    Ok(token)
}
