//! The power goes at a random moment, again and again.
//!
//! After each cut the journal must come up with everything it had called durable, nothing it was not given, its chain
//! whole and its end exactly found; with `durability = "sync"` that is every decision. The last two cases break a promise
//! on purpose, and the same check must see it.

use crate::luck::Luck;
use crate::medium::{Loss, Mood};
use crate::roles::{Found, Habit, Writing, found, wall};
use crate::room::{Ground, run};
use crate::stage::{Stage, formatted};
use std::time::Duration;

/// Cuts one machine goes through before it gets a new disk.
const EACH: u64 = 5;

fn asked(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

#[derive(Debug, Default)]
struct Tally {
    cuts: u64,
    refused: u64,
    broken: u64,
    written: u64,
    lost: u64,
    torn: u64,
    cut: u64,
    /// Longest stretch of time that was lost, nanoseconds.
    window: u64,
    loss: Loss,
}

/// Cuts, and counts how often what was promised is not there. `mood` is how the medium behaves before.
fn cuts(ground: Ground, mood: Mood, habits: &[Habit], count: u64, luck: &mut Luck) -> Tally {
    let disk = if ground == Ground::Ext4 { formatted() } else { Vec::new() };
    let mut tally = Tally::default();
    // a machine, what was promised on it, and what stood when it was last switched on
    let mut machine: Option<(Stage, u64, u64)> = None;
    while tally.cuts < count {
        if tally.cuts.is_multiple_of(EACH) {
            machine = None;
        }
        let (stage, promised, stood) = machine.get_or_insert_with(|| (Stage::new(ground, &disk), 0, 0));
        let habit = habits[luck.below(habits.len())];
        stage.medium.feel(mood);
        let mut writing = Writing::start(habit, &stage.journal(), luck.0);
        std::thread::sleep(Duration::from_millis(60) + Duration::from_micros(luck.below(400_000) as u64));
        let moment = wall();
        stage.cut(&mut writing.child);
        let said = writing.said();
        assert!(said.refused.is_none(), "a journal that stood was refused: {said:?}");
        *promised = said.acked.max(*promised);
        stage.reboot(luck, &mut tally.loss);
        tally.cuts += 1;
        match found(&stage.journal()) {
            Found::Refused(why) => {
                println!("  refused: {why}");
                tally.refused += 1;
                machine = None;
            }
            Found::Stands { head, .. } if head < *promised => {
                println!("  {promised} promised, {head} there");
                tally.broken += 1;
                machine = None;
            }
            Found::Stands { head, wall, torn, cut } => {
                let all = said.head.max(head);
                tally.written += all - *stood;
                tally.lost += all - head;
                tally.torn += u64::from(torn);
                tally.cut += u64::from(cut);
                *stood = head;
                if all > head && head > 0 {
                    tally.window = tally.window.max(moment.saturating_sub(wall));
                }
            }
        }
    }
    tally
}

fn tell(what: &str, seed: u64, tally: &Tally) {
    let Tally { cuts, written, lost, torn, cut, window, loss, .. } = tally;
    println!(
        "{what}: {cuts} power cuts (seed {seed}), {written} records; {} unsynced writes, {} dropped, {} torn; lost behind \
         the watermark {lost} records, at most {} ms; {torn} torn appends wiped, {cut} journals cut; nothing durable lost",
        loss.unsynced,
        loss.dropped,
        loss.torn,
        window / 1_000_000,
    );
}

fn honest(ground: Ground, what: &str, count: u64) {
    let seed = asked("KEEL_POWER_SEED", 1);
    let tally = cuts(ground, Mood::Sound, &[Habit::Window, Habit::Sync], count, &mut Luck(seed));
    tell(what, seed, &tally);
    assert_eq!((tally.refused, tally.broken), (0, 0), "a promise was broken, see above");
    let cost = tally.loss.dropped + tally.loss.torn + tally.lost;
    assert!(cost > 0 && tally.written > 0, "the cuts must cut something");
}

#[test]
fn power_cuts_under_ext4() {
    run(Ground::Ext4, "power::ext4");
}

#[test]
#[ignore = "the child of the case above"]
fn ext4() {
    honest(Ground::Ext4, "ext4", asked("KEEL_POWER_CUTS", 20));
}

#[test]
fn power_cuts_on_the_bare_layer() {
    run(Ground::Bare, "power::bare");
}

#[test]
#[ignore = "the child of the case above"]
fn bare() {
    honest(Ground::Bare, "no file system", asked("KEEL_POWER_CUTS", 20));
}

#[test]
fn a_disk_that_lies_and_a_writer_that_boasts_are_caught() {
    run(Ground::Bare, "power::controls");
}

#[test]
#[ignore = "the child of the case above"]
fn controls() {
    let mut luck = Luck(asked("KEEL_POWER_SEED", 1));
    let lies = cuts(Ground::Bare, Mood::Lying, &[Habit::Window], 8, &mut luck);
    println!("a disk that lies: {} of {} cuts named as damage, {} found short", lies.refused, lies.cuts, lies.broken);
    assert!(lies.refused + lies.broken > 0, "a disk that drops what it said it wrote must be noticed");
    let boasts = cuts(Ground::Bare, Mood::Sound, &[Habit::Boast], 8, &mut luck);
    println!("a writer that boasts: {} of {} cuts found short", boasts.broken, boasts.cuts);
    assert!(boasts.broken > 0, "a promise nobody kept must be noticed");
    assert_eq!(boasts.refused, 0);
}
