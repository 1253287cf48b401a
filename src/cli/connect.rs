//! Where the commands find the service, and which trust they speak of.

use tonic::transport::{Channel, Endpoint};
use uuid::Uuid;

use super::error::CommandError;
use crate::proto::ListTrustsRequest;
use crate::proto::admin_service_client::AdminServiceClient;

/// The service that a command speaks to.
#[derive(clap::Args, Clone, Debug)]
pub struct EndpointArgs {
    /// The service's address.
    #[arg(
        long,
        env = "GRADUATED_RESPONSE_ENDPOINT",
        value_name = "URL",
        default_value = "http://127.0.0.1:50051"
    )]
    pub endpoint: String,
}

/// The service and the trust that a command speaks of.
#[derive(clap::Args, Clone, Debug)]
pub struct TrustArgs {
    #[command(flatten)]
    endpoint: EndpointArgs,
    /// The trust: its UUID. May be left out where the service has one trust.
    #[arg(long, env = "GRADUATED_RESPONSE_TRUST", value_name = "UUID")]
    trust: Option<Uuid>,
}

/// A connection to the service.
#[derive(Clone, Debug)]
pub struct Connection {
    /// What the clients of the contract's services are made of.
    pub channel: Channel,
}

impl Connection {
    /// Connects.
    pub async fn to(endpoint: &str) -> Result<Connection, CommandError> {
        let endpoint = Endpoint::from_shared(endpoint.to_owned())
            .map_err(|error| CommandError::Usage(format!("--endpoint is not a URL: {error}")))?
            .tcp_nodelay(true);
        Ok(Connection {
            channel: endpoint.connect().await?,
        })
    }
}

impl EndpointArgs {
    /// Connects.
    pub async fn connect(&self) -> Result<Connection, CommandError> {
        Connection::to(&self.endpoint).await
    }
}

impl TrustArgs {
    /// Connects, and finds out which trust is meant where there is only one.
    pub async fn connect(&self) -> Result<(Connection, Uuid), CommandError> {
        let connection = self.endpoint.connect().await?;
        if let Some(trust) = self.trust {
            return Ok((connection, trust));
        }
        let request = ListTrustsRequest {
            page_size: 2,
            page_token: String::new(),
        };
        let mut client = AdminServiceClient::new(connection.channel.clone());
        let trusts = client.list_trusts(request).await?.into_inner().trusts;
        match trusts.as_slice() {
            [] => Err(CommandError::Usage(
                "the service has no trust yet: load the sample trust (demo), or make one (trusts --create NAME)"
                    .to_owned(),
            )),
            [trust] => {
                let trust = Uuid::try_parse(&trust.trust_id).map_err(|_| CommandError::Answer("a trust's UUID"))?;
                Ok((connection, trust))
            }
            _ => Err(CommandError::Usage(
                "the service has several trusts: say which with --trust (trusts lists them)".to_owned(),
            )),
        }
    }
}
