//! The chip, and the lines that are held of it.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use gpiocdev::Error;
use gpiocdev::line::Offset;
use rustix::event::epoll;
use rustix::io::Errno;

use super::chip::Board;
use super::group::{CONSUMER, Group};
use super::refusal;
use super::setting::{self, Setting};
use crate::gpio::lines::{GpioError, NAMELESS, RawEdge};
use crate::types::line::{Edge, LineState, Pin};

/// Edges that were still unread when their lines were let go, and wait for the reader: so many at most.
const LEFT_EDGES: usize = 8 * 1024;

/// What epoll knows the chip's own descriptor by.
pub const CHIP: u64 = 0;
/// What it knows the event by that wakes the reader.
pub const WAKE: u64 = 1;
/// The first request's; counted up.
const FIRST_GROUP: u64 = 2;

/// Everything behind the lock.
pub struct State {
    /// `None` while it is gone.
    pub board: Option<Board>,
    /// Why it is gone.
    pub gone: String,
    pub groups: Vec<Group>,
    /// Whether somebody reads edges.
    pub watched: bool,
    /// Unread edges of requests that are no more.
    left: VecDeque<RawEdge>,
    /// Edges of each line that found no room there.
    dropped: [u32; Pin::COUNT],
    /// Lines that cannot report edges, and lines the kernel cannot debounce; found out by trying.
    edgeless: [bool; Pin::COUNT],
    bouncing: [bool; Pin::COUNT],
    next_group: u64,
}

impl State {
    pub fn new(board: Board) -> State {
        State {
            board: Some(board),
            gone: String::new(),
            groups: Vec::new(),
            watched: false,
            left: VecDeque::new(),
            dropped: [0; Pin::COUNT],
            edgeless: [false; Pin::COUNT],
            bouncing: [false; Pin::COUNT],
            next_group: FIRST_GROUP,
        }
    }

    /// # Errors
    /// [`GpioError::ChipGone`].
    pub fn board(&self, pin: Pin) -> Result<&Board, GpioError> {
        self.board.as_ref().ok_or_else(|| GpioError::ChipGone { pin, why: self.gone.clone() })
    }

    /// # Errors
    /// [`GpioError::Unsupported`] where the chip lacks the line.
    pub fn offset(&self, pin: Pin) -> Result<Offset, GpioError> {
        self.board(pin)?.offset(pin).ok_or(GpioError::Unsupported { pin })
    }

    /// What the line's wanted setting comes to, with what is known not to work left out.
    pub fn possible(&self, pin: Pin, wanted: Setting) -> Setting {
        if self.edgeless[index(pin)] {
            wanted.without_edges()
        } else if self.bouncing[index(pin)] {
            wanted.without_debounce()
        } else {
            wanted
        }
    }

    /// The request a line is in.
    pub fn group_of(&mut self, pin: Pin) -> Option<&mut Group> {
        self.groups.iter_mut().find(|group| group.has(pin))
    }

    pub fn group(&mut self, id: u64) -> Option<&mut Group> {
        self.groups.iter_mut().find(|group| group.id == id)
    }

    pub fn reports_edges(&self, pin: Pin) -> bool {
        self.groups.iter().filter_map(|group| group.held(pin)).any(|setting| setting.edge() != Edge::None)
    }

    /// What a line is, from what the kernel tells everybody; only a line of ours is read.
    pub fn inspect(&mut self, pin: Pin) -> Result<LineState, GpioError> {
        let offset = self.offset(pin)?;
        let info = match self.board(pin)?.chip.line_info(offset) {
            Ok(info) => info,
            Err(error) => return Err(self.refused(pin, "read", &error)),
        };
        let read = self.group_of(pin).map(|group| group.levels(&[pin]));
        let level = match read.transpose() {
            Ok(levels) => levels.and_then(|levels| levels.first().copied()),
            Err(error) => return Err(self.refused(pin, "read", &error)),
        };
        let ours = level.is_some();
        Ok(LineState {
            direction: Some(setting::direction(info.direction)),
            level,
            bias: info.bias.map(setting::bias),
            active_low: info.active_low,
            consumer: (info.used && !ours).then(|| consumer(info.consumer)),
            pwm: None,
        })
    }

    /// Takes new lines in one request, without what the kernel refuses.
    ///
    /// # Errors
    /// The first line that stands in the way.
    pub fn take(&mut self, epoll: &OwnedFd, wanted: &[(Pin, Setting)]) -> Result<u64, GpioError> {
        let first = wanted[0].0;
        let path = self.board(first)?.path();
        let id = self.next_group;
        self.next_group += 1;
        let taken = self.weaker_and_weaker(wanted, |state, settings| {
            let lines: Vec<(Pin, Offset, Setting)> =
                settings.iter().filter_map(|(pin, setting)| Some((*pin, state.offset(*pin).ok()?, *setting))).collect();
            Group::take(id, &path, &lines)
        });
        let mut group = taken.map_err(|error| self.not_taken(wanted, &error))?;
        // Dropped, it lets go of lines that nothing was done to but what was asked.
        group.drive_as_is(wanted).map_err(|error| self.refused(first, "update", &error))?;
        epoll::add(epoll, &group.request, epoll::EventData::new_u64(id), epoll::EventFlags::IN)
            .map_err(|error| system(first, error))?;
        self.groups.push(group);
        Ok(id)
    }

