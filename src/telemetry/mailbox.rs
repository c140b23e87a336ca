//! The firmware's property interface, by ioctl on `/dev/vcio` and `/dev/vcio_gencmd`.
//!
//! A message is a buffer of 32-bit words that the firmware answers in place:
//!
//! | words | meaning | in the answer |
//! |---|---|---|
//! | 0 | size of the buffer in bytes | |
//! | 1 | 0: request | 0x80000000: the message was processed; 0x80000001: it was not, or in part |
//! | 2 | tag: what is asked | |
//! | 3 | size of the value in bytes | |
//! | 4 | | bit 31: **this tag was answered**; below it the length of the answer in bytes |
//! | 5 … | value | the answer, cut off at the value's size |
//! | last | 0: no further tag | |
//!
//! A firmware that does not know a tag says so nowhere but in word 4; the ioctl succeeds all the same.
//!
//! | device | who may open it | what it carries |
//! |---|---|---|
//! | `/dev/vcio_gencmd` | group `video` | commands as text, as `vcgencmd` sends them; newest kernels only |
//! | `/dev/vcio` | group `video`; root alone where the other exists | everything |
//!
//! The narrow device is asked first: it is the one a confined service is given. Numbers are preferred on the
//! wide one, and text is asked there too because firmwares older than the tag for measured clocks have the
//! command.

// The one place in the room where a system call has no safe wrapper: an ioctl of a driver of its own.
#![allow(unsafe_code)]

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::ioctl::{Opcode, Updater, opcode};

use super::firmware::{Answer, Question};
use crate::rt::clock;

/// `_IOWR(100, 0, char *)`: the size in it is that of a pointer, whatever the buffer's.
const IOCTL_MBOX_PROPERTY: Opcode = opcode::read_write::<*mut u8>(100, 0);

/// How long a device that failed is left alone. A firmware that is stuck costs the kernel's timeout of a second
/// each time it is asked.
const REST: Duration = Duration::from_secs(10);

/// How long one caller waits for those before it; the kernel's timeout is a second.
const TURN_DEADLINE: Duration = Duration::from_millis(1500);

/// The one code for a message that was processed.
const PROCESSED: u32 = 0x8000_0000;

/// Bit 31 of a tag's length.
const ANSWERED: u32 = 1 << 31;

const GET_TEMPERATURE: u32 = 0x0003_0006;
const GET_THROTTLED: u32 = 0x0003_0046;
const GET_CLOCK_RATE_MEASURED: u32 = 0x0003_0047;
const GET_GENCMD_RESULT: u32 = 0x0003_0080;

const CLOCK_ARM: u32 = 3;
const CLOCK_CORE: u32 = 4;

/// Header, tag header, two words of value, end.
const NUMBER_WORDS: usize = 8;
/// Header, tag header, 1024 bytes of value as `vcgencmd` has it, end.
const TEXT_WORDS: usize = 5 + TEXT_VALUE_WORDS + 1;
const TEXT_VALUE_WORDS: usize = 256;
/// Where a value begins.
const VALUE: usize = 5;

/// The way to the firmware below a root.
pub struct Mailbox {
    narrow: Device,
    wide: Device,
}

impl Mailbox {
    /// Opens nothing yet: no hardware is touched before a client asks.
    pub fn new(root: &Path) -> Mailbox {
        Mailbox { narrow: Device::new(root.join("dev/vcio_gencmd")), wide: Device::new(root.join("dev/vcio")) }
    }

    /// The firmware's answer; `None` if there is no mailbox, no permission, or no answer.
    pub fn ask(&self, question: Question) -> Option<Answer> {
        text(&self.narrow, question).or_else(|| number(&self.wide, question)).or_else(|| text(&self.wide, question))
    }
}

fn number(device: &Device, question: Question) -> Option<Answer> {
    let mut message = number_request(question);
    device.send(&mut message)?;
    number_answer(question, &message).map(Answer::Number)
}

fn text(device: &Device, question: Question) -> Option<Answer> {
    let mut message = text_request(question);
    device.send(&mut message)?;
    text_answer(question, &message).map(Answer::Text)
}

/// One device, opened when first needed, and asked by one thread at a time.
///
/// The kernel would queue the callers too, but each of them for the full timeout of a firmware that is stuck.
/// Here those who waited find out that the one before them had no answer.
struct Device {
    path: PathBuf,
    state: Mutex<State>,
    released: Condvar,
}

