//! Members of staff, as statutory records name them.

/// A member of staff, by name and position, as the 2024 regulations ask of an amended entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// The person's name.
    pub name: String,
    /// The person's position, for example `attendance officer`.
    pub position: String,
}
