//! The catalogue: the six stages, the sixty provisions that they require, and who is responsible for each.
//!
//! Source: the trust's table *Graduated Response for Improving Pupil Attendance*, as `data/provisions.toml`.

use serde::{Deserialize, Serialize};

use super::action::ActionState;
use super::stage::Stage;

/// Whom a provision is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// A standing offer of the whole school.
    School,
    /// Raised for one pupil who reaches the stage.
    Pupil,
}

/// When a provision applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// Always.
    Always,
    /// Where it is appropriate.
    IfAppropriate,
    /// Where a medical need lowers attendance.
    MedicalNeed,
    /// Where the pupil is too young to make their own choices.
    YoungPupil,
    /// Where a statutory threshold has been reached.
    StatutoryThreshold,
    /// Where it is not already in place.
    NotAlreadyInPlace,
}

impl Condition {
    /// The state in which the provision's action is raised: a condition is for a person to consider.
    pub const fn raised_as(self) -> ActionState {
        match self {
            Condition::Always => ActionState::Open,
            _ => ActionState::ToBeConsidered,
        }
    }
}

/// What sort of thing a provision is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A standing expectation.
    Expectation,
    /// A record to be kept.
    Record,
    /// Contact with the pupil, the family or others.
    Contact,
    /// A meeting.
    Meeting,
    /// Support for the pupil or the family.
    Support,
    /// A review.
    Review,
    /// A plan.
    Plan,
    /// A referral.
    Referral,
    /// A report.
    Report,
    /// An assessment.
    Assessment,
}

/// Who is responsible.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Every member of staff.
    AllStaff,
    /// The class teacher or tutor.
    ClassTeacherOrTutor,
    /// Support staff.
    SupportStaff,
    /// The special educational needs and disabilities coordinator.
    Sendco,
    /// The designated safeguarding lead.
    Dsl,
    /// The attendance officer.
    AttendanceOfficer,
    /// The attendance champion, a senior leader.
    AttendanceChampion,
    /// The local authority.
    LocalAuthority,
    /// The trust.
    Trust,
}

impl Role {
    /// Every role, in the order of the contract's enum.
    pub const ALL: [Role; 9] = [
        Role::AllStaff,
        Role::ClassTeacherOrTutor,
        Role::SupportStaff,
        Role::Sendco,
        Role::Dsl,
        Role::AttendanceOfficer,
        Role::AttendanceChampion,
        Role::LocalAuthority,
        Role::Trust,
    ];
}

/// One stage of the table.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageEntry {
    /// The stage.
    #[serde(rename = "code")]
    pub stage: Stage,
    /// Its name, for example `Early intervention support`.
    pub name: String,
    /// What it means.
    pub summary: String,
    /// The band as the table prints it. For people: the policy's bands decide.
    pub attendance: String,
    /// Who is responsible for its provisions.
    pub responsible: Vec<Role>,
}

/// One provision of the table.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provision {
    /// The stage's code and a number, for example `3-02`.
    pub id: String,
    /// Its title.
    pub title: String,
    /// What is to be in place.
    pub guidance: String,
    /// Whom it is for.
    pub subject: Subject,
    /// What sort of thing it is.
    pub kind: Kind,
    /// When it applies.
    #[serde(rename = "applies")]
    pub condition: Condition,
    /// The review interval that the table names, in days.
    #[serde(default)]
    pub review_days: Option<i16>,
}

impl Provision {
    /// The stage that requires it.
    pub fn stage(&self) -> Option<Stage> {
        Stage::parse(self.id.split('-').next()?)
    }
}

/// The stages and provisions of one version of the table.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalogue {
    /// The stages, in order of need.
    #[serde(rename = "stage")]
    pub stages: Vec<StageEntry>,
    /// The provisions, in the table's order.
    #[serde(rename = "provision")]
    pub provisions: Vec<Provision>,
}

