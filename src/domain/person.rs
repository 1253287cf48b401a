//! Members of staff, as statutory records name them.

/// A member of staff, by name and position, as the 2024 regulations ask of an amended entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// The person's name.
    pub name: String,
    /// The person's position, for example `attendance officer`.
    pub position: String,
}

/// A member of staff who records something, as the caller's own system knows them too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Author {
    /// The person's identifier in the caller's system; empty where the caller gives none.
    pub person_id: String,
    /// Who it is.
    pub person: Person,
}
