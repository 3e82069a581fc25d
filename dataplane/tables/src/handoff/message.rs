//! The messages of the handoff socket as bytes of a fixed layout, and back. What arrives was written by another process,
//! perhaps of another release: everything is checked, nothing is assumed.
//!
//! A message is a header (magic, kind, length of the rest) and fixed fields in little endian. `Hello` and `Refused` never
//! change their layout, so that two releases can at least tell each other that they do not fit.

use core::fmt;

const MAGIC: u32 = u32::from_be_bytes(*b"Tmb1");
const HEADER: usize = 12;
/// Bytes of one port's error text.
const TEXT: usize = 120;
const PORT_ERROR: usize = 8 + TEXT;
/// Ports that one `Applied` can complain about.
pub const PORT_ERRORS_MAX: usize = 64;
/// Worker counts beyond this are refused: a message can carry no more descriptors.
pub const WORKERS_MAX: usize = 128;
/// The longest message in bytes.
pub const MESSAGE_MAX: usize = HEADER + 16 + PORT_ERRORS_MAX * PORT_ERROR;

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageError {
    /// Shorter than a header, or longer than any message.
    Length(usize),
    /// Somebody else's protocol.
    Magic,
    /// A kind that this release does not know.
    Kind(u32),
    /// The length does not fit the kind.
    Truncated,
    /// A field has an impossible value.
    Field(&'static str),
    /// Another number of descriptors than the message should carry.
    Descriptors {
        /// How many it should carry.
        expected: usize,
        /// How many came.
        received: usize,
    },
}

impl fmt::Display for MessageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MessageError::Length(bytes) => write!(f, "a message of {bytes} bytes is impossible"),
            MessageError::Magic => f.write_str("not a message of this protocol"),
            MessageError::Kind(kind) => write!(f, "unknown message kind {kind}"),
            MessageError::Truncated => f.write_str("the message's length does not fit its kind"),
            MessageError::Field(field) => write!(f, "the message's field '{field}' has an impossible value"),
            MessageError::Descriptors { expected, received } => {
                write!(
                    f,
                    "the message should carry {expected} descriptors and carries {received}"
                )
            }
        }
    }
}

impl std::error::Error for MessageError {}

/// A port that the dataplane could not bring to what the generation says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortError {
    /// `PortIndex` of the port.
    pub port: u16,
    /// What is wrong, for people; cut to 120 bytes on the way.
    pub text: String,
}

/// What the two processes say to each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Control, first: which layout it was built for.
    Hello {
        /// `identity::LAYOUT_VERSION`.
        layout_version: u32,
        /// `identity::LAYOUT_HASH`.
        layout_hash: u64,
    },
    /// Dataplane, to a `Hello` that fits. With regions it carries three region descriptors, an eventfd per worker, and control's eventfd.
    Offer {
        /// Its process id.
        pid: u32,
        /// Workers that run; `None` if it has no regions yet.
        workers: Option<u16>,
    },
    /// Control, to an `Offer` without regions: carries the three region descriptors.
    Regions {
        /// Workers that are to run.
        workers: u16,
    },
    /// Dataplane: its workers run. Carries an eventfd per worker, and control's eventfd.
    Ready {
        /// Workers that run.
        workers: u16,
    },
    /// Control: a generation is current; ports and steering may have changed.
    Published {
        /// Its number.
        generation: u64,
    },
    /// Dataplane: ports and steering are as that generation says, except for these ports.
    Applied {
        /// The generation.
        generation: u64,
        /// What is not as it should be.
        errors: Vec<PortError>,
    },
    /// Dataplane, to a `Hello` that does not fit, with the layout that it was built for.
    Refused {
        /// Its `identity::LAYOUT_VERSION`.
        layout_version: u32,
        /// Its `identity::LAYOUT_HASH`.
        layout_hash: u64,
    },
}

impl Message {
    /// How many descriptors travel with it.
    pub fn descriptors(&self) -> usize {
        match self {
            Message::Offer {
                workers: Some(workers), ..
            } => 3 + usize::from(*workers) + 1,
            Message::Regions { .. } => 3,
            Message::Ready { workers } => usize::from(*workers) + 1,
            Message::Offer { workers: None, .. }
            | Message::Hello { .. }
            | Message::Published { .. }
            | Message::Applied { .. }
            | Message::Refused { .. } => 0,
        }
    }

