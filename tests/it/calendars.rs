//! School calendars and the freshness of registers, as callers see them.

mod marked;
