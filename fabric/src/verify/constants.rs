//! Constants and read-back results against the memory maps of the PEs that hold them.

use super::map::Map;
use super::{Findings, Place};
use crate::geometry::{Coord, Extent};
use crate::program::{Buffer, Class, Program};
use crate::tensor::{Distribution, Dtype};
use std::collections::{BTreeMap, BTreeSet};

/// A tensor that lies in SRAM before the first or after the last cycle.
pub(super) struct Resident<'a> {
    pub(super) what: &'static str,
    /// Whether it is read after the last cycle; else it is there before the first.
    at_end: bool,
    pub(super) name: &'a str,
    pub(super) dtype: Dtype,
    pub(super) distribution: &'a Distribution,
    pub(super) origin: Coord,
    pub(super) address: u32,
}

impl Resident<'_> {
    /// First byte of the tile, and the one after its last.
    fn bytes(&self) -> (u64, u64) {
        let start = u64::from(self.address);
        (start, start + self.distribution.tile_elements() as u64 * u64::from(self.dtype.bytes()))
    }

    pub(super) fn place(&self) -> Place {
        Place::item(format!("{} {:?}", self.what, self.name))
    }
}

/// All of them.
pub(super) fn residents(program: &Program) -> Vec<Resident<'_>> {
    let constants = program.constants.iter().map(|c| Resident {
        what: "constant",
        at_end: false,
        name: &c.name,
        dtype: c.dtype,
        distribution: &c.distribution,
        origin: c.origin,
        address: c.address,
    });
    let results = program.readbacks.iter().map(|r| Resident {
        what: "result",
        at_end: true,
        name: &r.name,
        dtype: r.dtype,
        distribution: &r.distribution,
        origin: r.origin,
        address: r.address,
    });
    constants.chain(results).collect()
}

pub(super) fn check(program: &Program, map: &Map, found: &mut Findings) {
    shared(program, found);
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
        let mut last = None;
        for at in crate::Region::rect(origin.x, origin.y, size.width, size.height).coords() {
            match map.class(program.grid.index(at)) {
                class if class.is_some() && class == last => {}
                Some(class) => {
                    holders.classes.insert(class);
                    last = Some(class);
                }
                None => holders.without_class = holders.without_class.or(Some(at)),
            }
        }
        holders
    }
}

/// A tile must lie inside one buffer, and nothing else may use its bytes while it waits to be used or read.
fn inside(class: &Class, resident: &Resident<'_>, found: &mut Findings) {
    let (start, end) = resident.bytes();
    let size = u64::from(resident.dtype.bytes());
    if !start.is_multiple_of(size) {
        let message = format!("its address {start} is not a multiple of its elements' {size} bytes");
        found.error(resident.place(), message, "align it");
    }
    if start == end {
        return;
    }
    let place = || Place { class: Some(class.name.clone()), ..resident.place() };
    let range = |b: &Buffer| (u64::from(b.address), u64::from(b.address) + u64::from(b.bytes));
    let holders = class.buffers.iter().filter(|b| range(b).0 <= start && end <= range(b).1);
    // A constant belongs to the first buffer that lives there, a result to the last one.
    let life = |b: &Buffer| b.live.unwrap_or((0, u32::MAX));
    let holder = if resident.at_end { holders.max_by_key(|b| life(b).1) } else { holders.min_by_key(|b| life(b).0) };
    let Some(holder) = holder else {
        let message = format!("its tiles take the bytes {start} to {end}, and no buffer holds them");
        return found.error(place(), message, "give the class a buffer there, or move it");
    };
    let overwrites = |b: &&Buffer| {
        let meets = range(b).0 < end && start < range(b).1;
        let when = if resident.at_end { life(b).1 > life(holder).1 } else { life(b).0 < life(holder).0 };
        meets && when
    };
    if let Some(other) = class.buffers.iter().find(overwrites) {
        let when = if resident.at_end { "after it, before it is read" } else { "before it is used" };
        let message = format!("buffer {:?} takes some of its bytes {when}", other.name);
        let remedy = "let its buffer live from the first operator (a result's: to the last one), or move one of them";
        found.error(place(), message, remedy);
    }
}

/// Constants that lie over each other at some PE.
fn shared(program: &Program, found: &mut Findings) {
    let mut constants: Vec<Resident<'_>> = residents(program).into_iter().filter(|r| !r.at_end).collect();
    constants.sort_by_key(Resident::bytes);
    for (index, first) in constants.iter().enumerate() {
        let end = first.bytes().1;
        let meeting = constants[index + 1..].iter().take_while(|second| second.bytes().0 < end);
        for second in meeting.filter(|second| second.bytes().0 < second.bytes().1 && same_pes(first, second)) {
            let message = format!("it lies over constant {:?} at some PE", first.name);
            found.warning(second.place(), message, "only one of them is there: move the other");
            if found.omitted > 0 {
                return;
            }
        }
    }
}

fn same_pes(a: &Resident<'_>, b: &Resident<'_>) -> bool {
    let meet = |a: u16, a_size: u16, b: u16, b_size: u16| {
        u32::from(a) < u32::from(b) + u32::from(b_size) && u32::from(b) < u32::from(a) + u32::from(a_size)
    };
    let (a_grid, b_grid) = (a.distribution.grid, b.distribution.grid);
    meet(a.origin.x, a_grid.width, b.origin.x, b_grid.width)
        && meet(a.origin.y, a_grid.height, b.origin.y, b_grid.height)
}
