//! The market of the measurements, for whoever else measures on it.

pub mod tape;
