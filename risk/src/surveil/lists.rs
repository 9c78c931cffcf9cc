//! TM6 and TM9: against lists of others, and against what the owner declared of places.
//!
//! TM6 sanctioned: the address of a movement, in whatever state it is first seen, stands on a list (block); the party, or
//! a declared owner's name, is like a listed name (case); a provider scored the address at the indirect bound or above
//! (case); the coin hides its trail (case). Declared names are screened at the first record, so a change of lists, after
//! which the fold begins anew, screens everybody and everything again.
//!
//! TM9 geography: the venue's region for the owner is not the declared one, or is of high risk; the key is bound to no
//! address, or to one the owner did not declare; a known address belongs to a place of high risk.

use super::parameters::{Geography, Parameters, Sanctioned};
use super::scene::{Money, Scene};
use super::screen::{self, Hit, Lists};
use super::window::{DAY, span};
use super::{Evidence, Fact, Finding, Out, Watch, What};
use keel_core::event::{FlowState, Gravity, Rule, Standing};
use std::sync::Arc;

/// The lists, and whether the declared names were screened.
#[derive(Debug)]
pub(crate) struct Screening {
    lists: Arc<Lists>,
    base: bool,
}

impl Screening {
    pub(crate) const fn new(lists: Arc<Lists>) -> Self {
        Self { lists, base: false }
    }
}

impl Watch for Screening {
    fn see(&mut self, all: &Parameters, scene: &Scene, fact: &Fact<'_>, out: &mut Out) {
        if !std::mem::replace(&mut self.base, true) {
            self.base(&all.sanctioned, scene, fact, out);
        }
        match fact.what {
            What::Money(money) => {
                if money.first && money.flow.state != FlowState::Failed {
                    self.money(&all.sanctioned, scene, fact, money, out);
                }
                if money.first {
                    place(&all.geography, scene, fact, money, out);
                }
            }
            What::Standing(standing) => geography(&all.geography, scene, fact, standing, out),
            _ => {}
        }
    }
}

impl Screening {
    fn base(&self, it: &Sanctioned, scene: &Scene, fact: &Fact<'_>, out: &mut Out) {
        for account in &scene.registry.accounts {
            let hit = self.lists.name(&account.name, it.name_permille, it.weak_permille);
            if let Some(hit) = hit {
                let finding = Finding {
                    subject: account.uid,
                    key: "owner".to_owned(),
                    evidence: Evidence::of([fact.seq]),
                    ..name(it, hit)
                };
                out.raise(Rule::Sanctioned, it.version, u64::MAX, finding);
            }
        }
    }

    fn money(&self, it: &Sanctioned, scene: &Scene, fact: &Fact<'_>, money: &Money, out: &mut Out) {
        let flow = &money.flow;
        let address = screen::address(flow.address.as_str());
        let base = || Finding {
            subject: flow.account,
            amount: money.usd,
            evidence: Evidence::of([fact.seq]),
            gravity: Gravity::Case,
            ..Finding::default()
        };
        let mut tell = |finding| out.raise(Rule::Sanctioned, it.version, 1, finding);
        let wallets = [flow.address.as_str(), flow.party.as_str()];
        if let Some(hit) = wallets.iter().filter(|text| !text.is_empty()).find_map(|text| self.lists.wallet(text)) {
            let key = if address.is_empty() { flow.party.to_string() } else { address.clone() };
            let (measured, limit, gravity) = (1000, 1000, Gravity::Block);
            tell(Finding { key, measured, limit, gravity, hit: Some(hit), ..base() });
        }
        // the venue's names come without spaces
        let party = flow.party.as_str().replace(['_', '+', '.'], " ");
        if party.chars().any(char::is_alphabetic)
            && let Some(hit) = self.lists.name(&party, it.name_permille, it.weak_permille)
        {
            tell(Finding {
                key: flow.party.to_string(),
                ..Finding { amount: money.usd, ..base() }.with(name(it, hit))
            });
        }
        let exposure = scene.registry.address(&address).map_or(0, |row| row.exposure);
        if exposure >= it.indirect_permille {
            let key = format!("score/{address}");
            tell(Finding { key, measured: exposure, limit: it.indirect_permille, ..base() });
        }
        if scene.registry.privacy_coins.contains(&flow.coin) {
            tell(Finding { key: format!("coin/{}", flow.coin), ..base() });
        }
    }
}

impl Finding {
    /// With what the match of a name says.
    fn with(self, matched: Self) -> Self {
        let Self { measured, limit, hit, gravity, .. } = matched;
        Self { measured, limit, hit, gravity, ..self }
    }
}

fn name(it: &Sanctioned, hit: Hit) -> Finding {
    let limit = if hit.weak { it.weak_permille } else { it.name_permille };
    Finding { measured: hit.likeness, limit, gravity: Gravity::Case, hit: Some(hit), ..Finding::default() }
}

fn geography(it: &Geography, scene: &Scene, fact: &Fact<'_>, standing: &Standing, out: &mut Out) {
    let Some(account) = scene.registry.account(&standing.uid) else { return };
    let quiet = span(it.quiet_days, DAY);
    let mut tell = |key: String| {
        let evidence = Evidence::of([fact.seq]);
        let finding = Finding { subject: standing.uid, key, measured: 1, evidence, ..Finding::default() };
        out.raise(Rule::Geography, it.version, quiet, finding);
    };
    let region = standing.kyc_region;
    if !account.residence.is_empty() && !region.is_empty() && region != account.residence {
        tell(format!("region/{region}"));
    }
    if scene.registry.high_risk.contains(&region) {
        tell(format!("high-risk/{region}"));
    }
    for ip in standing.ips.as_str().split(',').filter(|ip| !ip.is_empty()) {
        let declared = account.ips.iter().any(|known| known.as_str() == ip);
        if ip == "*" {
            tell("unbound".to_owned());
        } else if !account.ips.is_empty() && !declared {
            tell(format!("ip/{ip}"));
        }
    }
}

fn place(it: &Geography, scene: &Scene, fact: &Fact<'_>, money: &Money, out: &mut Out) {
    let address = screen::address(money.flow.address.as_str());
    let Some(known) = scene.registry.address(&address) else { return };
    if !known.country.is_empty() && scene.registry.high_risk.contains(&known.country) {
        let finding = Finding {
            subject: money.flow.account,
            key: format!("place/{}/{address}", known.country),
            measured: 1,
            amount: money.usd,
            gravity: Gravity::Case,
            evidence: Evidence::of([fact.seq]),
            ..Finding::default()
        };
        out.raise(Rule::Geography, it.version, 1, finding);
    }
}
