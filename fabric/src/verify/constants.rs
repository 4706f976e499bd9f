//! Constants against the memory maps of the PEs that hold them.

use super::map::Map;
use super::{Findings, Place};
use crate::geometry::{Coord, Extent};
use crate::program::{Class, Constant, Program};
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn check(program: &Program, map: &Map, found: &mut Findings) {
    // Many constants lie on the same PEs: those are looked through once.
    let mut known: BTreeMap<(Coord, u16, u16), Holders> = BTreeMap::new();
    for constant in &program.constants {
        let Extent { width, height } = constant.distribution.grid;
        let holders = known
            .entry((constant.origin, width, height))
            .or_insert_with(|| Holders::of(program, map, constant.origin, constant.distribution.grid));
        let place = || Place::item(format!("constant {:?}", constant.name));
        if let Some(pe) = holders.without_class {
            let place = Place { pe: Some(pe), ..place() };
            found.error(place, "the PE has no class, and so no memory", "place a class there, or deal it elsewhere");
        }
        for &class in &holders.classes {
            inside(&program.classes[class], constant, place(), found);
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
fn inside(class: &Class, constant: &Constant, place: Place, found: &mut Findings) {
    let start = u64::from(constant.address);
    let bytes = constant.distribution.tile_elements() as u64 * u64::from(constant.dtype.bytes());
    let end = start + bytes;
    let holds = |address: u32, bytes: u32| u64::from(address) <= start && end <= u64::from(address) + u64::from(bytes);
    if bytes > 0 && !class.buffers.iter().any(|b| holds(b.address, b.bytes)) {
        let place = Place { class: Some(class.name.clone()), ..place };
        let message = format!("its tiles take the bytes {start} to {end}, and no buffer holds them");
        found.error(place, message, "give the class a buffer there, or move the constant");
    }
    if !start.is_multiple_of(u64::from(constant.dtype.bytes())) {
        let message =
            format!("its address {start} is not a multiple of its elements' {} bytes", constant.dtype.bytes());
        found.error(place_of(constant), message, "align it");
    }
}

fn place_of(constant: &Constant) -> Place {
    Place::item(format!("constant {:?}", constant.name))
}
