//! `keel cases`: what people make of the alerts of surveillance, from the first look to the report an authority gets.
//!
//! In: the alerts and the journal of cases beside the trading journal, a person's key, what they say. Out: one signed step more, or a
//! sentence why not; lists and pages for those who hold a role; a report with its evidence. Never: a step without a
//! signature, a case shown to somebody without a role, a name or an address in a log.
//!
//! ```text
//!   roles     who is analyst, reviewer, mlro; the terms          triage    a case for every alert that asks for one
//!   list      where each case stands                             show      one of them, step by step
//!   open      a case by hand                                     assign    give it to an analyst
//!   note      what was seen, who it is about                     evidence  records of the trading journal, files
//!   decide    escalate, no-file, file, return, monitor           approve   a second person agrees
//!   file      it was sent to the authority                       hold      nothing of it may be deleted
//!   export    the report: JSON, Markdown, evidence, digests      bring     a step that was signed elsewhere
//! ```
//!
//! Every step is signed with `--key`, or written with `--unsigned FILE --by NAME`, signed on another machine with
//! `keel keys sign`, and brought. What may follow what, and who may do it, stands in `keel_risk::cases`.

mod desk;
mod export;
mod show;

use crate::brake::Whom;
use crate::keys;
use crate::moment;
use crate::node::clock::system_wall;
use anyhow::{Context, Result, bail, ensure};
use clap::Subcommand;
use desk::Desk;
use keel_core::event::{CaseState, Deed, Rule};
use keel_core::units::Wall;
use keel_risk::cases::act::{STATES, rule};
use keel_risk::cases::roles::{Person, ROLES, Roles};
use keel_risk::cases::{About, Act, Filing};
use keel_risk::consent::{Name, hex, signed_text};
use std::fs;
use std::path::{Path, PathBuf};

/// What a person may say.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    whom: Whom,
    /// The key of the person who asks; `keel keys new` makes one
    #[arg(long, value_name = "FILE", global = true)]
    key: Option<PathBuf>,
    /// Write the step here instead of taking it: to be signed with `keel keys sign` and brought with `bring`
    #[arg(long, value_name = "FILE", global = true, requires = "by", conflicts_with = "key")]
    unsigned: Option<PathBuf>,
    /// Who will sign it
    #[arg(long, value_name = "NAME", global = true, requires = "unsigned")]
    by: Option<String>,
    #[command(subcommand)]
    what: What,
}

