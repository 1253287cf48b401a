//! Judging an academic year that is over, where something in it was written of late.

use std::collections::HashMap;

use uuid::Uuid;

use super::{Judging, RECORDS_AT_ONCE, reached_in};
use crate::domain::assessment::Assessment;
use crate::domain::identifiers::TrustId;
use crate::domain::record::PupilRecord;
use crate::domain::session::AcademicYear;
use crate::service::ServiceError;
use crate::store::episodes::{self, RaisedEpisode};
use crate::store::stages::{StageRow, Transition};
use crate::store::{StoreError, TrustTransaction, records};

impl Judging {
    /// Judges an earlier academic year anew, as at its end, of pupils who are locked and of whom something in it was written.
    /// Stages whose provisions were raised in its episodes and that turn out never to have been reached are taken back, and those
    /// that had been taken back and were reached after all stand again. Nothing is raised anew, since the year is over, and the
    /// stage of today stays. Comes after today was judged.
    pub(in crate::service) async fn judge_earlier_year(
        &mut self,
        transaction: &mut TrustTransaction,
        trust: TrustId,
        year: AcademicYear,
        rows: &[StageRow],
    ) -> Result<(), ServiceError> {
        for rows in rows.chunks(RECORDS_AT_ONCE) {
            let pupils: Vec<Uuid> = rows.iter().map(|row| row.pupil_id).collect();
            let mut raised: HashMap<Uuid, Vec<RaisedEpisode>> = HashMap::new();
            for episode in episodes::of_year(transaction, trust, &pupils, year).await? {
                raised.entry(episode.pupil_id).or_default().push(episode);
            }
            let rows: Vec<&StageRow> = rows.iter().filter(|row| raised.contains_key(&row.pupil_id)).collect();
            if rows.is_empty() {
                continue;
            }
            let pupils: Vec<Uuid> = rows.iter().map(|row| row.pupil_id).collect();
            let found = records::records_of(transaction, trust, &pupils, &[year]).await?;
            let records: HashMap<Uuid, PupilRecord<'static>> = found.into_iter().collect();
            let held = rows.iter().filter(|row| row.has_holds).map(|row| row.pupil_id);
            let held: Vec<Uuid> = held.collect();
            self.load_rules(transaction, trust, &held, records.values()).await?;
            let none = PupilRecord::default();
            for row in rows {
                let record = records.get(&row.pupil_id).unwrap_or(&none);
                let assessment = self.assess_on(row.pupil_id, record, year.last_day());
                let raised = raised.get(&row.pupil_id).map_or(&[][..], Vec::as_slice);
                self.take_earlier_year(row, raised, &assessment)?;
            }
        }
        Ok(())
    }

    fn take_earlier_year(
        &mut self,
        row: &StageRow,
        raised: &[RaisedEpisode],
        assessment: &Assessment,
    ) -> Result<(), StoreError> {
        for (episode, reached) in reached_in(raised, assessment) {
            let number = i16::from(reached.number());
            if episode.taken_back.iter().any(|stage| *stage <= number) {
                self.episodes.restored.push((row.pupil_id, episode.episode, number));
            }
            if number >= episode.raised_to {
                continue;
            }
            let judged = self.rows.iter().position(|judged| judged.pupil_id == row.pupil_id);
            let mut now = judged.map_or_else(|| row.clone(), |place| self.rows[place].clone());
            let of_latest = self.retract(&mut now, &[(episode.episode, reached)]);
            let stage = now.stage()?;
            self.transitions.push(Transition {
                pupil_id: row.pupil_id,
                from: stage,
                to: stage,
                year: assessment.year,
                effective_on: episode.started_on,
                tally: assessment.tally,
                episode: episode.episode,
                cause: self.cause_of(row.pupil_id),
                policy_version: assessment.policy_version,
                retracted_to: Some(reached),
                hold_id: None,
            });
            match (of_latest, judged) {
                (None, _) => {}
                (Some(_), Some(place)) => self.rows[place] = now,
                (Some(_), None) => self.rows.push(now),
            }
        }
        Ok(())
    }
}
