//! Waiting for whichever of many connections has something to read.

use std::os::fd::OwnedFd;
use std::time::Instant;

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;

use crate::Result;
use crate::client::{Client, STALL_LIMIT};

pub struct Ready {
    epoll: OwnedFd,
    events: Vec<Event>,
    numbers: Vec<usize>,
}

impl Ready {
    /// Watches all of `clients`, to be known by their place in the slice.
    pub fn watch(clients: &[Client]) -> Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        for (number, client) in clients.iter().enumerate() {
            epoll::add(&epoll, client, EventData::new_u64(number as u64), EventFlags::IN)?;
        }
        let room = clients.len();
        Ok(Self { epoll, events: Vec::with_capacity(room), numbers: Vec::with_capacity(room) })
    }

    /// The connections that can be read now; there is at least one, or the server has stalled.
    pub fn wait(&mut self) -> Result<&[usize]> {
        match self.wait_until(Instant::now() + STALL_LIMIT)? {
            [] => Err(format!("the server said nothing for {STALL_LIMIT:?}").into()),
            ready => Ok(ready),
        }
    }

    /// The same with a limit; none of them when it is reached.
    pub fn wait_until(&mut self, until: Instant) -> Result<&[usize]> {
        self.events.clear();
        while self.events.is_empty() {
            let left = until.saturating_duration_since(Instant::now());
            match epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&Timespec::try_from(left)?)) {
                Ok(0) if left.is_zero() => break,
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.numbers.clear();
        self.numbers.extend(self.events.iter().map(|event| event.data.u64() as usize));
        Ok(&self.numbers)
    }
}
