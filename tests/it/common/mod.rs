//! A world for each test: a database of its own, a server on a port of its own, and builders to fill it.

pub mod calendar;
pub mod database;
pub mod moves;
pub mod watching;
pub mod world;

pub use world::{World, at, day, marks, refused};
