//! The server: the contract's services, health and reflection on one port, until it is told to stop.

use std::future::Future;
use std::time::Duration;

use tokio::net::TcpListener;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use crate::grpc::actions::ActionHandler;
use crate::grpc::admin::AdminHandler;
use crate::grpc::case_file::CaseFileHandler;
use crate::grpc::pupils::PupilHandler;
use crate::grpc::sessions::SessionHandler;
use crate::grpc::stages::StageHandler;
use crate::proto::action_service_server::ActionServiceServer;
use crate::proto::admin_service_server::AdminServiceServer;
use crate::proto::case_file_service_server::CaseFileServiceServer;
use crate::proto::pupil_service_server::PupilServiceServer;
use crate::proto::session_service_server::SessionServiceServer;
use crate::proto::stage_service_server::StageServiceServer;
use crate::service::Service;

/// The largest message that is read: a batch of 50,000 whole registers has its place in it.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What a connection may have on its way to the server before it is read.
const CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;

/// How often the day is looked at, for marks entered ahead of time whose day has come.
const DAY_LOOKED_AT_EVERY: Duration = Duration::from_secs(30);

/// How long open streams may take to end once the server is told to stop.
const STREAMS_END_WITHIN: Duration = Duration::from_secs(10);

/// Why the server ended.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The port or a connection failed.
    #[error("the server failed: {0}")]
    Transport(#[from] tonic::transport::Error),
    /// The descriptors of the contract cannot be served.
    #[error("reflection cannot be served: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// Serves on `listener` until `stop` is ready, then refuses new calls and finishes those under way.
pub async fn serve(
    listener: TcpListener,
    service: Service,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServerError> {
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<PupilServiceServer<PupilHandler>>().await;
    health.set_serving::<SessionServiceServer<SessionHandler>>().await;
    health.set_serving::<StageServiceServer<StageHandler>>().await;
    health.set_serving::<ActionServiceServer<ActionHandler>>().await;
    health.set_serving::<AdminServiceServer<AdminHandler>>().await;
    health.set_serving::<CaseFileServiceServer<CaseFileHandler>>().await;
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(crate::proto::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
    };
    let roll_over = tokio::spawn(keep_rolling_over(service.clone()));
    let (stopping, mut stopped) = tokio::sync::watch::channel(false);
    let (feed, action_feed) = (service.feed.clone(), service.action_feed.clone());
    let signal = async move {
        stop.await;
        feed.stop();
        action_feed.stop();
        health
            .set_service_status("", tonic_health::ServingStatus::NotServing)
            .await;
        tracing::info!("stopping: no new calls are taken");
        stopping.send_replace(true);
    };
    let sessions = SessionServiceServer::new(SessionHandler::new(service.clone()))
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let pupils = PupilServiceServer::new(PupilHandler::new(service.clone()))
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let server = Server::builder()
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .initial_stream_window_size(CONNECTION_WINDOW_BYTES)
        .trace_fn(|request| {
            let mut path = request.uri().path().trim_start_matches('/').splitn(2, '/');
            let (service, method) = (path.next().unwrap_or(""), path.next().unwrap_or(""));
            tracing::info_span!(
                "rpc",
                otel.name = request.uri().path().trim_start_matches('/'),
                otel.kind = "server",
                rpc.system = "grpc",
                rpc.service = service,
                rpc.method = method
            )
        })
        .add_service(health_service)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?)
        .add_service(AdminServiceServer::new(AdminHandler::new(service.clone())))
        .add_service(pupils)
        .add_service(sessions)
        .add_service(StageServiceServer::new(StageHandler::new(service.clone())))
        .add_service(CaseFileServiceServer::new(CaseFileHandler::new(service.clone())))
        .add_service(ActionServiceServer::new(ActionHandler::new(service)));
    // Answers are small: none waits for the acknowledgement of the one before.
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let serving = server.serve_with_incoming_shutdown(incoming, signal);
    let overdue = async move {
        // Fails only where the sender is gone, and then the server has ended.
        let _ = stopped.wait_for(|stopped| *stopped).await;
        tokio::time::sleep(STREAMS_END_WITHIN).await;
    };
    let ended = tokio::select! {
        ended = serving => ended,
        () = overdue => {
            tracing::warn!("streams that did not end in time are cut");
            Ok(())
        }
    };
    roll_over.abort();
    Ok(ended?)
}

/// Sees to it that every trust's stages are of today soon after midnight (whoever reads a stage before that sees to it for
/// their trust), and that no job stays unfinished.
async fn keep_rolling_over(service: Service) {
    let mut look = tokio::time::interval(DAY_LOOKED_AT_EVERY);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        look.tick().await;
        if let Err(error) = service.roll_over_every_trust().await {
            tracing::warn!(error = %error, "the roll-over failed: it is tried again soon, and before any stage is read");
        }
        if let Err(error) = service.run_unfinished_jobs().await {
            tracing::warn!(error = %error, "unfinished jobs could not be looked for: they are soon");
        }
    }
}