/// A catalogue that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// It is not in the notation of `data/provisions.toml`.
    #[error("the catalogue is not readable: {0}")]
    Unreadable(#[from] toml::de::Error),
    /// A provision names no stage of the catalogue.
    #[error("provision {0} belongs to no stage of the catalogue")]
    NoStage(String),
}

/// A provision with everything that a stage requires of it: as a trust's catalogue holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequiredProvision {
    /// The identifier, for example `3-02`.
    pub id: String,
    /// The stage that requires it.
    pub stage: Stage,
    /// What it is called.
    pub title: String,
    /// What is to be in place.
    pub guidance: String,
    /// Whether it is raised for a pupil or stands for a school.
    pub subject: Subject,
    /// What sort of thing it is.
    pub kind: Kind,
    /// When it applies.
    pub condition: Condition,
    /// The review interval, in days.
    pub review_days: Option<i16>,
    /// Who is responsible.
    pub responsible: Vec<Role>,
}

impl Catalogue {
    /// Its provisions, each with its stage and who is responsible.
    pub fn required(&self) -> Vec<RequiredProvision> {
        let required = self.provisions.iter().filter_map(|provision| {
            Some(RequiredProvision {
                id: provision.id.clone(),
                stage: provision.stage()?,
                title: provision.title.clone(),
                guidance: provision.guidance.clone(),
                subject: provision.subject,
                kind: provision.kind,
                condition: provision.condition,
                review_days: provision.review_days,
                responsible: self.responsible(provision).to_vec(),
            })
        });
        required.collect()
    }

    /// Reads a catalogue in the notation of `data/provisions.toml`.
    pub fn parse(text: &str) -> Result<Catalogue, CatalogueError> {
        let catalogue: Catalogue = toml::from_str(text)?;
        for provision in &catalogue.provisions {
            if catalogue.responsible(provision).is_empty() {
                return Err(CatalogueError::NoStage(provision.id.clone()));
            }
        }
        Ok(catalogue)
    }

    /// The trust's table: six stages, sixty provisions.
    pub fn default_table() -> Result<Catalogue, CatalogueError> {
        Catalogue::parse(include_str!("../../data/provisions.toml"))
    }

    /// Who is responsible for a provision: those of its stage.
    pub fn responsible(&self, provision: &Provision) -> &[Role] {
        let stage = provision.stage();
        self.stages
            .iter()
            .find(|entry| Some(entry.stage) == stage)
            .map_or(&[], |entry| &entry.responsible)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_six_stages_and_sixty_provisions() {
        let catalogue = Catalogue::default_table().unwrap();
        let codes: Vec<_> = catalogue.stages.iter().map(|entry| entry.stage).collect();
        assert_eq!(codes, Stage::ALL);
        assert_eq!(catalogue.provisions.len(), 60);
        let by_stage = Stage::ALL.map(|stage| {
            let of_stage = |provision: &&Provision| provision.stage() == Some(stage);
            catalogue.provisions.iter().filter(of_stage).count()
        });
        assert_eq!(by_stage, [20, 8, 8, 10, 10, 4]);
        for provision in &catalogue.provisions {
            let universal = provision.stage() == Some(Stage::Universal);
            assert_eq!(provision.subject == Subject::School, universal, "{}", provision.id);
        }
    }

    #[test]
    fn a_conditional_provision_is_raised_as_to_be_considered() {
        assert_eq!(Condition::Always.raised_as(), ActionState::Open);
        assert_eq!(Condition::MedicalNeed.raised_as(), ActionState::ToBeConsidered);
    }

    #[test]
    fn a_provision_of_a_stage_that_is_not_there_is_refused() {
        let text = include_str!("../../data/provisions.toml").replace("id = \"5-04\"", "id = \"6-01\"");
        assert!(matches!(Catalogue::parse(&text), Err(CatalogueError::NoStage(id)) if id == "6-01"));
    }
}
