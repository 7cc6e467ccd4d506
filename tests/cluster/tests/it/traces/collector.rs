//! A collector of OpenTelemetry, as far as it receives traces: OTLP over gRPC.

use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::{KeyValue, any_value::Value},
    trace::v1,
};
use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tonic::{Request, Response, Status, transport::Server};

/// How it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// It takes everything.
    Takes,
    /// It takes the call and wants none of the spans.
    Rejects,
    /// It refuses the call.
    Refuses,
    /// It never answers.
    Sleeps,
}

/// A span that was received.
#[derive(Debug, Clone)]
pub(super) struct Span {
    /// The program that it comes from.
    pub(super) service: String,
    pub(super) span: v1::Span,
}

impl Span {
    /// An attribute, as text.
    pub(super) fn attribute(&self, key: &str) -> Option<String> {
        text_of(&self.span.attributes, key)
    }
}

fn text_of(attributes: &[KeyValue], key: &str) -> Option<String> {
    let attribute = attributes.iter().find(|attribute| attribute.key == key)?;
    let value = attribute.value.as_ref()?.value.as_ref()?;
    if let Value::StringValue(text) = value {
        return Some(text.clone());
    }
    let Value::IntValue(number) = value else { panic!("{key} is {value:?}") };
    Some(number.to_string())
}

/// See the module. It ends when it is dropped.
#[derive(Debug)]
pub(super) struct Collector {
    address: SocketAddr,
    received: Arc<Mutex<Vec<Span>>>,
    _serving: JoinSet<()>,
}

impl Collector {
    pub(super) async fn start(manner: Manner) -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), manner).await
    }

    pub(super) async fn start_at(address: SocketAddr, manner: Manner) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let received = Arc::new(Mutex::new(Vec::new()));
        let service = TraceServiceServer::new(Receiver { manner, received: received.clone() });
        let incoming = futures_util::stream::unfold(listener, |listener| async {
            let accepted: io::Result<TcpStream> = listener.accept().await.map(|(stream, _)| stream);
            Some((accepted, listener))
        });
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            Server::builder().serve_with_incoming(service, incoming).await.unwrap();
        });
        Self { address, received, _serving: serving }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it has received.
    pub(super) fn spans(&self) -> Vec<Span> {
        self.received.lock().unwrap().clone()
    }
}

struct Receiver {
    manner: Manner,
    received: Arc<Mutex<Vec<Span>>>,
}

#[tonic::async_trait]
impl TraceService for Receiver {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut spans = Vec::new();
        for of_resource in request.into_inner().resource_spans {
            let service = text_of(&of_resource.resource.unwrap().attributes, "service.name").unwrap();
            for span in of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                spans.push(Span { service: service.clone(), span });
            }
        }
        let rejected_spans = spans.len() as i64;
        let answer = match self.manner {
            Manner::Takes => ExportTraceServiceResponse::default(),
            Manner::Rejects => ExportTraceServiceResponse {
                partial_success: Some(ExportTracePartialSuccess {
                    rejected_spans,
                    error_message: "none of these".to_owned(),
                }),
            },
            Manner::Refuses => return Err(Status::unavailable("not today")),
            Manner::Sleeps => std::future::pending().await,
        };
        self.received.lock().unwrap().extend(spans);
        Ok(Response::new(answer))
    }
}
