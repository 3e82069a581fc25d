//! The steps of the lane that are arithmetic on columns alone, done with the widest vectors of the processor.

use super::riders::{Ends, Group};
use tombolo_tables::wide::{Work, widest};
use tombolo_wire::plain::columns::Columns;

/// [`Columns::read`], and one less to live for all.
pub(super) fn read_and_age(columns: &mut Columns, station: u64) {
    widest(ReadAndAge(columns, station));
}

/// [`Group::parse`].
pub(super) fn parse(group: &mut Group, station: u64, segment: u16, epoch: u32) {
    widest(Parse(group, station, segment, epoch));
}

/// [`Group::judge`].
pub(super) fn judge(group: &mut Group, ends: &mut Ends, now: u32) {
    widest(Judge(group, ends, now));
}

struct ReadAndAge<'a>(&'a mut Columns, u64);
struct Parse<'a>(&'a mut Group, u64, u16, u32);
struct Judge<'a>(&'a mut Group, &'a mut Ends, u32);

impl Work for ReadAndAge<'_> {
    #[inline(always)]
    fn run(self) {
        self.0.read(self.1);
        self.0.decrement_ttls();
    }
}

impl Work for Parse<'_> {
    #[inline(always)]
    fn run(self) {
        self.0.parse(self.1, self.2, self.3);
    }
}

impl Work for Judge<'_> {
    #[inline(always)]
    fn run(self) {
        self.0.judge(self.1, self.2);
    }
}
