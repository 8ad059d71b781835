//! Time as HTTP writes it.

use http::HeaderMap;
use http::header::{DATE, HeaderName, RETRY_AFTER};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The machine's.
pub fn system_clock() -> Clock {
    Arc::new(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

/// `Retry-After` as seconds or as a date (RFC 9110, section 10.2.3). A date is taken against the answer's own `Date`, because our
/// clock need not be theirs.
pub(super) fn retry_after(headers: &HeaderMap, clock: &Clock) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u32>() {
        return Some(Duration::from_secs(seconds.into()));
    }
    let then = httpdate::parse_http_date(text).ok()?;
    let now = date(headers, DATE).unwrap_or_else(|| UNIX_EPOCH + Duration::from_millis(clock()));
    Some(then.duration_since(now).unwrap_or_default())
}

fn date(headers: &HeaderMap, name: HeaderName) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(name)?.to_str().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(retry: &str, date: Option<&str>) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, retry.parse().unwrap());
        if let Some(date) = date {
            headers.insert(DATE, date.parse().unwrap());
        }
        // Sun, 06 Nov 1994 08:49:37 GMT
        let clock: Clock = Arc::new(|| 784_111_777_000);
        retry_after(&headers, &clock)
    }

    #[test]
    fn seconds_and_dates_are_read() {
        let seconds = |s| Some(Duration::from_secs(s));
        assert_eq!(read("120", None), seconds(120));
        assert_eq!(read(" 0 ", None), seconds(0));
        assert_eq!(read("Sun, 06 Nov 1994 08:50:37 GMT", None), seconds(60));
        assert_eq!(
            read("Sun, 06 Nov 1994 08:50:37 GMT", Some("Sun, 06 Nov 1994 08:50:30 GMT")),
            seconds(7),
            "their clock counts"
        );
        assert_eq!(read("Sun, 06 Nov 1994 08:00:00 GMT", None), seconds(0), "a time that has passed");
        assert_eq!((read("-1", None), read("soon", None), read("99999999999999", None)), (None, None, None));
    }
}
