//! A generation as text, for people and golden tests: what workers will read, in a fixed order, one record a line.
//!
//! Free slots are left out. Keys are never printed.

mod line;
mod records;
mod routes;

use crate::build::{BuildError, World};
use crate::view::Tables;
use line::Line;

/// What [`World::build`] makes of the world.
///
/// # Errors
/// As `build`.
pub fn world(world: &World) -> Result<String, BuildError> {
    let sections = world.build()?;
    let tables = Tables::from_sections(sections.all()).expect("the view accepts what the builder makes");
    Ok(self::tables(&tables))
}

/// The same from tables. Routes are printed as ranges of destinations that share a next hop, which is what the tries hold.
pub fn tables(tables: &Tables<'_>) -> String {
    let mut text = String::new();
    records::ports(&mut text, tables);
    records::own_addresses(&mut text, tables);
    records::segments(&mut text, tables);
    routes::routes(&mut text, tables);
    records::neighbours(&mut text, tables);
    records::policy(&mut text, tables);
    records::nat(&mut text, tables);
    records::pools(&mut text, tables);
    records::tunnels(&mut text, tables);
    records::bundles(&mut text, tables);
    records::sas(&mut text, tables);
    Line::heading(&mut text, "capture");
    Line::new(&mut text, "ports").field("mask", format_args!("{:#x}", tables.capture()));
    text
}
