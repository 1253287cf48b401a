//! Where a call comes from: what the connection itself says of its other end.

use std::net::SocketAddr;
use std::sync::Arc;

/// The other end of a connection. The server's listeners put it among the extensions of every request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The address that the connection came from.
    pub address: SocketAddr,
    /// Whether the connection is encrypted.
    pub encrypted: bool,
    /// The client's certificate, verified against the configured authorities; nothing where none was presented.
    pub certificate: Option<Arc<ClientCertificate>>,
}

/// Whom a verified client certificate names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The subject as RFC 4514 writes it, for example `CN=mis-bridge,O=Harbour Learning Trust`.
    pub subject: String,
    /// The SPIFFE identifiers among the alternative names: `spiffe://trust-domain/path`.
    pub spiffe_ids: Vec<String>,
}
