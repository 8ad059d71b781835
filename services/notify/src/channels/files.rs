//! What stands in files beside the settings.

use std::path::Path;

/// Bytes of a key, a certificate, an account.
const MOST: u64 = 256 << 10;

/// A file's text. The error names the field and the file, and holds nothing of what is in it.
pub fn text(field: &str, file: &Path) -> Result<String, String> {
    let failed = |error: std::io::Error| format!("{field}: {}: {error}", file.display());
    let length = std::fs::metadata(file).map_err(failed)?.len();
    if length > MOST {
        return Err(format!("{field}: {} has {length} bytes; the most are {MOST}", file.display()));
    }
    std::fs::read_to_string(file).map_err(failed)
}

/// The same for a secret: without the line's end that editors leave.
pub fn secret(field: &str, file: &Path) -> Result<String, String> {
    let secret = text(field, file)?;
    match secret.trim_end_matches(['\r', '\n']) {
        "" => Err(format!("{field}: {} is empty", file.display())),
        secret => Ok(secret.to_owned()),
    }
}
