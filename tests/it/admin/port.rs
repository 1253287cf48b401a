//! What every gRPC tool finds at the port: health and reflection.

use graduated_response::proto::DESCRIPTORS;
use prost::Message as _;
use prost_types::{FileDescriptorProto, FileDescriptorSet};
use tokio_stream::StreamExt as _;
use tonic::Code;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use crate::common::World;

const SERVICES: [&str; 6] = [
    "graduated_response.v1.ActionService",
    "graduated_response.v1.AdminService",
    "graduated_response.v1.CaseFileService",
    "graduated_response.v1.PupilService",
    "graduated_response.v1.SessionService",
    "graduated_response.v1.StageService",
];

async fn reflect(world: &World, asked: MessageRequest) -> MessageResponse {
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(asked),
    };
    let answers = ServerReflectionClient::new(world.channel.clone())
        .server_reflection_info(tokio_stream::iter([request]))
        .await
        .unwrap();
    let answer = answers.into_inner().next().await.unwrap().unwrap();
    answer.message_response.unwrap()
}

#[tokio::test]
async fn each_service_and_the_server_as_a_whole_say_that_they_serve() {
    let world = World::on("2025-09-01").await;
    let mut health = HealthClient::new(world.channel.clone());
    for service in SERVICES.into_iter().chain([""]) {
        let request = HealthCheckRequest {
            service: service.into(),
        };
        let serving = HealthCheckResponse {
            status: ServingStatus::Serving.into(),
        };
        assert_eq!(health.check(request).await.unwrap().into_inner(), serving, "{service}");
    }
    let request = HealthCheckRequest {
        service: "graduated_response.v1.NoService".into(),
    };
    assert_eq!(health.check(request).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn reflection_lists_the_six_services_beside_health_and_itself() {
    let world = World::on("2025-09-01").await;
    let MessageResponse::ListServicesResponse(listed) =
        reflect(&world, MessageRequest::ListServices(String::new())).await
    else {
        panic!("no list");
    };
    let mut listed: Vec<String> = listed.service.into_iter().map(|service| service.name).collect();
    listed.sort();
    let (ours, others): (Vec<String>, Vec<String>) = listed
        .into_iter()
        .partition(|name| name.starts_with("graduated_response."));
    assert_eq!(ours, SERVICES);
    assert!(others.contains(&"grpc.health.v1.Health".to_owned()), "{others:?}");
}

#[tokio::test]
async fn reflection_describes_every_service_with_every_method_of_the_contract() {
    let world = World::on("2025-09-01").await;
    let contract = FileDescriptorSet::decode(DESCRIPTORS).unwrap();
    for service in SERVICES {
        let asked = MessageRequest::FileContainingSymbol(service.to_owned());
        let MessageResponse::FileDescriptorResponse(files) = reflect(&world, asked).await else {
            panic!("{service} is not described");
        };
        let file = FileDescriptorProto::decode(files.file_descriptor_proto[0].as_slice()).unwrap();
        let expected = contract.file.iter().find(|there| there.name == file.name).unwrap();
        assert_eq!(file.service, expected.service, "{service}");
        assert!(!file.service[0].method.is_empty());
    }
}
