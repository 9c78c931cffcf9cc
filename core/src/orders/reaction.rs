//! What each answer code of the venue asks of us: one table.
//!
//! A code that is not in it is ambiguous: nobody is told "rejected" on the strength of a code nobody has read about.

/// What to do about an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaction {
    /// Accepted for processing; the stream tells the rest.
    Accepted,
    /// The outcome is unknown: look the order up before anything else. Never resend under a new id.
    Ambiguous,
    /// Refused, nothing happened, the same request will be refused again.
    Rejected,
    /// Refused, nothing happened: our clock is off.
    Clock,
    /// Refused, nothing happened: wait for the window, cancels first.
    RateLimited,
    /// The venue protects itself: back off with jitter; a create's outcome is unknown.
    Overloaded,
    /// This node restarts: new connection; the outcome is unknown.
    Restarting,
    /// The id is known at the venue: the first try landed.
    Duplicate,
    /// The order is finished or finishing: await the stream, then ask.
    Finished,
    /// Nothing changed: what was asked for holds already.
    Unchanged,
    /// Price outside the band.
    Band,
    /// Margin or balance is short.
    Margin,
    /// The instrument takes no such orders now.
    Closed,
    /// Key, permission or signature: only a person can help.
    Stop,
}

/// The row of a code.
#[must_use]
pub const fn reaction(code: i32) -> Reaction {
    match code {
        0 => Reaction::Accepted,
        429 | 10_429 => Reaction::Overloaded,
        10_019 => Reaction::Restarting,
        10_000 | 10_016 | 170_007 => Reaction::Ambiguous,
        10_001 | 10_404 | 110_092..=110_094 | 110_064 | 110_009 | 110_020 => Reaction::Rejected,
        10_002 => Reaction::Clock,
        10_003 | 33_004 | 10_004 | 10_007 | 10_017 => Reaction::Stop,
        10_005 | 10_010 | 10_024 | 10_027 | 10_029 | 110_123..=110_125 | 110_132 => Reaction::Stop,
        10_006 | 20_003 | 10_403 => Reaction::RateLimited,
        10_014 | 20_006 | 110_072 => Reaction::Duplicate,
        110_001 | 110_008 | 110_010 | 110_079 | 110_017 => Reaction::Finished,
        110_013 | 110_043 | 110_025 | 110_026 => Reaction::Unchanged,
        110_003 | 110_120 | 110_121 | 110_118 | 30_208 | 30_209 => Reaction::Band,
        110_004 | 110_006 | 110_007 | 110_012 | 110_044 | 110_045 | 110_051..=110_053 => Reaction::Margin,
        110_085 | 110_086 | 110_089 | 110_090 | 3_400_139 => Reaction::Margin,
        110_021..=110_023 | 110_042 | 110_063 | 110_066 | 110_074 | 30_228 | 110_103 | 110_095 => Reaction::Closed,
        _ => Reaction::Ambiguous,
    }
}

impl Reaction {
    /// Does a refused `create` with this reaction prove that the order does not exist?
    #[must_use]
    pub const fn proves_absence(self) -> bool {
        !matches!(
            self,
            Self::Accepted | Self::Ambiguous | Self::Overloaded | Self::Restarting | Self::Duplicate | Self::Finished
        )
    }
}
