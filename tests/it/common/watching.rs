//! Those who watch transitions, and pupils who move whenever they are told to.

use std::time::Duration;

use graduated_response::domain::identifiers::TrustId;
use graduated_response::proto as pb;
use graduated_response::proto::stage_service_client::StageServiceClient;
use graduated_response::proto::watch_transitions_response::Event;
use graduated_response::service::feed::{cursor_text, parse_cursor};
use graduated_response::service::transitions::Transitions;
use graduated_response::store::feeds::Place;
use tonic::transport::{Channel, Endpoint};
use tonic::{Status, Streaming};

use super::World;
use super::world::{at, enrolment, item, pupil_input};

/// For how long a test waits for what has to come: long after anything that works has answered.
const PATIENCE: Duration = Duration::from_secs(60);

/// A stream of transitions.
pub struct Watching(Streaming<pb::WatchTransitionsResponse>);

impl Watching {
    /// The next message; nothing where the stream ended well.
    pub async fn try_event(&mut self) -> Result<Option<Event>, Status> {
        let message = tokio::time::timeout(PATIENCE, self.0.message()).await;
        let message = message.expect("the stream is silent")?;
        Ok(message.map(|message| message.event.expect("a message without an event")))
    }

    /// The next message.
    pub async fn event(&mut self) -> Event {
        self.try_event().await.unwrap().expect("the stream ended")
    }

    /// The next transitions; heartbeats are passed over.
    pub async fn page(&mut self) -> Vec<pb::Transition> {
        loop {
            match self.event().await {
                Event::TransitionPage(page) => return page.transitions,
                Event::Heartbeat(_) => {}
                other => panic!("{other:?} is neither transitions nor a heartbeat"),
            }
        }
    }

    /// The next so many transitions.
    pub async fn transitions(&mut self, count: usize) -> Vec<pb::Transition> {
        let mut found = Vec::new();
        while found.len() < count {
            found.extend(self.page().await);
        }
        assert_eq!(found.len(), count);
        found
    }

    /// The cursor of the heartbeat with which a stream begins.
    pub async fn opening(&mut self) -> String {
        self.heartbeat().await.cursor
    }

    /// The next message, which has to be a heartbeat.
    pub async fn heartbeat(&mut self) -> pb::WatchHeartbeat {
        match self.event().await {
            Event::Heartbeat(heartbeat) => heartbeat,
            other => panic!("{other:?} is no heartbeat"),
        }
    }

    /// The stages of the snapshot with which a stream begins, and its end.
    pub async fn snapshot(&mut self) -> (Vec<pb::SnapshotStage>, pb::SnapshotComplete) {
        let mut stages = Vec::new();
        loop {
            match self.event().await {
                Event::SnapshotPage(page) => stages.extend(page.stages),
                Event::SnapshotComplete(complete) => return (stages, complete),
                other => panic!("{other:?} in a snapshot"),
            }
        }
    }
}

/// A request to watch the trust of a world.
pub fn watch_request(trust_id: &str, start: pb::WatchStart) -> pb::WatchTransitionsRequest {
    pb::WatchTransitionsRequest {
        trust_id: trust_id.into(),
        start: start.into(),
        ..pb::WatchTransitionsRequest::default()
    }
}

impl World {
    /// Watches.
    pub async fn try_watch(&self, request: pb::WatchTransitionsRequest) -> Result<Watching, Status> {
        Ok(Watching(self.stages().watch_transitions(request).await?.into_inner()))
    }

    /// Watches the trust.
    pub async fn watch(&self, start: pb::WatchStart) -> Watching {
        self.try_watch(watch_request(&self.trust_id, start)).await.unwrap()
    }

    /// Watches the trust from a cursor.
    pub async fn try_watch_after(&self, cursor: &str) -> Result<Watching, Status> {
        let request = pb::WatchTransitionsRequest {
            cursor: cursor.into(),
            ..watch_request(&self.trust_id, pb::WatchStart::Cursor)
        };
        self.try_watch(request).await
    }

    /// The same, and expects it to be taken.
    pub async fn watch_after(&self, cursor: &str) -> Watching {
        self.try_watch_after(cursor).await.unwrap()
    }

    /// Watches over a connection that takes no more than 64 KiB before they are read.
    pub async fn watch_narrowly(&self, request: pb::WatchTransitionsRequest) -> Watching {
        let endpoint = Endpoint::from_shared(self.endpoint.clone())
            .unwrap()
            .initial_stream_window_size(65_535)
            .initial_connection_window_size(65_535);
        let mut client: StageServiceClient<Channel> = StageServiceClient::new(endpoint.connect().await.unwrap());
        Watching(client.watch_transitions(request).await.unwrap().into_inner())
    }

    /// Where the feed can be watched from.
    pub async fn feed(&self) -> pb::GetTransitionFeedResponse {
        let request = pb::GetTransitionFeedRequest {
            trust_id: self.trust_id.clone(),
        };
        self.stages().get_transition_feed(request).await.unwrap().into_inner()
    }

    /// Every transition of the trust, in the order of the feed.
    pub async fn every_transition(&self) -> Vec<pb::Transition> {
        let mut all = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = pb::ListTransitionsRequest {
                trust_id: self.trust_id.clone(),
                page_size: 1000,
                page_token,
                ..pb::ListTransitionsRequest::default()
            };
            let page = self.stages().list_transitions(request).await.unwrap().into_inner();
            all.extend(page.transitions);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                all.reverse();
                return all;
            }
        }
    }

    /// Where a cursor of the trust stands.
    pub fn position(&self, cursor: &str) -> i64 {
        parse_cursor::<Transitions>("cursor", self.trust(), cursor)
            .unwrap()
            .position
    }

    /// The cursor of a place that the trust's feed need not have.
    pub fn cursor_of(&self, place: Place) -> String {
        cursor_text::<Transitions>(self.trust(), place)
    }

    fn trust(&self) -> TrustId {
        TrustId(self.trust_id.parse().unwrap())
    }

    /// Makes pupils at a school who attended twenty sessions from 8 to 19 September 2025, so that the first of these decides
    /// between stage U and stage 1. All are at U.
    pub async fn movable_pupils(&self, name: &str, school: &str, count: usize) -> Vec<String> {
        let sole = [enrolment(school, pb::EnrolmentKind::Sole, "2025-09-01", "")];
        let names: Vec<String> = (0..count).map(|number| format!("{name}{number}")).collect();
        let inputs = names.iter().map(|name| pupil_input(name, &sole)).collect();
        let pupils = self.upsert(inputs).await.unwrap().pupil_ids;
        let run = super::world::school_days("2025-09-08", "2025-09-19", "/", "\\");
        let items = pupils
            .iter()
            .map(|pupil| item(pupil, at("2025-09-08", "AM"), &run))
            .collect();
        assert_eq!(self.try_record(items).await.unwrap().rejections, []);
        pupils
    }

    /// Moves such pupils to stage 1, or back to stage U, in one batch.
    pub async fn move_pupils(&self, pupils: &[String], to_one: bool) {
        let mark = if to_one { "O" } else { "/" };
        let first = at("2025-09-08", "AM");
        let items = pupils.iter().map(|pupil| item(pupil, first, mark)).collect();
        let result = self.try_record(items).await.unwrap();
        assert_eq!(
            (result.rejected, result.transitions),
            (0, i32::try_from(pupils.len()).unwrap())
        );
    }
}
