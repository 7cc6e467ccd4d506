//! A timer that ends a wait for events to the microsecond. The wait's own limit is in milliseconds, which would
//! add half of one to every latency that is counted from a scheduled time.

use mio::{Interest, Poll, Token, unix::SourceFd};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use std::{
    io,
    os::fd::{AsRawFd as _, OwnedFd},
};

/// Wakes a [`Poll`] at a time.
#[derive(Debug)]
pub struct Timer {
    timer: OwnedFd,
    set_us: Option<u64>,
}

impl Timer {
    /// A timer that is not set, and shows up as `token` when its time has come.
    ///
    /// # Errors
    /// The system has no files left.
    pub fn new(poll: &Poll, token: Token) -> io::Result<Self> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        // It is never read: setting it again makes it silent until the next time.
        poll.registry().register(&mut SourceFd(&timer.as_raw_fd()), token, Interest::READABLE)?;
        Ok(Self { timer, set_us: None })
    }

    /// Wakes the poll at `at_us`, unless it is set to that already.
    ///
    /// # Errors
    /// The system refuses.
    pub fn set(&mut self, at_us: u64, now_us: u64) -> io::Result<()> {
        if self.set_us == Some(at_us) && at_us > now_us {
            return Ok(());
        }
        // 0 would switch it off.
        let wait_us = at_us.saturating_sub(now_us).max(1);
        let once = Timespec { tv_sec: 0, tv_nsec: 0 };
        let wait = Timespec {
            tv_sec: i64::try_from(wait_us / 1_000_000).unwrap_or(i64::MAX),
            tv_nsec: (wait_us % 1_000_000 * 1000) as _,
        };
        let spec = Itimerspec { it_interval: once, it_value: wait };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &spec)?;
        self.set_us = Some(at_us);
        Ok(())
    }
}
