//! The kernel's randomness for IKE.

use rustix::rand::{GetRandomFlags, getrandom};
use tombolo_ike::random::Random;

/// getrandom(2).
pub struct Kernel;

impl Random for Kernel {
    fn fill(&mut self, bytes: &mut [u8]) {
        let mut filled = 0;
        while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match getrandom(rest, GetRandomFlags::empty()) {
                Ok(more) => filled += more,
                Err(rustix::io::Errno::INTR) => {}
                // Keys without randomness would be worse than no gateway.
                Err(error) => panic!("the kernel gives no random numbers: {error}"),
            }
        }
    }
}
