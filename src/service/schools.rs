//! Schools: the establishments of a trust.

use diesel_async::AsyncPgConnection;
use uuid::Uuid;

use super::error::Resource;
use super::transaction::finish;
use super::trusts::{not_found, require_trust};
use super::{Page, PageOf, Service, ServiceError};
use crate::domain::identifiers::{Laestab, SchoolId, SchoolKey, TrustId, Urn};
use crate::store::schools::{self, SchoolChangeset, SchoolRow};

/// The length of a session where none is given: three and a quarter hours.
pub const SESSION_MINUTES_DEFAULT: i16 = 195;

/// The phase of education of a school.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nursery.
    Nursery,
    /// Primary.
    Primary,
    /// Secondary.
    Secondary,
    /// Special.
    Special,
    /// All-through.
    AllThrough,
    /// Alternative provision.
    AlternativeProvision,
    /// Sixteen plus.
    SixteenPlus,
}

impl Phase {
    const ALL: [Phase; 7] = [
        Phase::Nursery,
        Phase::Primary,
        Phase::Secondary,
        Phase::Special,
        Phase::AllThrough,
        Phase::AlternativeProvision,
        Phase::SixteenPlus,
    ];

    /// The number under which it is stored, and that of the contract's enum: from 1.
    pub const fn number(self) -> i16 {
        self as i16 + 1
    }

    /// The phase of a number.
    pub fn from_number(number: i32) -> Option<Phase> {
        Phase::ALL.into_iter().find(|phase| i32::from(phase.number()) == number)
    }
}

/// A school to be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSchool {
    /// Unique reference number.
    pub urn: Urn,
    /// Its name.
    pub name: String,
    /// The phase of education.
    pub phase: Phase,
    /// Local authority and establishment number.
    pub laestab: Option<Laestab>,
    /// The length of a session in minutes, 1 to 480.
    pub session_minutes: i16,
}

/// The fields of a school to be written; nothing leaves a field as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SchoolChanges {
    /// Its name.
    pub name: Option<String>,
    /// The phase of education.
    pub phase: Option<Phase>,
    /// Local authority and establishment number; nothing within takes it away.
    pub laestab: Option<Option<Laestab>>,
    /// The length of a session in minutes, 1 to 480.
    pub session_minutes: Option<i16>,
}

/// The school that a key names.
///
/// # Errors
/// [`ServiceError::NotFound`] where the trust has none, or where there is no such trust.
pub async fn require_school(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    key: &SchoolKey,
) -> Result<SchoolId, ServiceError> {
    match schools::resolve_school(conn, trust, key).await? {
        Some(school) => Ok(school),
        None => Err(not_found(conn, trust, Resource::School).await?),
    }
}

fn text(laestab: Laestab) -> String {
    laestab.as_str().to_owned()
}

impl Service {
    /// Creates a school.
    ///
    /// # Errors
    /// [`ServiceError::AlreadyExists`] where the trust already has one with the URN, [`ServiceError::NotFound`] where
    /// there is no such trust.
    pub async fn create_school(&self, trust: TrustId, school: NewSchool) -> Result<SchoolRow, ServiceError> {
        let now = self.clock.now();
        let row = SchoolRow {
            school_id: Uuid::now_v7(),
            urn: school.urn.as_str().to_owned(),
            name: school.name,
            phase: school.phase.number(),
            laestab: school.laestab.map(text),
            session_minutes: school.session_minutes,
            version: 1,
            created_at: now,
            updated_at: now,
        };
        let mut transaction = self.store.begin(trust).await?;
        let created = create(&mut transaction, trust, &row).await;
        finish(transaction, created).await
    }

    /// The school that a key names.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`] where the trust has none.
    pub async fn get_school(&self, trust: TrustId, key: SchoolKey) -> Result<SchoolRow, ServiceError> {
        let mut transaction = self.store.begin(trust).await?;
        let found = get(&mut transaction, trust, &key).await;
        finish(transaction, found).await
    }

    /// Schools of a trust, in the order of their identifiers.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`] where there is no such trust.
    pub async fn list_schools(
        &self,
        trust: TrustId,
        page: Page<Uuid>,
    ) -> Result<PageOf<SchoolRow, Uuid>, ServiceError> {
        let mut transaction = self.store.begin(trust).await?;
        let listed = list(&mut transaction, trust, &page).await;
        finish(transaction, listed).await
    }

    /// Changes a school whose version is the expected one, where one is expected.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`] where the trust has none, [`ServiceError::StaleEtag`] where its version is another.
    pub async fn update_school(
        &self,
        trust: TrustId,
        school: SchoolId,
        changes: SchoolChanges,
        expected_version: Option<i64>,
    ) -> Result<SchoolRow, ServiceError> {
        let changeset = SchoolChangeset {
            name: changes.name,
            phase: changes.phase.map(Phase::number),
            laestab: changes.laestab.map(|laestab| laestab.map(text)),
            session_minutes: changes.session_minutes,
            updated_at: self.clock.now(),
        };
        let mut transaction = self.store.begin(trust).await?;
        let updated = update(&mut transaction, trust, school, &changeset, expected_version).await;
        finish(transaction, updated).await
    }
}

async fn create(conn: &mut AsyncPgConnection, trust: TrustId, row: &SchoolRow) -> Result<SchoolRow, ServiceError> {
    require_trust(conn, trust).await?;
    let created = schools::insert(conn, trust, row).await?;
    created.ok_or_else(|| ServiceError::AlreadyExists {
        resource: Resource::School,
        field: "school.urn".to_owned(),
        message: "the trust already has a school with this URN: update that one, or give another URN".to_owned(),
    })
}

/// The same of a school that a request may name; nothing where it names none.
///
/// # Errors
/// Those of [`require_school`].
pub async fn optional_school(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    key: Option<&SchoolKey>,
) -> Result<Option<SchoolId>, ServiceError> {
    match key {
        Some(key) => require_school(conn, trust, key).await.map(Some),
        None => Ok(None),
    }
}

async fn get(conn: &mut AsyncPgConnection, trust: TrustId, key: &SchoolKey) -> Result<SchoolRow, ServiceError> {
    let school = require_school(conn, trust, key).await?;
    let found = schools::find(conn, trust, school).await?;
    found.ok_or(ServiceError::NotFound(Resource::School))
}

async fn list(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    page: &Page<Uuid>,
) -> Result<PageOf<SchoolRow, Uuid>, ServiceError> {
    require_trust(conn, trust).await?;
    let (after, count) = page.keyset();
    let rows = schools::list(conn, trust, after, count).await?;
    Ok(PageOf::from_rows(rows, page.size, |row| row.school_id))
}

async fn update(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    school: SchoolId,
    changeset: &SchoolChangeset,
    expected_version: Option<i64>,
) -> Result<SchoolRow, ServiceError> {
    if let Some(updated) = schools::update(conn, trust, school, changeset, expected_version).await? {
        return Ok(updated);
    }
    require_school(conn, trust, &SchoolKey::Id(school)).await?;
    Err(ServiceError::StaleEtag(Resource::School))
}
