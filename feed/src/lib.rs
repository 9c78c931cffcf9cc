//! Public venue bytes to market facts.