    /// Changes lines of one request, without what the kernel refuses. On an error all its lines are as before.
    pub fn configure(&mut self, id: u64, changes: &[(Pin, Setting)]) -> Result<(), GpioError> {
        let first = changes[0].0;
        let before = self.settings(id, changes);
        let configured = self.weaker_and_weaker(changes, |state, changes| match state.group(id) {
            Some(group) => group.configure(changes),
            None => Ok(()),
        });
        configured.map_err(|error| {
            // The kernel may have done a part of it.
            self.restore(id, &before);
            self.refused(first, "update", &error)
        })
    }

    /// The settings these lines of a request have now.
    pub fn settings<T>(&mut self, id: u64, lines: &[(Pin, T)]) -> Vec<(Pin, Setting)> {
        let Some(group) = self.group(id) else { return Vec::new() };
        lines.iter().filter_map(|(pin, _)| Some((*pin, group.setting(*pin)?))).collect()
    }

    /// Puts lines of a request back to what they were.
    pub fn restore(&mut self, id: u64, before: &[(Pin, Setting)]) {
        let Some(group) = self.group(id) else { return };
        if let Err(error) = group.configure(before) {
            log::error!("lines that could not be set could not be put back either: {error}");
        }
    }

    /// Tries as asked, then without debounce, then without edges, and remembers what did not work.
    fn weaker_and_weaker<T>(
        &mut self,
        wanted: &[(Pin, Setting)],
        mut attempt: impl FnMut(&mut State, &[(Pin, Setting)]) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let first = match attempt(self, wanted) {
            Err(error) if refusal::may_be_for_edges(&error) && !self.is_gone() => error,
            other => return other,
        };
        for weaken in [Setting::without_debounce as fn(Setting) -> Setting, Setting::without_edges] {
            let weaker: Vec<(Pin, Setting)> = wanted.iter().map(|(pin, setting)| (*pin, weaken(*setting))).collect();
            if weaker == wanted {
                continue;
            }
            let Ok(done) = attempt(self, &weaker) else { continue };
            for ((pin, asked), (_, got)) in wanted.iter().zip(&weaker) {
                if asked.edge() != got.edge() {
                    self.edgeless[index(*pin)] = true;
                    log::warn!("{pin} reports no edges: the kernel refuses edge detection on it ({first})");
                } else if asked != got {
                    self.bouncing[index(*pin)] = true;
                    log::warn!("{pin} is not debounced: the kernel refuses that for it ({first})");
                }
            }
            return Ok(done);
        }
        Err(first)
    }

    fn is_gone(&self) -> bool {
        self.board.as_ref().is_none_or(|board| board.chip.info().is_err())
    }

    /// Why lines could not be taken: the first one that somebody else holds, else what the kernel said.
    fn not_taken(&mut self, wanted: &[(Pin, Setting)], error: &Error) -> GpioError {
        let first = wanted[0].0;
        if refusal::is(error, Errno::BUSY) {
            let pins: Vec<Pin> = wanted.iter().map(|(pin, _)| *pin).collect();
            return match self.all_free(&pins) {
                Err(held) => held,
                Ok(()) => {
                    let why = "it was held by somebody who has let go of it meanwhile; try again".to_owned();
                    GpioError::Refused { pin: first, why }
                }
            };
        }
        self.refused(first, "update", error)
    }

    /// Whether nobody holds these lines: asked before a request, because the kernel sets the lines of a request one
    /// after the other, and has set some already when it comes to one that is held.
    ///
    /// # Errors
    /// [`GpioError::Held`] for the first line that is held.
    pub fn all_free(&mut self, pins: &[Pin]) -> Result<(), GpioError> {
        for pin in pins {
            let offset = self.offset(*pin)?;
            let info = self.board(*pin)?.chip.line_info(offset);
            match info {
                Ok(info) if info.used => {
                    return Err(GpioError::Held { pin: *pin, consumer: consumer(info.consumer) });
                }
                Ok(_) => {}
                Err(error) => return Err(self.refused(*pin, "update", &error)),
            }
        }
        Ok(())
    }

    /// The kernel's refusal in our words. A chip that has vanished is noticed here.
    pub fn refused(&mut self, pin: Pin, doing: &'static str, error: &Error) -> GpioError {
        if refusal::is(error, Errno::NODEV) && self.is_gone() {
            self.lose("it was removed");
            return GpioError::ChipGone { pin, why: self.gone.clone() };
        }
        refusal::system(pin, doing, error)
    }

