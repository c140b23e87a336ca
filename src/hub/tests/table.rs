//! The table against a list that is searched.

use std::collections::BTreeSet;

use super::super::table::{FORMS, Table, form};
use super::*;
use crate::types::event::Audience;

struct Naive {
    id: MemberId,
    dialect: Dialect,
    positions: bool,
    filters: Vec<Filter>,
}

/// What is a pattern's and what a name's, and where they meet.
const LEVELS: [&str; 6] = ["a", "b", "c", "presence", "joined", ""];

fn topic(rng: &mut Rng) -> String {
    let levels: Vec<_> = (0..=rng.below(3)).map(|_| rng.pick(&LEVELS)).collect();
    levels.join(".")
}

fn filter(rng: &mut Rng) -> Filter {
    if rng.one_in(4) {
        return Filter::Exact(rng.pick(&["a", "b.c", "a.*", "**", "a."]).into());
    }
    let mut text = topic(rng);
    for _ in 0..rng.below(3) {
        let levels: Vec<_> = text.split('.').map(|level| if rng.one_in(3) { "*" } else { level }).collect();
        text = levels.join(".");
    }
    match rng.below(4) {
        0 => text.push_str(".**"),
        1 => text.push('.'),
        _ => {}
    }
    Pattern::new(&text).map_or_else(|_| pattern("**"), Filter::Pattern)
}

/// Two filters are the same subscription if they select the same: a pattern without wildcard is a name.
fn same(a: &Filter, b: &Filter) -> bool {
    (a.exact().is_some(), a.as_str()) == (b.exact().is_some(), b.as_str())
}

fn hears(dialect: Dialect, audience: Audience) -> bool {
    match (dialect, audience) {
        (Dialect::Page, audience) => audience == Audience::Pages,
        (_, Audience::Facts) => true,
        (dialect, Audience::Messages) => matches!(dialect, Dialect::Picloud | Dialect::Endrpi),
        (_, Audience::Pages) => false,
    }
}

#[test]
fn every_event_goes_once_to_each_who_wants_it_and_to_nobody_else() {
    let shared = shared(1024);
    let (conn, _client) = pair(&shared);
    with_seeds(150, |rng| {
        let mut table = Table::default();
        let mut naive: Vec<Naive> = Vec::new();
        let mut next = 1;
        for _ in 0..400 {
            match rng.below(12) {
                0 if naive.len() < 12 => {
                    let (dialect, positions) = (rng.pick(&Dialect::ALL), rng.one_in(2));
                    table.join(next, &Member { positions, ..Member::new(&conn, dialect) });
                    naive.push(Naive { id: next, dialect, positions, filters: Vec::new() });
                    next += 1;
                }
                1 if !naive.is_empty() && rng.one_in(3) => {
                    let gone = naive.swap_remove(rng.below(naive.len()));
                    let left = table.leave(gone.id).expect("it was there");
                    assert_eq!((left.id, left.dialect), (gone.id, gone.dialect));
                    let mut names: Vec<_> = gone.filters.iter().map(|f| f.as_str().to_owned()).collect();
                    names.sort_unstable();
                    assert_eq!(left.subscriptions, names);
                }
                2..=4 if !naive.is_empty() => {
                    let at = rng.below(naive.len());
                    let (member, filter) = (&mut naive[at], filter(rng));
                    let fresh = !member.filters.iter().any(|held| same(held, &filter));
                    assert_eq!(table.subscribe(member.id, filter.clone(), 0), fresh);
                    if fresh {
                        member.filters.push(filter);
                    }
                }
                5 if !naive.is_empty() => {
                    let at = rng.below(naive.len());
                    let member = &mut naive[at];
                    let other = filter(rng);
                    let wanted = if member.filters.is_empty() { other } else { rng.pick(&member.filters) };
                    let had = member.filters.len();
                    member.filters.retain(|held| !same(held, &wanted));
                    assert_eq!(table.unsubscribe(member.id, &wanted), member.filters.len() < had);
                }
                6 if !naive.is_empty() && rng.one_in(4) => {
                    let at = rng.below(naive.len());
                    table.unsubscribe_all(naive[at].id);
                    naive[at].filters.clear();
                }
                7 if !naive.is_empty() => {
                    let at = rng.below(naive.len());
                    table.with_positions(naive[at].id);
                    naive[at].positions = true;
                }
                _ => {
                    let (topic, audience) = (topic(rng), rng.pick(&Audience::ALL));
                    let mut slots = Vec::new();
                    let forms = table.route(&topic, audience, &mut slots);
                    let mut met: Vec<_> = slots.iter().map(|slot| table.ready(*slot).expect("a member").id).collect();
                    met.sort_unstable();
                    let wanting = || {
                        naive.iter().filter(|member| {
                            hears(member.dialect, audience) && member.filters.iter().any(|f| f.selects(&topic))
                        })
                    };
                    let mut wanted: Vec<_> = wanting().map(|member| member.id).collect();
                    wanted.sort_unstable();
                    assert_eq!(met, wanted, "{topic} {audience:?}");
                    let wanted: BTreeSet<_> = wanting().map(|member| form(member.dialect, member.positions)).collect();
                    let met: BTreeSet<_> = (0..FORMS).filter(|form| forms & 1 << form != 0).collect();
                    assert_eq!(met, wanted, "{topic} {audience:?}");
                }
            }
            assert_eq!(table.len(), naive.len());
            assert_eq!(table.subscriptions(), naive.iter().map(|member| member.filters.len()).sum::<usize>());
        }
        for member in naive {
            table.leave(member.id);
        }
        assert!(table.is_empty(), "something is left behind");
    });
}
