//! Which version of a model may ask for orders: people's approval, by name of what was approved.
//!
//! In: approvals two people signed, the version an order names, how old its signal is. Out: yes or no. Never: an approval
//! without an end, a version nobody approved, an artifact swapped under an approved version.
//!
//! A strategy whose `signal_ttl` is zero is part of this program: it names version 0, was approved with the build, and acts
//! on the very tick it saw. Every other strategy is driven by a model from outside, and each of its orders must name the one
//! version in force.
//!
//! Sources: the vocabulary of SR 26-2 (before: SR 11-7); attribution of decisions to an algorithm as in RTS 6.

use keel_core::ids::{MAX_STRATEGIES, StrategyId};
use keel_core::units::Wall;

/// Longest an approval may last, nanoseconds: a year.
pub const MAX_APPROVAL: u64 = 366 * 86_400 * 1_000_000_000;

/// One version of one model, allowed to drive one strategy for a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Approval {
    /// Which strategy it drives.
    pub strategy: StrategyId,
    /// Which version; counts up from 1, and is never used for anything else again.
    pub version: u32,
    /// SHA-256 of the artifact that was validated.
    pub artifact: [u8; 32],
    /// SHA-256 of the schema of the features it was validated with.
    pub features: [u8; 32],
    /// From when.
    pub from: Wall,
    /// Until when; at most [`MAX_APPROVAL`] later.
    pub until: Wall,
}

/// Why an approval is not taken, or a model not put to work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelError {
    /// No such strategy, or version 0.
    Unknown,
    /// It ends before it begins, or lasts longer than [`MAX_APPROVAL`].
    Time,
    /// This version was approved before with other bytes: versions are never reused.
    Reused,
    /// What was loaded is not what was approved.
    Artifact,
}

impl Approval {
    /// The bytes people sign.
    #[must_use]
    pub fn message(&self) -> Vec<u8> {
        let hex = |bytes: &[u8; 32]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let (artifact, features) = (hex(&self.artifact), hex(&self.features));
        let (strategy, version, from, until) = (self.strategy.0, self.version, self.from.nanos(), self.until.nanos());
        format!(
            "keel model 1\nstrategy {strategy}\nversion {version}\nartifact {artifact}\nfeatures {features}\nfrom {from}\nuntil {until}"
        )
        .into_bytes()
    }
}

/// The approvals in force: one version a strategy, and the versions before it, which are spent.
#[derive(Clone, Debug, Default)]
pub struct Models {
    rows: [Option<Approval>; MAX_STRATEGIES],
    working: [bool; MAX_STRATEGIES],
}

impl Models {
    /// Takes up an approval; that two people gave it was asked of [`crate::consent::People`] before. It works from the moment
    /// [`Self::load`] has seen the artifact. A newer version takes the place of the older one.
    pub fn approve(&mut self, approval: Approval) -> Result<(), ModelError> {
        let row = self.rows.get_mut(approval.strategy.index()).ok_or(ModelError::Unknown)?;
        if approval.version == 0 {
            return Err(ModelError::Unknown);
        }
        if approval.until <= approval.from || approval.until.since(approval.from) > MAX_APPROVAL {
            return Err(ModelError::Time);
        }
        let known = row.filter(|row| row.version >= approval.version);
        let same = |row: &Approval| {
            (row.version, row.artifact, row.features) == (approval.version, approval.artifact, approval.features)
        };
        if known.is_some_and(|row| !same(&row)) {
            return Err(ModelError::Reused);
        }
        // an approval that is only longer leaves the loaded artifact at work
        self.working[approval.strategy.index()] &= known.is_some();
        *row = Some(approval);
        Ok(())
    }

    /// What stands in memory is what was approved: the version may work.
    pub fn load(&mut self, strategy: StrategyId, artifact: &[u8; 32], features: &[u8; 32]) -> Result<(), ModelError> {
        let row = self.rows.get(strategy.index()).copied().flatten().ok_or(ModelError::Unknown)?;
        let same = row.artifact == *artifact && row.features == *features;
        self.working[strategy.index()] = same;
        if same { Ok(()) } else { Err(ModelError::Artifact) }
    }

