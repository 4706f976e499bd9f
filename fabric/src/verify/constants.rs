//! Constants and read-back results against the memory maps of the PEs that hold them.

use super::map::Map;
use super::{Findings, Place};
use crate::geometry::{Coord, Extent};
use crate::program::{Class, Program};
use crate::tensor::{Distribution, Dtype};
use std::collections::{BTreeMap, BTreeSet};

/// A tensor that lies in SRAM before the first or after the last cycle.
pub(super) struct Resident<'a> {
    pub(super) what: &'static str,
    pub(super) name: &'a str,
    pub(super) dtype: Dtype,
    pub(super) distribution: &'a Distribution,
    pub(super) origin: Coord,
    pub(super) address: u32,
}

impl Resident<'_> {
    pub(super) fn place(&self) -> Place {
        Place::item(format!("{} {:?}", self.what, self.name))
    }
}

/// All of them.
pub(super) fn residents(program: &Program) -> Vec<Resident<'_>> {
    let constants = program.constants.iter().map(|c| Resident {
        what: "constant",
        name: &c.name,
        dtype: c.dtype,
        distribution: &c.distribution,
        origin: c.origin,
        address: c.address,
    });
    let results = program.readbacks.iter().map(|r| Resident {
        what: "result",
        name: &r.name,
        dtype: r.dtype,
        distribution: &r.distribution,
        origin: r.origin,
        address: r.address,
    });
    constants.chain(results).collect()
}

pub(super) fn check(program: &Program, map: &Map, found: &mut Findings) {
    // Many tensors lie on the same PEs: those are looked through once.
    let mut known: BTreeMap<(Coord, u16, u16), Holders> = BTreeMap::new();
    for resident in &residents(program) {
        let Extent { width, height } = resident.distribution.grid;
        let holders = known
            .entry((resident.origin, width, height))
            .or_insert_with(|| Holders::of(program, map, resident.origin, resident.distribution.grid));
        if let Some(pe) = holders.without_class {
            let place = Place { pe: Some(pe), ..resident.place() };
            found.error(place, "the PE has no class, and so no memory", "place a class there, or deal it elsewhere");
        }
        for &class in &holders.classes {
            inside(&program.classes[class], resident, found);
        }
    }
}

/// Who is in a rectangle of PEs.
struct Holders {
    classes: BTreeSet<usize>,
    without_class: Option<Coord>,
}

impl Holders {
    fn of(program: &Program, map: &Map, origin: Coord, size: Extent) -> Self {
        let mut holders = Self { classes: BTreeSet::new(), without_class: None };
        for at in crate::Region::rect(origin.x, origin.y, size.width, size.height).coords() {
            match map.class(program.grid.index(at)) {
                Some(class) => {
                    holders.classes.insert(class);
                }
                None => holders.without_class = holders.without_class.or(Some(at)),
            }
        }
        holders
    }
}

/// A tile must lie inside one buffer.
fn inside(class: &Class, resident: &Resident<'_>, found: &mut Findings) {
    let start = u64::from(resident.address);
    let size = u64::from(resident.dtype.bytes());
    let bytes = resident.distribution.tile_elements() as u64 * size;
    let end = start + bytes;
    let holds = |address: u32, bytes: u32| u64::from(address) <= start && end <= u64::from(address) + u64::from(bytes);
    if bytes > 0 && !class.buffers.iter().any(|b| holds(b.address, b.bytes)) {
        let place = Place { class: Some(class.name.clone()), ..resident.place() };
        let message = format!("its tiles take the bytes {start} to {end}, and no buffer holds them");
        found.error(place, message, "give the class a buffer there, or move it");
    }
    if !start.is_multiple_of(size) {
        let message = format!("its address {start} is not a multiple of its elements' {size} bytes");
        found.error(resident.place(), message, "align it");
    }
}
