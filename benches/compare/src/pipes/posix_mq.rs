//! POSIX message queues, one each way, as large as an ordinary user may have them (10
//! messages of 8 KiB). Kept in the kernel; the name goes as soon as both sides have it.

use super::fresh_name;
use nix::mqueue::{MQ_OFlag, MqAttr, MqdT, mq_close, mq_open, mq_receive, mq_send, mq_unlink};
use nix::sys::stat::Mode;
use ringway_benches::Fallible;
use ringway_benches::control::Parcel;
use ringway_benches::subject::Duplex;

const MESSAGES: i64 = 10;
/// Longest message.
pub const LONGEST: usize = 8192;

/// An open queue; the crate's own descriptor does not close itself.
pub struct Mq(Option<MqdT>);

impl Mq {
    /// Sends; waits for room.
    pub fn send(&self, message: &[u8]) -> Fallible {
        Ok(mq_send(self.0.as_ref().ok_or("closed")?, message, 0)?)
    }

    /// Receives into room for the longest message; gives the length.
    pub fn recv(&self, room: &mut [u8]) -> Fallible<usize> {
        let mut priority = 0;
        Ok(mq_receive(self.0.as_ref().ok_or("closed")?, room, &mut priority)?)
    }
}

impl Drop for Mq {
    fn drop(&mut self) {
        if let Some(queue) = self.0.take() {
            // Nothing can be done about one that stays open.
            let _ = mq_close(queue);
        }
    }
}

/// One end.
pub struct PosixMq {
    to: Mq,
    from: Mq,
    room: Vec<u8>,
}

/// Opens a queue, making it if there is none.
pub fn open(name: &str, longest: usize) -> Fallible<Mq> {
    let flags = MQ_OFlag::O_RDWR | MQ_OFlag::O_CREAT | MQ_OFlag::O_CLOEXEC;
    let attributes = MqAttr::new(0, MESSAGES, i64::try_from(longest)?, 0);
    Ok(Mq(Some(mq_open(name, flags, Mode::S_IRUSR | Mode::S_IWUSR, Some(&attributes))?)))
}

impl Duplex for PosixMq {
    const NAME: &'static str = "posix_mq";

    fn create() -> Fallible<(Self, Parcel)> {
        let name = format!("/{}", fresh_name("mq"));
        let (there, back) = (format!("{name}-there"), format!("{name}-back"));
        let own = Self {
            to: open(&there, LONGEST)?,
            from: open(&back, LONGEST)?,
            room: vec![0; LONGEST],
        };
        Ok((own, Parcel { bytes: name.into_bytes(), descriptors: Vec::new() }))
    }

    fn attach(parcel: Parcel) -> Fallible<Self> {
        let name = String::from_utf8(parcel.bytes)?;
        let (there, back) = (format!("{name}-there"), format!("{name}-back"));
        let own = Self {
            to: open(&back, LONGEST)?,
            from: open(&there, LONGEST)?,
            room: vec![0; LONGEST],
        };
        mq_unlink(there.as_str())?;
        mq_unlink(back.as_str())?;
        Ok(own)
    }

    fn send(&mut self, message: &[u8]) -> Fallible {
        self.to.send(message)
    }

    fn recv(&mut self, message: &mut [u8]) -> Fallible {
        let len = self.from.recv(&mut self.room)?;
        if len != message.len() {
            return Err(format!("a message of {len} bytes came").into());
        }
        message.copy_from_slice(&self.room[..len]);
        Ok(())
    }
}
