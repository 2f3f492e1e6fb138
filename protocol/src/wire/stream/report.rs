//! What became of a push, as the gateway tells its backend.

use crate::error::Error;
use crate::limits::ID_LEN_MAX;
use crate::wire::cursor::{Fields, Value};
use crate::wire::sink::{Message, Sink};

/// See `Report` in `proto/stream.proto`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report<'b> {
    /// The push's.
    pub number: u64,
    /// How it ended.
    pub outcome: PushOutcome,
    /// An [`Undelivered`](crate::Undelivered)'s number.
    pub reason: u32,
    /// The report's own number; 0: it need not be acknowledged.
    pub report: u64,
    /// The device it is about, at most 64 bytes; empty for none in particular.
    pub device: &'b [u8],
    /// Class of the device, a [`DeviceClass`](crate::DeviceClass)'s number.
    pub class: u32,
    /// How many reports the push owes; 0 for not said.
    pub devices: u32,
    /// Of a push to several users the one it is about, at most 64 bytes.
    pub user: &'b [u8],
}

/// What became of a push.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum PushOutcome {
    /// The client acknowledged it.
    #[default]
    Delivered = 0,
    /// It was not acknowledged, for the given reason.
    Undelivered = 1,
    /// Nobody knows.
    Unknown = 2,
}

impl<'b> Report<'b> {
    /// A name that is too long is taken for none: what the report says of its push stands without it, and a push whose
    /// report were skipped would stay open for ever.
    pub(super) fn decode(inner: &'b [u8]) -> Result<Self, Error> {
        let mut report = Self::default();
        let mut fields = Fields::new(inner);
        while let Some(field) = fields.next()? {
            match field {
                (1, Value::Varint(number)) => report.number = number,
                (2, Value::Varint(outcome)) => {
                    // An outcome of a later version is one this version knows nothing about.
                    report.outcome = match outcome as i32 {
                        0 => PushOutcome::Delivered,
                        1 => PushOutcome::Undelivered,
                        _ => PushOutcome::Unknown,
                    }
                }
                (3, Value::Varint(reason)) => report.reason = reason as u32,
                (4, Value::Varint(number)) => report.report = number,
                (5, Value::Bytes(device)) => report.device = name(device),
                (6, Value::Varint(class)) => report.class = class as u32,
                (7, Value::Varint(devices)) => report.devices = devices as u32,
                (8, Value::Bytes(user)) => report.user = name(user),
                _ => {}
            }
        }
        Ok(report)
    }
}

impl Message for Report<'_> {
    fn fields(&self, to: &mut impl Sink) {
        to.varint(1, self.number);
        to.varint(2, self.outcome as u64);
        to.varint(3, self.reason.into());
        to.varint(4, self.report);
        to.bytes(5, self.device);
        to.varint(6, self.class.into());
        to.varint(7, self.devices.into());
        to.bytes(8, self.user);
    }
}

/// A device or user, or none.
const fn name(bytes: &[u8]) -> &[u8] {
    if bytes.len() <= ID_LEN_MAX { bytes } else { &[] }
}
