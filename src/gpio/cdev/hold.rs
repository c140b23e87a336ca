//! Holding several lines, or none: what has to be done in which order, and undone when a later step fails.

use std::os::fd::OwnedFd;

use super::setting::{self, Role, Setting};
use super::state::State;
use crate::gpio::lines::{GpioError, Hold, Role as Wanted};
use crate::types::line::{Level, Pin};

/// What one request has to do.
struct Work {
    id: u64,
    /// Lines whose setting differs in more than the level, and all others that differ then.
    changes: Vec<(Pin, Setting)>,
    /// Outputs of which only the level differs.
    levels: Vec<(Pin, Level)>,
}

/// What has been done, so that it can be undone.
enum Done {
    Taken(u64),
    Changed(u64, Vec<(Pin, Setting)>),
}

/// What has to be done.
struct Plan {
    new: Vec<(Pin, Setting)>,
    work: Vec<Work>,
}

/// New lines first, since they are the ones that may not be had; then changes, then levels. Each request costs one
/// kernel call (a new line one more, that looks whether it is free).
pub fn hold(state: &mut State, epoll: &OwnedFd, lines: &[(Pin, Hold)]) -> Result<(), GpioError> {
    let plan = plan(state, lines)?;
    let pins: Vec<Pin> = plan.new.iter().map(|(pin, _)| *pin).collect();
    state.all_free(&pins)?;
    for group in &plan.work {
        let fits = state.group(group.id).is_none_or(|held| held.fits(&group.changes));
        if let (false, Some((pin, _))) = (fits, group.changes.first()) {
            let why = "its request would have more different settings than the kernel has room for (10); give inputs \
                       the same debounce time"
                .to_owned();
            return Err(GpioError::Refused { pin: *pin, why });
        }
    }
    all_or_nothing(state, epoll, &plan)?;
    for (pin, _) in lines {
        state.group_of(*pin).into_iter().for_each(|group| group.park(*pin, false));
    }
    Ok(())
}

fn all_or_nothing(state: &mut State, epoll: &OwnedFd, plan: &Plan) -> Result<(), GpioError> {
    let mut done = Vec::new();
    let result = execute(state, epoll, plan, &mut done);
    if result.is_err() {
        done.into_iter().rev().for_each(|step| undo(state, step));
    }
    result
}

fn execute(state: &mut State, epoll: &OwnedFd, plan: &Plan, done: &mut Vec<Done>) -> Result<(), GpioError> {
    for request in requests(&plan.new) {
        done.push(Done::Taken(state.take(epoll, request)?));
    }
    for group in plan.work.iter().filter(|group| !group.changes.is_empty()) {
        let before = state.settings(group.id, &group.changes);
        state.configure(group.id, &group.changes)?;
        done.push(Done::Changed(group.id, before));
    }
    for group in plan.work.iter().filter(|group| !group.levels.is_empty()) {
        let before = state.settings(group.id, &group.levels);
        let set = state.group(group.id).map_or(Ok(()), |held| held.set(&group.levels));
        // The kernel may have set a part of them.
        done.push(Done::Changed(group.id, before));
        set.map_err(|error| state.refused(group.levels[0].0, "update", &error))?;
    }
    Ok(())
}

fn undo(state: &mut State, step: Done) {
    match step {
        Done::Taken(id) => state.end(id),
        Done::Changed(id, before) => state.restore(id, &before),
    }
}

/// The lines to take, and what to do with those that are held; nothing for a line that is what it should be.
fn plan(state: &mut State, lines: &[(Pin, Hold)]) -> Result<Plan, GpioError> {
    let mut new = Vec::new();
    let mut work: Vec<Work> = Vec::new();
    for (pin, hold) in lines {
        state.offset(*pin)?;
        let Some(id) = state.group_of(*pin).map(|group| group.id) else {
            new.push((*pin, state.possible(*pin, fresh(hold))));
            continue;
        };
        let wanted = changed(state, *pin, id, hold)?;
        let wanted = state.possible(*pin, wanted);
        let Some(now) = state.group(id).and_then(|group| group.setting(*pin)) else { continue };
        if now == wanted {
            continue;
        }
        let known = work.iter().position(|group| group.id == id);
        let at = known.unwrap_or_else(|| {
            work.push(Work { id, changes: Vec::new(), levels: Vec::new() });
            work.len() - 1
        });
        let group = &mut work[at];
        match wanted.level() {
            Some(level) if now.same_but_for_the_level(&wanted) => group.levels.push((*pin, level)),
            _ => group.changes.push((*pin, wanted)),
        }
    }
    // Where a call changes settings anyway, it sets the levels with them.
    for group in work.iter_mut().filter(|group| !group.changes.is_empty()) {
        for (pin, level) in std::mem::take(&mut group.levels) {
            let now = state.group(group.id).and_then(|held| held.setting(pin));
            group.changes.extend(now.map(|setting| (pin, setting.with_level(level))));
        }
    }
    Ok(Plan { new, work })
}

