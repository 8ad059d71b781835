//! A program without TLS: what is https is refused with the way to one that has it.

use super::ClientError;
use hyper_util::client::legacy::connect::HttpConnector;
use std::error::Error;
use std::path::Path;

pub(super) type Connector = HttpConnector;

pub(super) fn connector(
    plain: HttpConnector,
    https: bool,
    _: Option<&Path>,
) -> Result<Connector, ClientError> {
    if https {
        let reason = "https is not compiled in; rebuild with --features https".to_owned();
        return Err(ClientError::Tls { reason });
    }
    Ok(plain)
}

pub(super) fn untrusted(_: &(dyn Error + 'static)) -> Option<String> {
    None
}