    /// As bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut body = Vec::new();
        let kind: u32 = match self {
            Message::Hello {
                layout_version,
                layout_hash,
            } => {
                put_layout(&mut body, *layout_version, *layout_hash);
                1
            }
            Message::Offer { pid, workers } => {
                body.extend(pid.to_le_bytes());
                body.extend(u16::from(workers.is_some()).to_le_bytes());
                body.extend(workers.unwrap_or(0).to_le_bytes());
                2
            }
            Message::Regions { workers } => {
                body.extend(u32::from(*workers).to_le_bytes());
                3
            }
            Message::Ready { workers } => {
                body.extend(u32::from(*workers).to_le_bytes());
                4
            }
            Message::Published { generation } => {
                body.extend(generation.to_le_bytes());
                5
            }
            Message::Applied { generation, errors } => {
                put_applied(&mut body, *generation, errors);
                6
            }
            Message::Refused {
                layout_version,
                layout_hash,
            } => {
                put_layout(&mut body, *layout_version, *layout_hash);
                7
            }
        };
        let mut bytes = Vec::with_capacity(HEADER + body.len());
        bytes.extend(MAGIC.to_le_bytes());
        bytes.extend(kind.to_le_bytes());
        bytes.extend((body.len() as u32).to_le_bytes());
        bytes.extend(body);
        bytes
    }

    /// Reads one message that came with `descriptors` descriptors.
    pub fn from_bytes(bytes: &[u8], descriptors: usize) -> Result<Message, MessageError> {
        if bytes.len() < HEADER || bytes.len() > MESSAGE_MAX {
            return Err(MessageError::Length(bytes.len()));
        }
        let mut fields = Fields { rest: bytes };
        if fields.u32()? != MAGIC {
            return Err(MessageError::Magic);
        }
        let kind = fields.u32()?;
        if fields.u32()? as usize != fields.rest.len() {
            return Err(MessageError::Truncated);
        }
        let message = match kind {
            1 => Message::Hello {
                layout_version: fields.u32()?,
                layout_hash: fields.u64()?,
            },
            2 => fields.offer()?,
            3 => Message::Regions {
                workers: fields.workers()?,
            },
            4 => Message::Ready {
                workers: fields.workers()?,
            },
            5 => Message::Published {
                generation: fields.u64()?,
            },
            6 => fields.applied()?,
            7 => Message::Refused {
                layout_version: fields.u32()?,
                layout_hash: fields.u64()?,
            },
            unknown => return Err(MessageError::Kind(unknown)),
        };
        if !fields.rest.is_empty() {
            return Err(MessageError::Truncated);
        }
        let expected = message.descriptors();
        if expected != descriptors {
            return Err(MessageError::Descriptors {
                expected,
                received: descriptors,
            });
        }
        Ok(message)
    }
}

fn put_layout(body: &mut Vec<u8>, version: u32, hash: u64) {
    body.extend(version.to_le_bytes());
    body.extend(hash.to_le_bytes());
}

fn put_applied(body: &mut Vec<u8>, generation: u64, errors: &[PortError]) {
    let errors = &errors[..errors.len().min(PORT_ERRORS_MAX)];
    body.extend(generation.to_le_bytes());
    body.extend((errors.len() as u64).to_le_bytes());
    for error in errors {
        let text = cut(&error.text);
        body.extend(error.port.to_le_bytes());
        body.extend((text.len() as u16).to_le_bytes());
        body.extend([0; 4]);
        body.extend(text.as_bytes());
        body.resize(body.len() + TEXT - text.len(), 0);
    }
}

/// As many whole characters as fit into `TEXT` bytes.
fn cut(text: &str) -> &str {
    let mut end = text.len().min(TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// What is left of a message.
struct Fields<'b> {
    rest: &'b [u8],
}

impl<'b> Fields<'b> {
    fn take<const N: usize>(&mut self) -> Result<&'b [u8; N], MessageError> {
        let (field, rest) = self.rest.split_first_chunk::<N>().ok_or(MessageError::Truncated)?;
        self.rest = rest;
        Ok(field)
    }

    fn u16(&mut self) -> Result<u16, MessageError> {
        self.take().map(|field| u16::from_le_bytes(*field))
    }

    fn u32(&mut self) -> Result<u32, MessageError> {
        self.take().map(|field| u32::from_le_bytes(*field))
    }

    fn u64(&mut self) -> Result<u64, MessageError> {
        self.take().map(|field| u64::from_le_bytes(*field))
    }

    fn workers(&mut self) -> Result<u16, MessageError> {
        let workers = self.u32()?;
        u16::try_from(workers)
            .ok()
            .filter(|workers| (1..=WORKERS_MAX).contains(&usize::from(*workers)))
            .ok_or(MessageError::Field("workers"))
    }

    fn offer(&mut self) -> Result<Message, MessageError> {
        let pid = self.u32()?;
        let workers = match (self.u16()?, self.u16()?) {
            (0, 0) => None,
            (1, workers) if (1..=WORKERS_MAX).contains(&usize::from(workers)) => Some(workers),
            _ => return Err(MessageError::Field("workers")),
        };
        Ok(Message::Offer { pid, workers })
    }

    fn applied(&mut self) -> Result<Message, MessageError> {
        let generation = self.u64()?;
        let count = self.u64()?;
        if count > PORT_ERRORS_MAX as u64 {
            return Err(MessageError::Field("errors"));
        }
        let mut errors = Vec::new();
        for _ in 0..count {
            errors.push(self.port_error()?);
        }
        Ok(Message::Applied { generation, errors })
    }

    fn port_error(&mut self) -> Result<PortError, MessageError> {
        let (port, length, _reserved) = (self.u16()?, self.u16()?, self.u32()?);
        let text = self
            .take::<TEXT>()?
            .get(..usize::from(length))
            .ok_or(MessageError::Field("text"))?;
        let text = String::from_utf8(text.to_vec()).map_err(|_| MessageError::Field("text"))?;
        Ok(PortError { port, text })
    }
}