/// What a line that is not held is taken as.
fn fresh(hold: &Hold) -> Setting {
    let role = match hold.role {
        Wanted::Input { edge, debounce } => Role::Input { edge, debounce },
        Wanted::Output { level } => Role::Output { level },
        Wanted::OutputAsIs => Role::AsIs,
    };
    Setting { active_low: hold.active_low, bias: hold.bias, role }
}

/// What a held line becomes: a bias of which nothing is said stays, and so does the level of an output as it is.
fn changed(state: &mut State, pin: Pin, id: u64, hold: &Hold) -> Result<Setting, GpioError> {
    let mut wanted = fresh(hold);
    let Some(now) = state.group(id).and_then(|group| group.setting(pin)) else { return Ok(wanted) };
    wanted.bias = wanted.bias.or(now.bias);
    if wanted.role == Role::AsIs {
        let read = state.group(id).map(|group| group.levels(&[pin])).transpose();
        let read = read.map_err(|error| state.refused(pin, "read", &error))?;
        let level = read.and_then(|levels| levels.first().copied()).unwrap_or(Level::Low);
        let turned = now.active_low != wanted.active_low;
        wanted = wanted.with_level(if turned { level.inverted() } else { level });
    }
    Ok(wanted)
}

/// As few requests as the kernel's room for settings allows; nearly always one.
fn requests(new: &[(Pin, Setting)]) -> Vec<&[(Pin, Setting)]> {
    let mut requests = Vec::new();
    let mut rest = new;
    while !rest.is_empty() {
        let settings: Vec<Setting> = rest.iter().map(|(_, setting)| *setting).collect();
        let count = (1..=rest.len()).rev().find(|count| setting::fits(&settings[..*count])).unwrap_or(1);
        let (request, others) = rest.split_at(count);
        requests.push(request);
        rest = others;
    }
    requests
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::tests::{self as rig, pin};
    use super::*;
    use crate::types::line::Edge;

    /// What only a race can do to [`hold`], which has looked before: a line that is taken at the last moment.
    #[test]
    fn what_was_done_is_undone_when_a_later_step_fails() {
        if rig::absent() {
            return;
        }
        let sim = rig::Sim::new("undo", 28, Some((17, "spi0 CS1")));
        let shared = sim.shared();
        let output = |level| Setting { active_low: false, bias: None, role: Role::Output { level } };
        let input = |millis| {
            let role = Role::Input { edge: Edge::Both, debounce: Duration::from_millis(millis) };
            Setting { active_low: false, bias: None, role }
        };
        let mut state = shared.lock();
        let new = vec![(pin(5), output(Level::High)), (pin(6), output(Level::Low))];
        all_or_nothing(&mut state, &shared.epoll, &Plan { new, work: Vec::new() }).expect("both are free");
        let id = state.groups[0].id;
        // Eleven debounce times are two requests, and the second one has a line that is held.
        let mut new: Vec<(Pin, Setting)> = (7..17).map(|bcm| (pin(bcm), input(u64::from(bcm)))).collect();
        new.push((pin(17), input(17)));
        let work = vec![Work { id, changes: Vec::new(), levels: vec![(pin(6), Level::High)] }];
        let error = all_or_nothing(&mut state, &shared.epoll, &Plan { new, work }).expect_err("17 is held");
        assert_eq!(error, GpioError::Held { pin: pin(17), consumer: "spi0 CS1".into() });
        assert_eq!((state.groups.len(), sim.value(5), sim.value(6)), (1, true, false));
        assert!((7..17).all(|line| sim.consumer(line).is_none()), "those taken first are let go");
        // And a request's changes are taken back.
        let before = state.settings(id, &[(pin(5), ()), (pin(6), ())]);
        state.configure(id, &[(pin(5), input(1)), (pin(6), output(Level::High))]).expect("possible");
        assert_eq!((sim.is_output(5), sim.value(6)), (false, true));
        undo(&mut state, Done::Changed(id, before));
        assert_eq!((sim.is_output(5), sim.value(5), sim.value(6)), (true, true, false));
    }

    #[test]
    fn what_does_not_fit_into_one_request_becomes_several() {
        let line = |bcm: u8, millis: u64| {
            let role = Role::Input { edge: Edge::Both, debounce: Duration::from_millis(millis) };
            (Pin::new(bcm).expect("a BCM number below 28"), Setting { active_low: false, bias: None, role })
        };
        let same: Vec<_> = (0..28).map(|bcm| line(bcm, 5)).collect();
        let different: Vec<_> = (0..28).map(|bcm| line(bcm, u64::from(bcm) + 1)).collect();
        let sizes = |lines: &[(Pin, Setting)]| requests(lines).iter().map(|lines| lines.len()).collect::<Vec<_>>();
        assert!(sizes(&[]).is_empty());
        assert_eq!(sizes(&same), [28]);
        assert_eq!(sizes(&different), [10, 10, 8]);
    }
}
