//! Personal data is in no log, span or error: every RPC is called with words that are looked for everywhere afterwards.

use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::{StreamExt as _, stream};
use graduated_response::proto::{self as pb, DESCRIPTORS};
use graduated_response::telemetry::is_free_of_values;
use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor, ReflectMessage, Value,
};
use tonic::client::Grpc;
use tonic::{Request, Status};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use super::marked::is_personal;
use crate::common::World;
use crate::common::world::{at, by_id, enrolment, person, pupil_input, school_days};
use crate::examples::call::{Dynamic, PACKAGE};

/// In no other word.
const CANARY: &str = "Kanarienvogel";

/// Whatever is told, as text: it looks at every field of every event and span.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<String>>);

struct Words<'a>(&'a mut String);

impl Visit for Words<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        writeln!(self.0, "  {field}={value:?}").unwrap();
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        writeln!(self.0, "  {field}={value}").unwrap();
    }
}

impl<S: Subscriber> Layer<S> for Told {
    fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        let mut told = self.0.lock().unwrap();
        writeln!(
            told,
            "span {} {}",
            attributes.metadata().target(),
            attributes.metadata().name()
        )
        .unwrap();
        attributes.record(&mut Words(&mut told));
    }

    fn on_record(&self, _: &Id, values: &Record<'_>, _: Context<'_, S>) {
        values.record(&mut Words(&mut self.0.lock().unwrap()));
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut told = self.0.lock().unwrap();
        writeln!(told, "event {}", event.metadata().target()).unwrap();
        event.record(&mut Words(&mut told));
    }
}

/// Where a text has the canary, with what stands around it.
fn seen(text: &str) -> Option<String> {
    let at = text.find(CANARY)?;
    let from = text[..at].char_indices().rev().nth(300).map_or(0, |(place, _)| place);
    Some(text[from..].chars().take(400).collect())
}

/// What a personal text holds: fit for its field, too long, with a character that cannot be stored, or of the wrong form.
#[derive(Clone, Copy, Debug)]
enum Form {
    Fit,
    TooLong,
    Null,
    Spaced,
}

const KINDS: [Form; 4] = [Form::Fit, Form::TooLong, Form::Null, Form::Spaced];

fn personal(kind: Form, number: usize) -> String {
    match kind {
        Form::Fit => format!("{CANARY}{number}"),
        Form::TooLong => format!("{CANARY}{number} ").repeat(2_000),
        Form::Null => format!("{CANARY}\0{number}"),
        Form::Spaced => format!("  {CANARY} ' \" {{}} % \n {number}"),
    }
}

/// What the other fields hold.
struct Known {
    trust_id: String,
    pupil_id: String,
    action: String,
}

impl Known {
    fn text(&self, message: &MessageDescriptor, field: &str) -> String {
        match field {
            "trust_id" => self.trust_id.clone(),
            "etag" | "page_token" | "request_id" | "cursor" | "enrolment_id" => String::new(),
            "school" | "from_school" | "to_school" | "urn" => "100001".to_owned(),
            "pupil_id" | "survivor_id" | "merged_id" => self.pupil_id.clone(),
            "name" | "action" if message.name() != "CreateTrustRequest" && message.name() != "School" => {
                self.action.clone()
            }
            "provision_id" | "retire" => "1-01".to_owned(),
            _ if field.ends_with("_id") => uuid::Uuid::new_v4().to_string(),
            _ => "ordinary".to_owned(),
        }
    }

    /// A message with something in every field, each choice taken by turns.
    fn message(&self, of: &MessageDescriptor, kind: Form, turn: usize, depth: usize) -> DynamicMessage {
        let mut message = DynamicMessage::new(of.clone());
        if of.full_name() == "google.protobuf.FieldMask" {
            return message;
        }
        for field in of.fields() {
            if let Some(choice) = field.containing_oneof().filter(|choice| !choice.is_synthetic()) {
                let fields: Vec<FieldDescriptor> = choice.fields().collect();
                if fields[turn % fields.len()].number() != field.number() {
                    continue;
                }
            }
            let Some(value) = self.value(of, &field, kind, turn, depth) else {
                continue;
            };
            let value = if field.is_list() {
                Value::List(vec![value])
            } else {
                value
            };
            message.set_field(&field, value);
        }
        message
    }

    fn value(
        &self,
        of: &MessageDescriptor,
        field: &FieldDescriptor,
        kind: Form,
        turn: usize,
        depth: usize,
    ) -> Option<Value> {
        if field.is_map() || depth > 5 {
            return None;
        }
        Some(match field.kind() {
            Kind::String if is_personal(field) => Value::String(personal(kind, turn)),
            Kind::String => Value::String(self.text(of, field.name())),
            Kind::Bytes => Value::Bytes(format!("{CANARY} is no calendar").into_bytes().into()),
            Kind::Message(inner) if inner.full_name() == "google.type.Date" => {
                let mut date = DynamicMessage::new(inner);
                let month = if turn.is_multiple_of(2) { 10 } else { 13 };
                for (part, number) in [("year", 2025), ("month", month), ("day", 2)] {
                    date.set_field_by_name(part, Value::I32(number));
                }
                Value::Message(date)
            }
            Kind::Message(inner) => Value::Message(self.message(&inner, kind, turn, depth + 1)),
            Kind::Enum(of) => Value::EnumNumber(of.values().nth(1 + turn % (of.values().len() - 1))?.number()),
            Kind::Bool => Value::Bool(turn.is_multiple_of(3)),
            Kind::Int32 => Value::I32(2),
            Kind::Int64 => Value::I64(2),
            Kind::Uint32 => Value::U32(2),
            Kind::Uint64 => Value::U64(2),
            _ => return None,
        })
    }
}

