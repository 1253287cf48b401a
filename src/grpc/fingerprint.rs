//! What tells two requests under one `request_id` apart.

use prost::Message;
use sha2::{Digest, Sha256};

/// A digest of a request: of its method's name and of its encoding. Empty its `request_id` first: the digest is of what is
/// asked for.
pub fn fingerprint(method: &str, request: &impl Message) -> Vec<u8> {
    Sha256::new()
        .chain_update(method.as_bytes())
        .chain_update([0])
        .chain_update(request.encode_to_vec())
        .finalize()
        .to_vec()
}
