//! Cursors: a place in one feed of one trust, opaque to callers.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::DateTime;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::FeedSource;
use crate::domain::identifiers::TrustId;
use crate::service::error::FieldViolation;
use crate::store::feeds::Place;

const CHECK_BYTES: usize = 8;

/// A check value over the feed and the place: tells a cursor from whatever else a caller may send.
fn check(feed: &str, bytes: &[u8]) -> [u8; CHECK_BYTES] {
    let digest = Sha256::new()
        .chain_update(feed.as_bytes())
        .chain_update([0])
        .chain_update(bytes)
        .finalize();
    let mut check = [0; CHECK_BYTES];
    check.copy_from_slice(&digest[..CHECK_BYTES]);
    check
}

/// The cursor of a place.
pub fn cursor_text<S: FeedSource>(trust: TrustId, place: Place) -> String {
    let mut bytes = trust.0.as_bytes().to_vec();
    bytes.extend(place.position.to_be_bytes());
    bytes.extend(place.recorded_at.timestamp_micros().to_be_bytes());
    bytes.extend(check(S::NAME, &bytes));
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The place of a cursor.
///
/// # Errors
/// `INVALID_CURSOR` for what is no cursor of the feed, `CURSOR_OF_OTHER_TRUST` for one of another trust.
pub fn parse_cursor<S: FeedSource>(field: &str, trust: TrustId, text: &str) -> Result<Place, FieldViolation> {
    let (of_trust, place) = decode(S::NAME, text).ok_or_else(|| {
        let message = format!("give a cursor as the feed of {} gave it, unchanged", S::NAME);
        FieldViolation::new(field, "INVALID_CURSOR", message)
    })?;
    if of_trust != trust {
        let message = "the cursor is of another trust's feed: give one of this trust";
        return Err(FieldViolation::new(field, "CURSOR_OF_OTHER_TRUST", message));
    }
    Ok(place)
}

fn decode(feed: &str, text: &str) -> Option<(TrustId, Place)> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let (content, found) = bytes.split_last_chunk::<CHECK_BYTES>()?;
    if *found != check(feed, content) {
        return None;
    }
    let (trust, rest) = content.split_first_chunk::<16>()?;
    let (position, rest) = rest.split_first_chunk::<8>()?;
    let micros = i64::from_be_bytes(rest.try_into().ok()?);
    let place = Place {
        position: i64::from_be_bytes(*position),
        recorded_at: DateTime::from_timestamp_micros(micros)?,
    };
    Some((TrustId(Uuid::from_bytes(*trust)), place))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::transitions::Transitions;

    #[test]
    fn a_cursor_is_good_for_its_feed_and_trust_alone_and_not_when_changed() {
        let trust = TrustId(Uuid::from_u128(7));
        let place = Place {
            position: 300,
            recorded_at: DateTime::from_timestamp_micros(1_750_000_000_123_456).unwrap(),
        };
        let text = cursor_text::<Transitions>(trust, place);
        assert_eq!(parse_cursor::<Transitions>("cursor", trust, &text), Ok(place));
        assert_eq!(decode("actions", &text), None);
        let reason =
            |trust, text: &str| parse_cursor::<Transitions>("cursor", trust, text).map_err(|found| found.reason);
        assert_eq!(reason(TrustId(Uuid::from_u128(8)), &text), Err("CURSOR_OF_OTHER_TRUST"));
        for place in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(reason(trust, &changed), Err("INVALID_CURSOR"), "{changed}");
        }
        for wrong in ["", "AAAA", &text[1..], "not a cursor"] {
            assert_eq!(reason(trust, wrong), Err("INVALID_CURSOR"), "{wrong}");
        }
    }
}
