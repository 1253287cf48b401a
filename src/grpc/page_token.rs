//! Page tokens: opaque to callers, bound to the list and its filters.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use crate::service::error::FieldViolation;
use crate::service::{Limits, Page};

const CHECK_BYTES: usize = 8;

/// A check value over the list's name and its filters: a token is good for them alone.
fn check(list: &str, filters: &[u8]) -> [u8; CHECK_BYTES] {
    let digest = Sha256::new()
        .chain_update(list.as_bytes())
        .chain_update([0])
        .chain_update(filters)
        .finalize();
    let mut check = [0; CHECK_BYTES];
    check.copy_from_slice(&digest[..CHECK_BYTES]);
    check
}

/// The token of the page after `key`; empty where there is none. `filters` are the bytes of whatever selects the rows.
pub fn encode<K: Serialize>(list: &str, filters: &[u8], key: Option<&K>) -> String {
    let Some(key) = key.and_then(|key| serde_json::to_vec(key).ok()) else {
        return String::new();
    };
    let mut bytes = check(list, filters).to_vec();
    bytes.extend(key);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Reads what a request asks for: `page_size` (0 means 100) and `page_token`.
pub fn page<K: DeserializeOwned>(
    list: &str,
    filters: &[u8],
    page_size: i32,
    page_token: &str,
    limits: &Limits,
) -> Result<Page<K>, FieldViolation> {
    let size = match usize::try_from(page_size) {
        Ok(0) => 100.min(limits.page_size_max),
        Ok(size) if size <= limits.page_size_max => size,
        _ => {
            return Err(FieldViolation::new(
                "page_size",
                "INVALID_PAGE_SIZE",
                format!("give 1 to {}, or 0 for 100", limits.page_size_max),
            ));
        }
    };
    if page_token.is_empty() {
        return Ok(Page { size, after: None });
    }
    let unknown = || {
        FieldViolation::new(
            "page_token",
            "UNKNOWN_PAGE_TOKEN",
            "give the next_page_token of a page of this list with the same filters, or leave it empty to begin anew",
        )
    };
    let bytes = URL_SAFE_NO_PAD.decode(page_token).map_err(|_| unknown())?;
    let (found, key) = bytes.split_at_checked(CHECK_BYTES).ok_or_else(unknown)?;
    if found != check(list, filters) {
        return Err(unknown());
    }
    let key = serde_json::from_slice(key).map_err(|_| unknown())?;
    Ok(Page { size, after: Some(key) })
}
