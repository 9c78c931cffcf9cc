//! The venue's private side: recorded orders out, execution facts in.

pub mod sim;