#[derive(Clone, Debug, Subcommand)]
enum What {
    /// Print who may do what; propose or adopt a new version.
    Roles {
        /// Write the next version here, for those in force to sign
        #[arg(long, value_name = "FILE", requires = "person", conflicts_with = "adopt")]
        propose: Option<PathBuf>,
        /// Somebody, their role (analyst, reviewer, mlro) and public key; repeat for each person there shall be
        #[arg(long, value_name = "NAME=ROLE=KEY", requires = "propose")]
        person: Vec<String>,
        /// Days to file when there is a suspect
        #[arg(long, value_name = "DAYS", requires = "propose")]
        file_days: Option<u64>,
        /// Days to file when there is none
        #[arg(long, value_name = "DAYS", requires = "propose")]
        file_days_without_suspect: Option<u64>,
        /// Days after which what goes on is looked at again
        #[arg(long, value_name = "DAYS", requires = "propose")]
        follow_up_days: Option<u64>,
        /// Days everything is kept after the end
        #[arg(long, value_name = "DAYS", requires = "propose")]
        retain_days: Option<u64>,
        /// Put this version in force: the first as it is, a later one signed by an mlro and a second person
        #[arg(long, value_name = "FILE")]
        adopt: Option<PathBuf>,
    },
    /// Open a case for every alert that asks for one and has none. For a timer; nobody signs, nothing about anybody is said.
    Triage,
    /// Where each case stands, and what is due.
    List {
        /// Only those that stand there
        #[arg(long, value_name = "STATE", value_parser = STATES.map(|(_, word)| word))]
        state: Option<String>,
        /// As JSON, one case a line
        #[arg(long)]
        json: bool,
    },
    /// One case, step by step.
    Show {
        /// Which
        id: u64,
        /// As one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Open a case by hand.
    Open {
        /// An alert it is about, by its place in the compliance journal; repeat for several
        #[arg(long, value_name = "SEQ")]
        alert: Vec<u64>,
        #[command(flatten)]
        more: More,
    },
    /// Put more alerts to a case.
    Link {
        /// Which
        id: u64,
        /// An alert; repeat for several
        #[arg(long, value_name = "SEQ", required = true)]
        alert: Vec<u64>,
        #[command(flatten)]
        more: More,
    },
    /// Give it to an analyst.
    Assign {
        /// Which
        id: u64,
        /// To whom
        analyst: String,
        #[command(flatten)]
        more: More,
    },
    /// Write down what was seen, and who and what it is about.
    Note {
        /// Which
        id: u64,
        #[command(flatten)]
        more: More,
    },
    /// Put evidence to it: records of the trading journal by their place, files by their bytes.
    Evidence {
        /// Which
        id: u64,
        /// A record; repeat for several
        #[arg(long, value_name = "SEQ")]
        record: Vec<u64>,
        /// A file; it is copied beside the compliance journal
        #[arg(long, value_name = "FILE")]
        file: Vec<PathBuf>,
        #[command(flatten)]
        more: More,
    },
    /// Decide: worth an investigation; nothing to report; a report; not agreed; look again.
    Decide {
        /// Which
        id: u64,
        /// What
        #[arg(value_parser = ["escalate", "no-file", "file", "return", "monitor"])]
        what: String,
        #[command(flatten)]
        more: More,
    },
    /// Agree, as the second person: to the report, or that there is nothing to report.
    Approve {
        /// Which
        id: u64,
        #[command(flatten)]
        more: More,
    },
    /// Write down that the report was sent.
    File {
        /// Which
        id: u64,
        /// To whom
        #[arg(long, value_name = "NAME")]
        authority: String,
        /// Under which number of theirs
        #[arg(long, value_name = "TEXT")]
        reference: String,
        /// When [default: now]
        #[arg(long, value_name = "TIME")]
        submitted: Option<String>,
        #[command(flatten)]
        more: More,
    },
    /// Legal hold: nothing of it may be deleted, whatever its age.
    Hold {
        /// Which
        id: u64,
        /// Take it back
        #[arg(long)]
        lift: bool,
        #[command(flatten)]
        more: More,
    },
    /// Write the report with everything behind it into a new directory only this user may read.
    Export {
        /// Which
        id: u64,
        /// The directory
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
    /// Take a step that was signed elsewhere.
    Bring {
        /// The signed step
        file: PathBuf,
    },
}

/// What can go with any step.
#[derive(Clone, Debug, Default, clap::Args)]
struct More {
    /// Why, in one line
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// File with the story: who, what, when, where, why, how
    #[arg(long, value_name = "FILE")]
    narrative: Option<PathBuf>,
    /// The same in one line
    #[arg(long, value_name = "TEXT", conflicts_with = "narrative")]
    text: Option<String>,
    /// Who and what it is about: account, name, kyc, document, address, uid, ip, linked, instrument, tx, since, until,
    /// amount, algorithm, earlier; repeat for several
    #[arg(long, value_name = "WHAT=VALUE")]
    about: Vec<String>,
    /// What it looks like, by the name of a rule: Spoofing, Wash, Structuring and so on; repeat for several
    #[arg(long, value_name = "RULE")]
    typology: Vec<String>,
    /// How bad it looks
    #[arg(long, value_name = "0-100", value_parser = clap::value_parser!(u8).range(0..=100))]
    score: Option<u8>,
    /// Is there a suspect? Without one the longer term counts
    #[arg(long, value_name = "YES|NO", value_parser = ["yes", "no"])]
    suspect: Option<String>,
}

/// What happens.
pub fn run(args: &Args) -> Result<()> {
    let data = args.whom.dir()?;
    match &args.what {
        What::Roles { adopt: Some(file), .. } => desk::adopt(&data, &bytes(file)?),
        What::Roles { propose: Some(file), .. } => propose(&data, file, &args.what),
        What::Roles { .. } => show::roles(&Desk::open(&data)?),
        What::Triage => desk::triage(&data),
        What::Bring { file } => desk::take(&data, &bytes(file)?),
        What::List { state, json } => {
            let state = state.as_deref().and_then(|word| STATES.iter().find(|(_, known)| *known == word));
            show::list(&member(args, &data)?, state.map(|(state, _)| *state), *json, system_wall())
        }
        What::Show { id, json } => show::case(&member(args, &data)?, *id, *json),
        What::Export { id, out } => export::run(&member(args, &data)?, *id, out),
        step => perform(args, &data, step),
    }
}

fn bytes(file: &Path) -> Result<Vec<u8>> {
    fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}

/// The desk, for somebody who proves to hold a role.
fn member(args: &Args, data: &Path) -> Result<Desk> {
    let key = keys::read(args.key.as_deref().context("cases are shown to those who hold a role: --key")?)?;
    let desk = Desk::open(data)?;
    let roles = desk.ledger.roles().context("nobody has a role yet: keel cases roles")?;
    ensure!(roles.holder(&key.public()).is_some(), "this key holds no role here");
    Ok(desk)
}

fn perform(args: &Args, data: &Path, step: &What) -> Result<()> {
    let key = args.key.as_deref().map(keys::read).transpose()?;
    let desk = Desk::open(data)?;
    let actor = match (&key, &args.by) {
        (Some(key), _) => key.name(),
        (None, Some(by)) => named(by)?,
        _ => bail!("who says so? --key FILE, or --unsigned FILE --by NAME"),
    };
    let act = drawn(&desk, step)?;
    let at = system_wall().max(desk.last(act.case));
    let act = desk.ledger.prepare(Act { actor, at, ..act })?;
    ensure!(act.is_well_formed(), "a value is empty, too long, or holds characters no line can: nothing was written");
    let message = act.message();
    match (key, &args.unsigned) {
        (Some(key), _) => {
            let signed = key.sign(&message);
            desk::take(data, &signed_text(&message, &[signed]))
        }
        (None, Some(out)) => {
            desk::write_private(out, &signed_text(&message, &[]))?;
            println!("{}: keel keys sign --key KEY {0}, then keel cases bring {0}", out.display());
            Ok(())
        }
        (None, None) => bail!("who says so? --key FILE, or --unsigned FILE --by NAME"),
    }
}

/// The step as asked for; what follows from the rules is filled in later.
fn drawn(desk: &Desk, step: &What) -> Result<Act> {
    let act = |id: u64, deed: Deed, more: &More| filled(desk, Act { case: id, deed, ..Act::default() }, more);
    Ok(match step {
        What::Open { alert, more } => Act { alerts: alert.clone(), ..act(0, Deed::Open, more)? },
        What::Link { id, alert, more } => Act { alerts: alert.clone(), ..act(*id, Deed::Link, more)? },
        What::Assign { id, analyst, more } => Act { assignee: Some(named(analyst)?), ..act(*id, Deed::Assign, more)? },
        What::Note { id, more } => act(*id, Deed::Note, more)?,
        What::Evidence { id, record, file, more } => {
            let (records, files) = (desk.records(record)?, desk.files(file)?);
            Act { pieces: [records, files].concat(), ..act(*id, Deed::Evidence, more)? }
        }
        What::Decide { id, what, more } => {
            let deed = match what.as_str() {
                "escalate" => Deed::Escalate,
                "no-file" => Deed::NoFile,
                "file" => Deed::Draft,
                "return" => Deed::Return,
                _ => Deed::Monitor,
            };
            act(*id, deed, more)?
        }
        What::Approve { id, more } => act(*id, Deed::Approve, more)?,
        What::File { id, authority, reference, submitted, more } => {
            let submitted = submitted.as_deref().map_or(Ok(system_wall()), time)?;
            let filing = Filing { authority: authority.clone(), reference: reference.clone(), submitted };
            Act { filing: Some(filing), ..act(*id, Deed::File, more)? }
        }
        What::Hold { id, lift, more } => act(*id, if *lift { Deed::Release } else { Deed::Hold }, more)?,
        _ => bail!("not a step"),
    })
}

fn time(text: &str) -> Result<Wall> {
    moment::parse(text, system_wall()).with_context(|| format!("{text:?} is no moment"))
}

fn named(name: &str) -> Result<Name> {
    let fits = Name::new(name.as_bytes()).filter(|name| !name.is_empty());
    fits.with_context(|| format!("{name:?} is no name: up to 39 letters, digits and signs"))
}

fn filled(desk: &Desk, act: Act, more: &More) -> Result<Act> {
    let case = desk.ledger.case(act.case);
    let (score, suspect) = case.map_or((50, true), |case| (case.score, case.suspect));
    let story = match (&more.narrative, &more.text) {
        (Some(file), _) => fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?,
        (None, text) => text.clone().unwrap_or_default(),
    };
    let about = more.about.iter().map(|text| {
        let (what, value) = text.split_once('=').with_context(|| "--about: WHAT=VALUE is expected")?;
        let what = About::read(what).with_context(|| format!("--about: nothing is called {what:?}"))?;
        Ok((what, value.trim().to_owned()))
    });
    let typologies = more.typology.iter().map(|word| rule(word).with_context(|| format!("no rule is called {word:?}")));
    Ok(Act {
        about: about.collect::<Result<_>>()?,
        typologies: typologies.collect::<Result<Vec<Rule>>>()?,
        score: more.score.unwrap_or(score),
        suspect: more.suspect.as_deref().map_or(suspect, |word| word == "yes"),
        reason: more.reason.as_deref().unwrap_or_default().trim().to_owned(),
        narrative: story.replace("\r\n", "\n").trim().to_owned(),
        ..act
    })
}

fn propose(data: &Path, out: &Path, what: &What) -> Result<()> {
    let What::Roles { person, file_days, file_days_without_suspect, follow_up_days, retain_days, .. } = what else {
        bail!("not about roles")
    };
    let people = person.iter().map(|text| {
        let mut parts = text.splitn(3, '=');
        let (name, role, key) = (parts.next(), parts.next(), parts.next());
        let role = ROLES.iter().find(|(_, word)| Some(*word) == role).map(|(role, _)| *role);
        let key = key.and_then(hex::<32>).and_then(|key| ed25519(&key));
        let (Some(name), Some(role), Some(key)) = (name, role, key) else {
            bail!("--person: NAME=ROLE=KEY is expected, a role of analyst, reviewer, mlro, a key of 64 hex digits")
        };
        Ok(Person { name: named(name)?, role, key })
    });
    let people = people.collect::<Result<Vec<_>>>()?;
    let before =
        if crate::compliance::stream::path(data).exists() { Desk::open(data)?.ledger.roles().cloned() } else { None };
    let mut roles = match &before {
        Some(roles) => Roles { version: roles.version + 1, people, ..roles.clone() },
        None => Roles::new(people),
    };
    for (new, term) in [
        (file_days, &mut roles.file_days),
        (file_days_without_suspect, &mut roles.file_days_without_suspect),
        (follow_up_days, &mut roles.follow_up_days),
        (retain_days, &mut roles.retain_days),
    ] {
        *term = new.unwrap_or(*term);
    }
    let text = signed_text(roles.text().as_bytes(), &[]);
    ensure!(Roles::read(&text).is_some(), "each name and each key stands once; a term is at least a day");
    desk::write_private(out, &text)?;
    let next = if before.is_some() { "an mlro and a second person sign it (keel keys sign), then " } else { "" };
    println!("{}: {next}keel cases roles --adopt {0}", out.display());
    Ok(())
}

fn ed25519(key: &[u8; 32]) -> Option<keel_risk::cases::roles::PublicKey> {
    keel_risk::cases::roles::PublicKey::from_bytes(key).ok()
}

/// Is the case over, as far as a report is concerned?
const fn is_over(state: CaseState) -> bool {
    matches!(state, CaseState::ClosedNoFile | CaseState::Filed | CaseState::Monitored)
}
