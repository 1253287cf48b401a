//! Calls whose messages are JSON, through the port.

use std::collections::HashMap;

use futures::{StreamExt as _, stream};
use graduated_response::proto::DESCRIPTORS;
use prost::Message as _;
use prost::bytes::{Buf, BufMut};
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, MethodDescriptor, SerializeOptions};
use serde_json::Value;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Request, Status};

use crate::common::World;

pub const PACKAGE: &str = "graduated_response.v1";

/// A call that the documentation shows.
pub struct Example {
    /// The service and the method: `PupilService/GetPupil`.
    pub call: String,
    /// What it is for, in a sentence.
    pub about: &'static str,
    /// What was sent: several messages where the RPC takes a stream.
    pub requests: Vec<Value>,
    /// What was answered: several messages where the RPC answers with a stream.
    pub responses: Vec<Value>,
}

/// The calls, one after the other, of one world.
pub struct Script {
    pub world: World,
    pub examples: Vec<Example>,
    pool: DescriptorPool,
    names: Names,
}

impl Script {
    pub async fn begin(date: &str) -> Script {
        Script {
            world: World::on(date).await,
            examples: Vec::new(),
            pool: DescriptorPool::decode(DESCRIPTORS).unwrap(),
            names: Names::default(),
        }
    }

    /// Every method of the contract, in its order: `PupilService/GetPupil`.
    pub fn methods(&self) -> Vec<String> {
        let services = self.pool.services().filter(|service| service.package_name() == PACKAGE);
        services
            .flat_map(|service| {
                let names = service
                    .methods()
                    .map(|method| format!("{}/{}", service.name(), method.name()));
                names.collect::<Vec<_>>()
            })
            .collect()
    }

    /// Calls a method with one message, and shows it. Returns what it answers first.
    pub async fn show(&mut self, call: &str, about: &'static str, request: Value) -> Value {
        self.show_stream(call, about, vec![request], 1).await.remove(0)
    }

    /// Calls a method with some messages, and shows it with so many of its answers at the most.
    pub async fn show_stream(
        &mut self,
        call: &str,
        about: &'static str,
        requests: Vec<Value>,
        answers: usize,
    ) -> Vec<Value> {
        let responses = self.call(call, &requests, answers).await;
        let named = |values: &[Value], names: &mut Names| values.iter().map(|value| names.of(value)).collect();
        self.examples.push(Example {
            call: call.to_owned(),
            about,
            requests: named(&requests, &mut self.names),
            responses: named(&responses, &mut self.names),
        });
        responses
    }

    /// The same of one message and one answer, of which a field is shown as so many bytes that nobody reads.
    pub async fn show_opaque(&mut self, call: &str, about: &'static str, request: Value, field: &str) {
        self.show(call, about, request).await;
        let shown = self
            .examples
            .last_mut()
            .and_then(|example| example.responses.first_mut());
        shown.unwrap()[field] = Value::String("eyJmb3JtYXQiOi…".to_owned());
    }

    /// Calls a method with some messages.
    pub async fn call(&self, call: &str, requests: &[Value], answers: usize) -> Vec<Value> {
        let method = self.method(call);
        let read = |request: &Value| {
            DynamicMessage::deserialize(method.input(), request).unwrap_or_else(|error| panic!("{call}: {error}"))
        };
        let requests: Vec<DynamicMessage> = requests.iter().map(read).collect();
        let mut client = Grpc::new(self.world.channel.clone());
        client.ready().await.unwrap();
        let path: PathAndQuery = format!("/{PACKAGE}.{call}").parse().unwrap();
        let codec = Dynamic(method.output());
        let answer = client
            .streaming(Request::new(stream::iter(requests)), path, codec)
            .await;
        let answer = answer.unwrap_or_else(|status| panic!("{call}: {status}"));
        let messages = answer.into_inner().take(answers).map(|message| {
            let message = message.unwrap_or_else(|status| panic!("{call}: {status}"));
            let options = SerializeOptions::new().use_proto_field_name(true);
            message
                .serialize_with_options(serde_json::value::Serializer, &options)
                .unwrap()
        });
        messages.collect().await
    }

    fn method(&self, call: &str) -> MethodDescriptor {
        let (service, name) = call.split_once('/').unwrap();
        let service = self.pool.get_service_by_name(&format!("{PACKAGE}.{service}")).unwrap();
        let method = service.methods().find(|method| method.name() == name);
        method.unwrap_or_else(|| panic!("the contract has no {call}"))
    }
}

/// Names in place of what differs from one run to the next: identifiers, etags, tokens, and the time of day.
#[derive(Default)]
struct Names {
    uuids: HashMap<String, String>,
    opaque: HashMap<String, String>,
}

/// The length of a UUID's text.
const UUID: usize = 36;

impl Names {
    fn of(&mut self, value: &Value) -> Value {
        match value {
            Value::Object(fields) => {
                let fields = fields
                    .iter()
                    .map(|(name, value)| (name.clone(), self.of_field(name, value)));
                Value::Object(fields.collect())
            }
            Value::Array(values) => Value::Array(values.iter().map(|value| self.of(value)).collect()),
            Value::String(text) => Value::String(self.of_text(text)),
            other => other.clone(),
        }
    }

    fn of_field(&mut self, name: &str, value: &Value) -> Value {
        let kind = ["etag", "cursor", "token"]
            .into_iter()
            .find(|kind| name.ends_with(kind));
        match (kind, value) {
            (Some(kind), Value::String(text)) if !text.is_empty() => {
                let next = format!("{kind}-{}", self.opaque.len() + 1);
                Value::String(self.opaque.entry(text.clone()).or_insert(next).clone())
            }
            (_, Value::String(text)) if name.ends_with("_at") && text.ends_with('Z') => {
                // The clock goes on while the test runs.
                Value::String(format!("{}T12:00:00Z", &text[..10]))
            }
            (_, other) => self.of(other),
        }
    }

    /// A text with every UUID that is not one of the script's own replaced.
    fn of_text(&mut self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while !rest.is_empty() {
            let found = rest.get(..UUID).filter(|text| uuid::Uuid::try_parse(text).is_ok());
            if let Some(found) = found {
                let next = format!("5c3f0000-0000-4000-8000-{:012}", self.uuids.len() + 1);
                out.push_str(self.uuids.entry(found.to_owned()).or_insert(next));
                rest = &rest[UUID..];
            } else {
                let end = rest.chars().next().map_or(0, char::len_utf8);
                out.push_str(&rest[..end]);
                rest = &rest[end..];
            }
        }
        out
    }
}

/// Messages that are known by their descriptors alone.
#[derive(Clone)]
pub struct Dynamic(pub MessageDescriptor);

impl Codec for Dynamic {
    type Encode = DynamicMessage;
    type Decode = DynamicMessage;
    type Encoder = Dynamic;
    type Decoder = Dynamic;

    fn encoder(&mut self) -> Dynamic {
        self.clone()
    }

    fn decoder(&mut self) -> Dynamic {
        self.clone()
    }
}

impl Encoder for Dynamic {
    type Item = DynamicMessage;
    type Error = Status;

    fn encode(&mut self, message: DynamicMessage, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(message.encode_to_vec().as_slice());
        Ok(())
    }
}

impl Decoder for Dynamic {
    type Item = DynamicMessage;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<DynamicMessage>, Status> {
        let bytes = buffer.copy_to_bytes(buffer.remaining());
        let message = DynamicMessage::decode(self.0.clone(), bytes);
        message.map(Some).map_err(|error| Status::internal(error.to_string()))
    }
}
