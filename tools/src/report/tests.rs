//! Reports of hand-written journals.
