//! Numbers, facts, books, orders, positions, strategy, sizing and the engine: the room every other room knows.

pub mod agent;
pub mod book;
pub mod desk;
pub mod engine;
pub mod equity;
pub mod event;
pub mod ids;
pub mod instrument;
pub mod orders;
pub mod permit;
pub mod position;
pub mod ring;
pub mod signal;
pub mod sizing;
pub mod strategy;
pub mod units;