    /// Lets go of a line. The kernel takes back whole requests only: in a request that has other lines it becomes
    /// an input without edges, and goes with the last of them.
    pub fn release(&mut self, pins: &[Pin]) {
        let ids: Vec<u64> = self.groups.iter().map(|group| group.id).collect();
        for id in ids {
            let Some(group) = self.group(id) else { continue };
            let parked: Vec<(Pin, Setting)> =
                pins.iter().filter_map(|pin| Some((*pin, group.held(*pin)?.parked()))).collect();
            if parked.is_empty() {
                continue;
            }
            parked.iter().for_each(|(pin, _)| group.park(*pin, true));
            if group.is_deserted() {
                self.end(id);
            } else if let Err(error) = group.configure(&parked) {
                log::warn!("{} could not be made an input when it was let go: {error}", parked[0].0);
            }
        }
    }

    /// Ends a request; its unread edges are kept for the reader.
    pub fn end(&mut self, id: u64) {
        let Some(position) = self.groups.iter().position(|group| group.id == id) else { return };
        let mut group = self.groups.swap_remove(position);
        let mut edges = Vec::new();
        // At most what the kernel keeps for one request.
        while self.watched && group.read(&mut edges).unwrap_or(false) {}
        edges.into_iter().for_each(|edge| self.leave(edge));
    }

    /// Keeps an edge for the reader. Where there is no room the oldest one goes, and is counted as lost before the
    /// next one of its line.
    fn leave(&mut self, mut edge: RawEdge) {
        if self.left.len() == LEFT_EDGES
            && let Some(oldest) = self.left.pop_front()
        {
            let lost = oldest.lost.saturating_add(1);
            match self.left.iter_mut().find(|edge| edge.pin == oldest.pin) {
                Some(next) => next.lost = next.lost.saturating_add(lost),
                None => {
                    let dropped = &mut self.dropped[index(oldest.pin)];
                    *dropped = dropped.saturating_add(lost);
                }
            }
        }
        edge.lost = edge.lost.saturating_add(std::mem::take(&mut self.dropped[index(edge.pin)]));
        self.left.push_back(edge);
    }

    /// The edges of ended requests.
    pub fn leftovers(&mut self, edges: &mut Vec<RawEdge>) {
        edges.extend(self.left.drain(..));
    }

    pub fn has_leftovers(&self) -> bool {
        !self.left.is_empty()
    }

    /// The next batch of a request's edges.
    pub fn read(&mut self, id: u64, edges: &mut Vec<RawEdge>) {
        let Some(group) = self.group(id) else { return };
        let from = edges.len();
        if let Err(error) = group.read(edges) {
            if self.is_gone() {
                self.lose("it was removed");
            } else {
                log::error!("edges cannot be read: {error}; the lines are held without them");
                self.silence(id);
            }
        }
        for edge in &mut edges[from..] {
            edge.lost = edge.lost.saturating_add(std::mem::take(&mut self.dropped[index(edge.pin)]));
        }
    }

    /// Stops asking a request for edges that cannot be read, which would never end.
    fn silence(&mut self, id: u64) {
        let Some(group) = self.group(id) else { return };
        let edged = |group: &Group, pin: Pin| Some((pin, group.setting(pin)?.without_edges()));
        let pins = (0..).map_while(Pin::new);
        let changes: Vec<(Pin, Setting)> = pins.filter_map(|pin| edged(group, pin)).collect();
        self.restore(id, &changes);
    }

    /// The chip is gone, and every line with it.
    pub fn lose(&mut self, why: &str) {
        let ids: Vec<u64> = self.groups.iter().map(|group| group.id).collect();
        ids.into_iter().for_each(|id| self.end(id));
        why.clone_into(&mut self.gone);
        self.board = None;
    }

    /// The chip is there again. What its lines can do is found out anew.
    pub fn found(&mut self, board: Board) {
        self.board = Some(board);
        self.edgeless = [false; Pin::COUNT];
        self.bouncing = [false; Pin::COUNT];
    }

    /// Whether this process holds the line, also where nobody wants it any more.
    pub fn is_ours(&self, pin: Pin) -> bool {
        self.groups.iter().any(|group| group.has(pin))
    }
}

/// Who holds a line; the kernel itself does not always say its name.
pub fn consumer(name: String) -> String {
    if name.is_empty() { NAMELESS.to_owned() } else { name }
}

pub fn is_us(name: &str) -> bool {
    name == CONSUMER
}

pub fn system(pin: Pin, error: Errno) -> GpioError {
    GpioError::System { pin, doing: "update", why: std::io::Error::from(error).to_string() }
}

fn index(pin: Pin) -> usize {
    usize::from(pin.number())
}
