//! The steps of the lane that are arithmetic on columns alone, done with the widest vectors of the processor.

use tombolo_tables::wide::{Work, widest};
use tombolo_wire::plain::columns::{Column, Columns};

/// [`Columns::read`].
pub(super) fn read(columns: &mut Columns, station: u64) {
    widest(Read(columns, station));
}

/// [`Columns::read`], and one less to live for all.
pub(super) fn read_and_age(columns: &mut Columns, station: u64) {
    widest(ReadAndAge(columns, station));
}

/// [`Columns::translate`] to `addresses` and `ports`, where `translated`.
pub(super) fn translate(columns: &mut Columns, addresses: &Column, ports: &Column, translated: &Column) {
    widest(Translate(columns, addresses, ports, translated));
}

struct Read<'a>(&'a mut Columns, u64);
struct ReadAndAge<'a>(&'a mut Columns, u64);
struct Translate<'a>(&'a mut Columns, &'a Column, &'a Column, &'a Column);

impl Work for Read<'_> {
    #[inline(always)]
    fn run(self) {
        self.0.read(self.1);
    }
}

impl Work for ReadAndAge<'_> {
    #[inline(always)]
    fn run(self) {
        self.0.read(self.1);
        self.0.decrement_ttls();
    }
}

impl Work for Translate<'_> {
    #[inline(always)]
    fn run(self) {
        self.0.translate(self.1, self.2, self.3);
    }
}
