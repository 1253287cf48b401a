//! Logs, and traces to OpenTelemetry where an endpoint is given.

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::WithExportConfig as _;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Level;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

/// The driver of the database logs the values of every statement below `info`, and with them names and UPNs.
const LOGS_VALUES: &str = "tokio_postgres";

/// Whether what a module says at a level holds no values of statements: what is not so is never told, whatever the filter says.
pub fn is_free_of_values(metadata: &tracing::Metadata<'_>) -> bool {
    *metadata.level() <= Level::INFO || !metadata.target().starts_with(LOGS_VALUES)
}

/// How the service tells what it does.
#[derive(clap::Args, Clone, Debug)]
pub struct TelemetryArgs {
    /// What to log, as a filter of levels and modules, for example `info` or `warn,graduated_response=debug`. Personal data
    /// is not logged at any level.
    #[arg(
        long,
        env = "GRADUATED_RESPONSE_LOG",
        default_value = "warn,graduated_response=info",
        global = true
    )]
    pub log: String,
    /// Log lines of JSON, for machines, in place of lines for people.
    #[arg(long, env = "GRADUATED_RESPONSE_LOG_JSON", global = true)]
    pub log_json: bool,
    /// Send traces to this OTLP endpoint over gRPC, for example `http://localhost:4317`.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL", global = true)]
    pub otlp_endpoint: Option<String>,
}

/// Why telemetry could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter of levels and modules cannot be read.
    #[error("--log is not a filter of levels and modules: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// The exporter of traces cannot be built.
    #[error("traces cannot be exported: {0}")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
    /// Something else has taken the process's logs already.
    #[error("logs cannot be set up: {0}")]
    Taken(#[from] tracing_subscriber::util::TryInitError),
}

/// Sends what is left when it is dropped.
#[derive(Debug, Default)]
pub struct Telemetry {
    provider: Option<SdkTracerProvider>,
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        if let Some(provider) = &self.provider {
            // What cannot be exported is not worth holding up the end.
            let _ = provider.shutdown();
        }
    }
}

/// Sets up logs to standard error, and traces where an endpoint is given.
pub fn init(args: &TelemetryArgs) -> Result<Telemetry, TelemetryError> {
    let provider = match &args.otlp_endpoint {
        None => None,
        Some(endpoint) => {
            let exporter = opentelemetry_otlp::SpanExporter::builder()
                .with_tonic()
                .with_endpoint(endpoint)
                .build()?;
            let resource = Resource::builder().with_service_name("graduated-response").build();
            let provider = SdkTracerProvider::builder()
                .with_batch_exporter(exporter)
                .with_resource(resource);
            Some(provider.build())
        }
    };
    let traces = provider
        .as_ref()
        .map(|provider| tracing_opentelemetry::layer().with_tracer(provider.tracer("graduated-response")));
    let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(colours)
        .with_writer(std::io::stderr);
    let lines = if args.log_json {
        lines.json().boxed()
    } else {
        lines.with_target(false).boxed()
    };
    tracing_subscriber::registry()
        .with(EnvFilter::try_new(&args.log)?)
        .with(filter_fn(is_free_of_values))
        .with(traces)
        .with(lines)
        .try_init()?;
    Ok(Telemetry { provider })
}