async fn call(
    world: &World,
    method: &MethodDescriptor,
    request: DynamicMessage,
) -> Result<Vec<DynamicMessage>, Status> {
    let mut client = Grpc::new(world.channel.clone()).max_encoding_message_size(64 << 20);
    client.ready().await.unwrap();
    let path = format!("/{PACKAGE}.{}/{}", method.parent_service().name(), method.name());
    let codec = Dynamic(method.output());
    let messages = Request::new(stream::iter([request]));
    let answer = client.streaming(messages, path.parse().unwrap(), codec).await?;
    let mut answers = answer.into_inner();
    let mut read = Vec::new();
    // Those that watch something do not end.
    while let Ok(Some(answer)) = tokio::time::timeout(Duration::from_millis(500), answers.next()).await {
        read.push(answer?);
        if read.len() == 20 {
            break;
        }
    }
    Ok(read)
}

/// Fields that are not marked and hold the canary all the same.
fn leaks(message: &DynamicMessage, into: &mut Vec<String>) {
    fn look(name: &str, personal: bool, value: &Value, into: &mut Vec<String>) {
        match value {
            Value::String(text) if !personal && text.contains(CANARY) => into.push(name.to_owned()),
            Value::Message(message) => leaks(message, into),
            Value::List(values) => values.iter().for_each(|value| look(name, personal, value, into)),
            _ => {}
        }
    }
    for (field, value) in message.fields() {
        let name = format!("{}.{}", message.descriptor().name(), field.name());
        look(&name, is_personal(&field), value, into);
    }
}

/// Everything runs on the test's own thread, where whatever is told is heard.
#[tokio::test]
async fn no_name_identifier_or_word_that_somebody_wrote_is_in_a_log_a_span_or_an_error() {
    let told = Told::default();
    // With a second subscriber about, what is told is asked of both: with one alone, a thread of another test that comes first
    // to a place that tells something would have it silent for all.
    let _another = tracing::Dispatch::new(tracing_subscriber::registry());
    let _heard = tracing_subscriber::registry()
        .with(filter_fn(is_free_of_values))
        .with(told.clone())
        .set_default();
    let world = World::on("2025-10-01").await;
    world.school("100001").await;
    let input = pb::PupilInput {
        given_name: format!("{CANARY}given"),
        family_name: format!("{CANARY}family"),
        upn: "Q999100125001".into(),
        ..pupil_input(
            &format!("{CANARY}mis"),
            &[enrolment("100001", pb::EnrolmentKind::Sole, "2025-09-01", "")],
        )
    };
    let pupil_id = world.upsert(vec![input]).await.unwrap().pupil_ids.remove(0);
    world
        .record(
            &pupil_id,
            at("2025-09-01", "AM"),
            &school_days("2025-09-01", "2025-09-26", "O", "O"),
        )
        .await;
    let action = world.actions_of(&pupil_id).await.remove(0).name;
    let note = pb::AddActionEntryRequest {
        trust_id: world.trust_id.clone(),
        name: action.clone(),
        entry: Some(pb::add_action_entry_request::Entry::Note(pb::Note {
            text: format!("{CANARY}note"),
        })),
        recorded_by: Some(person()),
        ..pb::AddActionEntryRequest::default()
    };
    world.actions().add_action_entry(note).await.unwrap();
    assert_eq!(world.stage(&pupil_id).await.stage(), pb::Stage::Five);
    let _ = world.try_stage(by_id(&pupil_id)).await.unwrap();

    let known = Known {
        trust_id: world.trust_id.clone(),
        pupil_id,
        action,
    };
    let pool = DescriptorPool::decode(DESCRIPTORS).unwrap();
    let (mut answered, mut refused) = (0, 0);
    let services = pool.services().filter(|service| service.package_name() == PACKAGE);
    let methods: Vec<MethodDescriptor> = services
        .flat_map(|service| service.methods().collect::<Vec<_>>())
        .collect();
    assert!(methods.len() > 80);
    for method in &methods {
        for (turn, kind) in KINDS.into_iter().cycle().take(12).enumerate() {
            let request = known.message(&method.input(), kind, turn, 0);
            match call(&world, method, request).await {
                Ok(answers) => {
                    answered += 1;
                    let mut found = Vec::new();
                    answers.iter().for_each(|answer| leaks(answer, &mut found));
                    assert!(found.is_empty(), "{}: not marked: {found:?}", method.name());
                }
                Err(status) => {
                    refused += 1;
                    let details = String::from_utf8_lossy(status.details());
                    let shown = seen(status.message()).or_else(|| seen(&details));
                    assert_eq!(shown, None, "{} with {kind:?}", method.name());
                }
            }
        }
        let heard = std::mem::take(&mut *told.0.lock().unwrap());
        assert_eq!(seen(&heard), None, "{}", method.name());
        assert!(
            heard.contains(method.name()),
            "{}: its span is heard: {heard}",
            method.name()
        );
    }
    assert!(answered > 50 && refused > 300, "{answered} answered, {refused} refused");
}