enum State {
    Closed,
    Open(OwnedFd),
    /// A thread has taken it and is asking.
    Taken,
    /// Failed at this time.
    Resting(Instant),
}

impl Device {
    fn new(path: PathBuf) -> Device {
        Device { path, state: Mutex::new(State::Closed), released: Condvar::new() }
    }

    /// Sends `message` and waits for the answer, which replaces it. `None` if there is no such device or it
    /// failed; then it is left alone for a while.
    fn send<const WORDS: usize>(&self, message: &mut [u32; WORDS]) -> Option<()> {
        let device = match self.take()? {
            Some(device) => device,
            None => self.open()?,
        };
        match exchange(&device, message) {
            Ok(()) => {
                self.release(State::Open(device));
                Some(())
            }
            Err(error) => {
                log::debug!("{}: {error}; not asked again for {REST:?}", self.path.display());
                self.release(State::Resting(clock::now()));
                None
            }
        }
    }

    /// Takes the device, `Some(None)` if it has yet to be opened; who has taken it must release it. `None` if it
    /// is resting, or does not become free.
    fn take(&self) -> Option<Option<OwnedFd>> {
        let is_taken = |state: &mut State| matches!(state, State::Taken);
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.released.wait_timeout_while(state, TURN_DEADLINE, is_taken);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *state, State::Taken) {
            State::Open(device) => Some(Some(device)),
            State::Closed => Some(None),
            State::Resting(since) if clock::now().saturating_duration_since(since) >= REST => Some(None),
            State::Resting(since) => {
                *state = State::Resting(since);
                None
            }
            State::Taken => None,
        }
    }

    fn release(&self, state: State) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
        self.released.notify_all();
    }

    /// Absence and lack of permission are ordinary: most machines have no mailbox, and not everybody may use it.
    fn open(&self) -> Option<OwnedFd> {
        // Reading rights are enough for the ioctl, as they are for `vcgencmd`.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        match rustix::fs::open(&self.path, flags, Mode::empty()) {
            Ok(device) => Some(device),
            Err(Errno::NOENT) => {
                self.release(State::Closed);
                None
            }
            Err(error) => {
                log::debug!("{}: {error}", self.path.display());
                self.release(State::Resting(clock::now()));
                None
            }
        }
    }
}

/// The ioctl itself.
fn exchange<const WORDS: usize>(device: &OwnedFd, message: &mut [u32; WORDS]) -> Result<(), Errno> {
    // Set here, beside the call whose safety rests on it, whoever built the message.
    message[0] = bytes(WORDS);
    // SAFETY: The driver takes the buffer's size from its first word, then reads and writes exactly that many
    // bytes at the pointer; they are those of `message`, which is borrowed exclusively for the call, and any
    // bits are valid words. Other drivers refuse the number with ENOTTY without touching the buffer.
    unsafe { rustix::ioctl::ioctl(device, Updater::<IOCTL_MBOX_PROPERTY, [u32; WORDS]>::new(message)) }
}

/// The size of so many words; they are few.
const fn bytes(words: usize) -> u32 {
    (words * size_of::<u32>()) as u32
}

/// A message with one tag for a number.
fn number_request(question: Question) -> [u32; NUMBER_WORDS] {
    let (tag, value) = match question {
        // A value other than 0 would clear the flags since boot, for everybody.
        Question::Throttled => (GET_THROTTLED, 0),
        Question::ArmClock => (GET_CLOCK_RATE_MEASURED, CLOCK_ARM),
        Question::CoreClock => (GET_CLOCK_RATE_MEASURED, CLOCK_CORE),
        // The only sensor is number 0.
        Question::Temperature => (GET_TEMPERATURE, 0),
    };
    [bytes(NUMBER_WORDS), 0, tag, bytes(2), bytes(1), value, 0, 0]
}

/// The number in an answered message. Throttling flags stand in the first word of the value; clocks and
/// temperatures in the second, after the number of what was measured, and 0 there means "no such thing".
fn number_answer(question: Question, message: &[u32; NUMBER_WORDS]) -> Option<u32> {
    let index = if question == Question::Throttled { 0 } else { 1 };
    let complete = message[4] & !ANSWERED >= bytes(index + 1);
    if message[1] != PROCESSED || message[4] & ANSWERED == 0 || !complete {
        return None;
    }
    let number = message[VALUE + index];
    (index == 0 || number != 0).then_some(number)
}