    /// Takes a version out of work at once: drift, a doubt, a rollback. One person may.
    pub fn withdraw(&mut self, strategy: StrategyId) {
        if let Some(working) = self.working.get_mut(strategy.index()) {
            *working = false;
        }
    }

    /// May this version ask for orders now? Version 0 is the program itself.
    #[must_use]
    pub(crate) fn allows(&self, strategy: StrategyId, version: u32, built_in: bool, now: Wall) -> bool {
        if built_in {
            return version == 0;
        }
        let at = strategy.index();
        let (Some(Some(row)), Some(true)) = (self.rows.get(at), self.working.get(at)) else { return false };
        row.version == version && row.from <= now && now < row.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: StrategyId = StrategyId(1);

    fn at(seconds: u64) -> Wall {
        Wall::from_millis(seconds * 1_000)
    }

    fn approval(version: u32) -> Approval {
        let byte = version.to_le_bytes()[0];
        Approval { strategy: ONE, version, artifact: [byte; 32], features: [9; 32], from: at(10), until: at(20) }
    }

    #[test]
    fn only_the_approved_version_works_and_only_while_it_may() {
        let mut models = Models::default();
        assert!(!models.allows(ONE, 1, false, at(15)) && !models.allows(ONE, 0, false, at(15)), "nobody approved it");
        models.approve(approval(1)).unwrap();
        assert!(!models.allows(ONE, 1, false, at(15)), "approved, but nobody saw the artifact");
        assert_eq!(models.load(ONE, &[2; 32], &[9; 32]), Err(ModelError::Artifact));
        assert_eq!(models.load(ONE, &[1; 32], &[8; 32]), Err(ModelError::Artifact), "other features");
        models.load(ONE, &[1; 32], &[9; 32]).unwrap();
        for (version, second, works) in [(1, 9, false), (1, 10, true), (1, 19, true), (1, 20, false), (2, 15, false)] {
            assert_eq!(models.allows(ONE, version, false, at(second)), works, "{version} at {second}");
        }
        assert!(!models.allows(StrategyId(0), 1, false, at(15)) && !models.allows(StrategyId(99), 1, false, at(15)));
        models.withdraw(ONE);
        assert!(!models.allows(ONE, 1, false, at(15)));
    }

    #[test]
    fn a_newer_version_takes_over_and_an_older_one_never_returns() {
        let mut models = Models::default();
        models.approve(approval(1)).unwrap();
        models.load(ONE, &[1; 32], &[9; 32]).unwrap();
        models.approve(Approval { until: at(30), ..approval(1) }).unwrap();
        assert!(models.allows(ONE, 1, false, at(25)), "a longer approval of the same bytes");
        models.approve(approval(2)).unwrap();
        assert!(!models.allows(ONE, 1, false, at(15)) && !models.allows(ONE, 2, false, at(15)));
        assert_eq!(models.approve(approval(1)), Err(ModelError::Reused));
        assert_eq!(models.approve(Approval { artifact: [7; 32], ..approval(2) }), Err(ModelError::Reused));
        models.load(ONE, &[2; 32], &[9; 32]).unwrap();
        assert!(models.allows(ONE, 2, false, at(15)));
    }

    #[test]
    fn an_approval_has_an_end_and_names_what_it_approves() {
        let mut models = Models::default();
        let rows = [
            (Approval { version: 0, ..approval(1) }, ModelError::Unknown),
            (Approval { strategy: StrategyId(99), ..approval(1) }, ModelError::Unknown),
            (Approval { until: at(10), ..approval(1) }, ModelError::Time),
            (Approval { until: at(367 * 86_400), ..approval(1) }, ModelError::Time),
        ];
        for (bad, why) in rows {
            assert_eq!(models.approve(bad), Err(why));
        }
        let text = String::from_utf8(approval(3).message()).unwrap();
        for part in ["keel model 1", "strategy 1", "version 3", &"03".repeat(32), &"09".repeat(32), "until 20000000000"]
        {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn a_strategy_of_this_program_names_no_model() {
        let models = Models::default();
        assert!(models.allows(ONE, 0, true, at(0)) && !models.allows(ONE, 1, true, at(0)));
    }
}
