//! Attaching by netlink: the program stays when this process ends, and a successor replaces it in one step.

use crate::SteerError;
use libbpf_rs::{Program, Xdp, XdpFlags};
use std::fmt;
use std::os::fd::AsFd;

/// How the program sits on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachMode {
    /// In the driver.
    Native,
    /// In the network stack, on copies (`skb` mode): any device, slower.
    Generic,
}

impl fmt::Display for AttachMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AttachMode::Native => "native",
            AttachMode::Generic => "generic",
        })
    }
}

/// Which mode is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachRequest {
    /// Native, or generic where the driver has no XDP. A device that already runs a program in generic mode keeps that
    /// mode, because the two modes cannot swap without a gap.
    NativeOrGeneric,
    /// Generic.
    Generic,
}

/// Program ids on a device, per mode; 0 = none.
struct Present {
    native: u32,
    generic: u32,
}

pub(crate) fn attach(program: &Program<'_>, ifindex: u32, request: AttachRequest) -> Result<AttachMode, SteerError> {
    let present = present(program, ifindex)?;
    match request {
        AttachRequest::NativeOrGeneric if present.generic == 0 => match attach_native(program, ifindex, present.native)
        {
            Ok(()) => Ok(AttachMode::Native),
            Err(_) if present.native == 0 => attach_generic(program, ifindex),
            Err(error) => Err(error),
        },
        AttachRequest::NativeOrGeneric => attach_generic(program, ifindex),
        AttachRequest::Generic => {
            if present.native != 0 {
                set(
                    ifindex,
                    Xdp::new(program.as_fd()).detach(number(ifindex)?, XdpFlags::DRV_MODE),
                )?;
            }
            attach_generic(program, ifindex)
        }
    }
}

pub(crate) fn detach(program: &Program<'_>, ifindex: u32) -> Result<(), SteerError> {
    let present = present(program, ifindex)?;
    let xdp = Xdp::new(program.as_fd());
    if present.native != 0 {
        set(ifindex, xdp.detach(number(ifindex)?, XdpFlags::DRV_MODE))?;
    }
    if present.generic != 0 {
        set(ifindex, xdp.detach(number(ifindex)?, XdpFlags::SKB_MODE))?;
    }
    Ok(())
}

pub(crate) fn attached(program: &Program<'_>, ifindex: u32) -> Option<AttachMode> {
    let own = program_id(program)?;
    let present = present(program, ifindex).ok()?;
    if present.native == own {
        Some(AttachMode::Native)
    } else if present.generic == own {
        Some(AttachMode::Generic)
    } else {
        None
    }
}

/// With `XDP_FLAGS_REPLACE` the kernel swaps only if the program is still the one that was seen.
fn attach_native(program: &Program<'_>, ifindex: u32, present: u32) -> Result<(), SteerError> {
    let xdp = Xdp::new(program.as_fd());
    if present == 0 {
        return set(
            ifindex,
            xdp.attach(number(ifindex)?, XdpFlags::DRV_MODE | XdpFlags::UPDATE_IF_NOEXIST),
        );
    }
    let old = Program::fd_from_id(present).map_err(|error| SteerError::Attach(ifindex, error))?;
    set(ifindex, xdp.replace(number(ifindex)?, old.as_fd()))
}

fn attach_generic(program: &Program<'_>, ifindex: u32) -> Result<AttachMode, SteerError> {
    set(
        ifindex,
        Xdp::new(program.as_fd()).attach(number(ifindex)?, XdpFlags::SKB_MODE),
    )?;
    Ok(AttachMode::Generic)
}

fn present(program: &Program<'_>, ifindex: u32) -> Result<Present, SteerError> {
    let query = Xdp::new(program.as_fd()).query(number(ifindex)?, XdpFlags::NONE);
    let found = query.map_err(|error| SteerError::Attach(ifindex, error))?;
    Ok(Present {
        native: found.drv_prog_id,
        generic: found.skb_prog_id,
    })
}

fn program_id(program: &Program<'_>) -> Option<u32> {
    libbpf_rs::Program::id_from_fd(program.as_fd()).ok()
}

fn number(ifindex: u32) -> Result<i32, SteerError> {
    i32::try_from(ifindex).map_err(|_| {
        SteerError::Attach(
            ifindex,
            std::io::Error::other("interface indices are below 2^31").into(),
        )
    })
}

fn set(ifindex: u32, result: libbpf_rs::Result<()>) -> Result<(), SteerError> {
    result.map_err(|error| SteerError::Attach(ifindex, error))
}