/// A message with one command as text, after a word for the error number.
fn text_request(question: Question) -> [u32; TEXT_WORDS] {
    let mut message = [0; TEXT_WORDS];
    message[0] = bytes(TEXT_WORDS);
    message[2] = GET_GENCMD_RESULT;
    message[3] = bytes(TEXT_VALUE_WORDS);
    for (word, chunk) in message[VALUE + 1..].iter_mut().zip(question.command().as_bytes().chunks(size_of::<u32>())) {
        let mut letters = [0; size_of::<u32>()];
        letters[..chunk.len()].copy_from_slice(chunk);
        *word = u32::from_ne_bytes(letters);
    }
    message
}

/// The text in an answered message, without trailing blanks. Bit 31 of the tag is not asked for here, because
/// `vcgencmd` does not ask for it either: a command that nobody answered stands unchanged in the buffer.
fn text_answer(question: Question, message: &[u32; TEXT_WORDS]) -> Option<String> {
    let (status, error) = (message[1], message[VALUE]);
    if status != PROCESSED || error != 0 {
        return None;
    }
    let letters = message[VALUE + 1..TEXT_WORDS - 1].iter().flat_map(|word| word.to_ne_bytes());
    let text: Vec<u8> = letters.take_while(|letter| *letter != 0).collect();
    let text = String::from_utf8(text).ok()?.trim_end().to_owned();
    (!text.is_empty() && text != question.command() && !text.starts_with("error=")).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::testing::Tree;

    /// What the firmware would write into a request for a number.
    fn answered(question: Question, length: u32, value: [u32; 2]) -> [u32; NUMBER_WORDS] {
        let mut message = number_request(question);
        message[1] = PROCESSED;
        message[4] = ANSWERED | length;
        message[VALUE..VALUE + 2].copy_from_slice(&value);
        message
    }

    fn answered_text(question: Question, error: u32, text: &str) -> [u32; TEXT_WORDS] {
        let mut message = text_request(question);
        message[1] = PROCESSED;
        message[4] = ANSWERED | (4 + text.len() as u32 + 1);
        message[VALUE] = error;
        let mut letters = text.as_bytes().to_vec();
        letters.resize((TEXT_VALUE_WORDS - 1) * 4, 0);
        for (word, chunk) in message[VALUE + 1..].iter_mut().zip(letters.chunks(4)) {
            *word = u32::from_ne_bytes(chunk.try_into().unwrap());
        }
        message
    }

    #[test]
    fn the_ioctl_is_the_drivers() {
        let expected: Opcode = if size_of::<usize>() == 8 { 0xc008_6400 } else { 0xc004_6400 };
        assert_eq!(IOCTL_MBOX_PROPERTY, expected);
    }

    #[test]
    fn a_request_for_a_number_is_one_tag() {
        assert_eq!(number_request(Question::Throttled), [32, 0, 0x30046, 8, 4, 0, 0, 0]);
        assert_eq!(number_request(Question::ArmClock), [32, 0, 0x30047, 8, 4, 3, 0, 0]);
        assert_eq!(number_request(Question::CoreClock), [32, 0, 0x30047, 8, 4, 4, 0, 0]);
        assert_eq!(number_request(Question::Temperature), [32, 0, 0x30006, 8, 4, 0, 0, 0]);
    }

    #[test]
    fn an_answered_number() {
        let throttled = answered(Question::Throttled, 4, [0x50005, 0]);
        assert_eq!(number_answer(Question::Throttled, &throttled), Some(0x50005));
        let throttled = answered(Question::Throttled, 4, [0, 0]);
        assert_eq!(number_answer(Question::Throttled, &throttled), Some(0));
        let clock = answered(Question::ArmClock, 8, [3, 600_169_920]);
        assert_eq!(number_answer(Question::ArmClock, &clock), Some(600_169_920));
        let temperature = answered(Question::Temperature, 8, [0, 48_312]);
        assert_eq!(number_answer(Question::Temperature, &temperature), Some(48_312));
    }

    #[test]
    fn a_tag_without_bit_31_was_not_answered() {
        let mut message = answered(Question::Throttled, 4, [0x50005, 0]);
        message[4] = 4;
        assert_eq!(number_answer(Question::Throttled, &message), None);
        for status in [0, PROCESSED | 1, u32::MAX] {
            let mut message = answered(Question::Throttled, 4, [0x50005, 0]);
            message[1] = status;
            assert_eq!(number_answer(Question::Throttled, &message), None, "nor was the message processed");
        }
    }

    #[test]
    fn an_answer_that_is_too_short_or_zero_is_none() {
        assert_eq!(number_answer(Question::Throttled, &answered(Question::Throttled, 0, [0, 0])), None);
        assert_eq!(number_answer(Question::ArmClock, &answered(Question::ArmClock, 4, [3, 600_169_920])), None);
        assert_eq!(number_answer(Question::ArmClock, &answered(Question::ArmClock, 8, [3, 0])), None);
        assert_eq!(number_answer(Question::Temperature, &answered(Question::Temperature, 8, [0, 0])), None);
    }

    #[test]
    fn a_request_for_text_carries_the_command() {
        let message = text_request(Question::ArmClock);
        assert_eq!(message[..6], [262 * 4, 0, 0x30080, 1024, 0, 0]);
        let letters: Vec<u8> = message[6..].iter().flat_map(|word| word.to_ne_bytes()).collect();
        assert!(letters.starts_with(b"measure_clock arm\0"));
        assert_eq!(message[TEXT_WORDS - 1], 0, "no further tag");
    }

    #[test]
    fn an_answered_text() {
        let message = answered_text(Question::Throttled, 0, "throttled=0x50005");
        assert_eq!(text_answer(Question::Throttled, &message).as_deref(), Some("throttled=0x50005"));
        let message = answered_text(Question::Temperature, 0, "temp=48.3'C\n");
        assert_eq!(text_answer(Question::Temperature, &message).as_deref(), Some("temp=48.3'C"));
    }

    #[test]
    fn a_refused_or_unanswered_command_is_none() {
        let refused = "error=1 error_msg=\"Command not registered\"";
        for (error, text) in [(1, refused), (0, refused), (2, "throttled=0x0"), (0, ""), (0, "get_throttled")] {
            let message = answered_text(Question::Throttled, error, text);
            assert_eq!(text_answer(Question::Throttled, &message), None, "{error} {text}");
        }
        assert_eq!(text_answer(Question::Throttled, &text_request(Question::Throttled)), None);
        let mut in_part = answered_text(Question::Throttled, 0, "throttled=0x0");
        in_part[1] = PROCESSED | 1;
        assert_eq!(text_answer(Question::Throttled, &in_part), None);
        let endless = [u32::from_ne_bytes(*b"\xff\xff\xff\xff"); TEXT_WORDS];
        assert_eq!(text_answer(Question::Throttled, &endless), None);
    }

    #[test]
    fn without_a_device_there_is_no_answer() {
        let tree = Tree::new();
        let mailbox = Mailbox::new(tree.path());
        assert_eq!(mailbox.ask(Question::Throttled), None);
        // A plain file is no mailbox: the ioctl is refused, and the file not asked again at once.
        tree.write("dev/vcio", "");
        assert_eq!(mailbox.ask(Question::Throttled), None);
        assert!(matches!(*mailbox.wide.state.lock().unwrap(), State::Resting(_)));
        assert!(matches!(*mailbox.narrow.state.lock().unwrap(), State::Closed));
        assert_eq!(mailbox.ask(Question::Throttled), None);
    }

    #[test]
    fn who_waits_for_a_device_learns_that_it_failed() {
        let device = Device::new(PathBuf::from("/nonexistent"));
        assert!(matches!(device.take(), Some(None)));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| device.take().is_none());
            device.release(State::Resting(Instant::now()));
            assert!(waiting.join().unwrap());
        });
    }

    #[test]
    fn a_device_that_stays_taken_is_not_waited_for_without_end() {
        let device = Device::new(PathBuf::from("/nonexistent"));
        assert!(matches!(device.take(), Some(None)));
        assert!(device.take().is_none());
        device.release(State::Closed);
        assert!(matches!(device.take(), Some(None)));
    }
}
