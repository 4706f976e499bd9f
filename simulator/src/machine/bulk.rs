//! A whole vector instruction over memory at once: the same numbers and the same cycles as element by element, without
//! looking at each operand anew for each element.
//!
//! The operands' innermost dimensions cut an instruction into segments: in a segment every address is affine.

use super::conflicts::{Banks, Conflicts, Stalls};
use super::floats;
use super::numerics::{self, Element};
use super::operand::{Cursor, Port};
use super::pe::VectorWork;
use waferloom_fabric::{Dtype, VectorOp};

/// A source in a segment.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source {
    Number(Element),
    Memory(Place),
}

/// Addresses of a segment's elements: `at + i * step`. They lie inside of memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) at: i64,
    pub(crate) step: i64,
    pub(crate) dtype: Dtype,
}

impl Place {
    /// Address of an element.
    pub(crate) fn nth(self, i: u64) -> usize {
        (self.at + self.step * i as i64) as usize
    }
}

/// Runs what remains of an instruction whose operands are all in memory; gives its busy cycles and its waits for memory.
///
/// `None`, with nothing done, when an access would fail: element by element finds out which.
pub(crate) fn run(memory: &mut [u8], work: &mut VectorWork, conflicts: &Conflicts) -> Option<(u64, u64)> {
    let bytes = memory.len();
    walk(bytes, work, &conflicts.banks, |op, target, sources, count| compute(memory, op, target, sources, count))
}

/// As [`run`] over so many bytes of memory, but computes nothing.
pub(crate) fn pass(bytes: usize, work: &mut VectorWork, conflicts: &Conflicts) -> Option<(u64, u64)> {
    walk(bytes, work, &conflicts.banks, |_, _, _, _| {})
}

/// Goes through the segments of what remains of an instruction.
fn walk(
    bytes: usize,
    work: &mut VectorWork,
    banks: &Banks,
    mut compute: impl FnMut(VectorOp, Option<Place>, [Source; 3], u64),
) -> Option<(u64, u64)> {
    let inside = |port: &Port| match port {
        Port::Memory(cursor) => cursor.fits(bytes),
        Port::Scalar(_) | Port::Null => true,
        _ => false,
    };
    let sources_exist = work.srcs[..work.arity].iter().all(|p| !matches!(p, Port::Null));
    if !sources_exist || matches!(work.dst, Port::Scalar(_)) || !work.srcs.iter().chain([&work.dst]).all(inside) {
        return None;
    }
    let lanes = u64::from(work.lanes).max(1);
    let mut stalls = Stalls::new(lanes);
    let busy = work.remaining.div_ceil(lanes);
    while work.remaining > 0 {
        let VectorWork { srcs, dst, .. } = &*work;
        let count = srcs.iter().chain([dst]).filter_map(cursor).map(Cursor::row_rest).fold(work.remaining, u64::min);
        let sources = [&srcs[0], &srcs[1], &srcs[2]].map(|port| match port {
            Port::Memory(cursor) => Source::Memory(place(cursor)),
            Port::Scalar(element) => Source::Number(*element),
            _ => Source::Number(Element::Int(0)),
        });
        let target = cursor(dst).map(place);
        count_stalls(banks, &srcs[..work.arity], count, &mut stalls);
        compute(work.op, target, sources, count);
        for port in work.srcs.iter_mut().chain([&mut work.dst]) {
            if let Port::Memory(cursor) = port {
                cursor.advance_in_row(count);
            }
        }
        work.remaining -= count;
    }
    Some((busy, stalls.finish()))
}

/// The cursor of an operand in memory.
pub(crate) fn cursor(port: &Port) -> Option<&Cursor> {
    match port {
        Port::Memory(cursor) => Some(cursor),
        _ => None,
    }
}

/// Where the elements of its row are from the current one on.
pub(super) fn place(cursor: &Cursor) -> Place {
    Place { at: cursor.address(), step: cursor.row_step(), dtype: cursor.dtype }
}

/// Waits of a segment.
fn count_stalls(banks: &Banks, sources: &[Port], count: u64, stalls: &mut Stalls) {
    let mut reads = [0; 3];
    let mut first = 0;
    let mut moving = [(0, 0); 3];
    let mut streams = 0;
    for cursor in sources.iter().filter_map(cursor) {
        if !cursor.held() {
            reads[first] = cursor.address();
            first += 1;
        }
        if cursor.row_step() != 0 {
            moving[streams] = (cursor.address(), cursor.row_step());
            streams += 1;
        }
    }
    banks.segment(&reads[..first], &moving[..streams], count, stalls);
}

/// Reads bits; 16-bit types fill the low half.
#[inline]
pub(crate) fn load(memory: &[u8], at: usize, dtype: Dtype) -> u32 {
    match dtype.bytes() {
        4 => memory.get(at..at + 4).map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])),
        _ => memory.get(at..at + 2).map_or(0, |b| u32::from(u16::from_le_bytes([b[0], b[1]]))),
    }
}

/// Writes the low bits.
#[inline]
pub(crate) fn store(memory: &mut [u8], at: usize, dtype: Dtype, bits: u32) {
    let bytes = dtype.bytes() as usize;
    if let Some(slot) = memory.get_mut(at..at + bytes) {
        slot.copy_from_slice(&bits.to_le_bytes()[..bytes]);
    }
}

/// Computes a segment, one element after the other: an element may read what an earlier one wrote.
fn compute(memory: &mut [u8], op: VectorOp, target: Option<Place>, sources: [Source; 3], count: u64) {
    let Some(target) = target else { return };
    let [a, b, c] = sources;
    let floats = match op {
        VectorOp::Mac => a.is_float() || b.is_float() || c.is_float(),
        _ => a.is_float() || b.is_float(),
    };
    match op {
        VectorOp::Mov if a.same_bits(target.dtype) => copy(memory, target, a, count),
        VectorOp::Mac if floats => floats::multiply_add(memory, target, sources, count),
        VectorOp::Add if floats => floats::each(memory, target, sources, count, numerics::sum),
        VectorOp::Sub if floats => floats::each(memory, target, sources, count, numerics::difference),
        VectorOp::Mul if floats => floats::each(memory, target, sources, count, numerics::product),
        VectorOp::Max if floats => floats::each(memory, target, sources, count, numerics::largest),
        VectorOp::Min if floats => floats::each(memory, target, sources, count, numerics::smallest),
        _ => any_loop(memory, op, target, sources, count),
    }
}

impl Source {
    fn is_float(self) -> bool {
        match self {
            Source::Number(element) => element.is_float(),
            Source::Memory(place) => place.dtype.is_float(),
        }
    }

    /// Whether a move to a type keeps the bits as they are.
    fn same_bits(self, dtype: Dtype) -> bool {
        // A signalling NaN of 16 bits becomes a quiet one on its way through the datapath.
        matches!(self, Source::Memory(place) if place.dtype == dtype && !(dtype.is_float() && dtype.bytes() == 2))
    }

    pub(crate) fn element(self, memory: &[u8], i: u64) -> Element {
        match self {
            Source::Number(element) => element,
            Source::Memory(place) => Element::from_bits(load(memory, place.nth(i), place.dtype), place.dtype),
        }
    }
}

fn copy(memory: &mut [u8], target: Place, source: Source, count: u64) {
    let Source::Memory(from) = source else { return };
    let bytes = i64::from(target.dtype.bytes());
    let length = (count as i64 * bytes) as usize;
    let (start, end) = (from.nth(0), target.nth(0));
    // Side by side and not onto itself from below: no element is overwritten before it is read.
    if from.step == bytes && target.step == bytes && (end <= start || end >= start + length) {
        return memory.copy_within(start..start + length, end);
    }
    for i in 0..count {
        let bits = load(memory, from.nth(i), from.dtype);
        store(memory, target.nth(i), target.dtype, bits);
    }
}

/// Any operation on any types.
fn any_loop(memory: &mut [u8], op: VectorOp, target: Place, sources: [Source; 3], count: u64) {
    for i in 0..count {
        let values = sources.map(|s| s.element(memory, i));
        store(memory, target.nth(i), target.dtype, numerics::apply(op, values).to_bits(target.dtype));
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::element;
    use super::super::operand::Slots;
    use super::super::pe::Pe;
    use super::*;
    use proptest::prelude::*;
    use waferloom_fabric::code::{Dim, MemDsd};
    use waferloom_fabric::{Machine, Operand, Value};

    const SLOTS: Slots = Slots { registers: 0, params: 0 };

    const BYTES: usize = 512;

    pub(in super::super) fn dtype() -> impl Strategy<Value = Dtype> {
        prop::sample::select(Dtype::ALL.to_vec())
    }

    /// Vectors of 24 elements in some shape, near to each other so that they overlap.
    pub(in super::super) fn vector() -> impl Strategy<Value = Operand> {
        let shapes = vec![vec![24], vec![4, 6], vec![3, 8], vec![2, 3, 4], vec![24, 1], vec![2, 1, 2, 6], vec![1, 24]];
        (dtype(), 0..40i32, prop::sample::select(shapes), prop::collection::vec(-1..3i32, 4)).prop_map(
            |(dtype, start, shape, strides)| {
                let dims = shape
                    .iter()
                    .zip(strides)
                    .map(|(&len, s): (&i32, i32)| Dim { len: Value::Imm(len), stride: Value::Imm(s) });
                let base = Value::Imm(100 + start * dtype.bytes() as i32);
                Operand::Mem(MemDsd { base, offset: 0, dtype, dims: dims.collect() })
            },
        )
    }

    /// Ordinary numbers in every type, of which overlapping writes make all kinds of others; or any bits at once.
    fn memory() -> impl Strategy<Value = Vec<u8>> {
        let ordinary = (0..BYTES / 2).flat_map(|i| (0x3C00 + (i * 37 % 1024) as u16).to_le_bytes()).collect::<Vec<_>>();
        prop_oneof![1 => Just(ordinary), 1 => prop::collection::vec(any::<u8>(), BYTES)]
    }

    fn source() -> impl Strategy<Value = Operand> {
        prop_oneof![
            8 => vector(),
            1 => (1..9i32).prop_map(|n| Operand::Scalar { value: Value::Imm(n), dtype: Dtype::I32 }),
            1 => (1..9i32).prop_map(|n| Operand::Scalar { value: Value::Imm((n as f32).to_bits() as i32), dtype: Dtype::F32 }),
        ]
    }

    fn machine() -> impl Strategy<Value = Machine> {
        (1..4u32, prop::sample::select(vec![(8, 4), (6, 3), (8, 8)]), 1..4u32).prop_map(|(lanes, banks, reads)| {
            let mut machine = Machine::builtin("bench16").expect("a built-in machine");
            (machine.sram_banks, machine.bank_conflict_modulo) = banks;
            machine.lanes_32 = lanes;
            machine.sram_reads_per_cycle = reads;
            machine
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 10_000, ..ProptestConfig::default() })]

        #[test]
        fn it_does_what_single_elements_do(
            op in prop::sample::select(VectorOp::ALL.map(|(op, _)| op).to_vec()),
            dst in vector(),
            srcs in prop::collection::vec(source(), 3),
            twin in any::<bool>(),
            machine in machine(),
            memory in memory(),
        ) {
            let port = |operand: &Operand| {
                let mut port = Port::Null;
                port.resolve(&SLOTS.access(operand), &[]);
                port
            };
            let mut work = VectorWork {
                op,
                dst: port(&dst),
                // Often the first source is the destination, as in a sum.
                srcs: [port(if twin { &dst } else { &srcs[0] }), port(&srcs[1]), port(&srcs[2])],
                arity: op.arity(),
                remaining: 24,
                ready: 0,
                then: None,
                at: (0, 0),
                lanes: machine.lanes_32,
                unknown: false,
            };
            for unused in &mut work.srcs[op.arity()..] {
                *unused = Port::Null;
            }
            let mut single_memory = memory.clone();
            let mut pe = Pe { memory: &mut single_memory, ..Pe::default() };
            let (mut single, mut busy, mut stall) = (work.clone(), 0, 0);
            while single.remaining > 0 {
                let mut worst = 0;
                for _ in 0..u64::from(single.lanes).min(single.remaining) {
                    let (operands, waits) =
                        element::read_sources(&mut pe, &mut single, &machine, |_, _, _| 0).expect("inside of memory");
                    let result = numerics::apply(single.op, operands);
                    element::write_result(&mut pe, &mut single, result).expect("inside of memory");
                    single.remaining -= 1;
                    worst = worst.max(waits);
                }
                busy += 1;
                stall += u64::from(worst);
            }
            let mut bulk = memory;
            prop_assert_eq!(run(&mut bulk, &mut work, &Conflicts::new(&machine)), Some((busy, stall)));
            prop_assert_eq!(bulk, single_memory);
        }
    }

    #[test]
    fn what_leaves_memory_is_left_alone() {
        let vector = |base: i32, stride: i32, dtype: Dtype| {
            let dims = vec![Dim { len: Value::Imm(10), stride: Value::Imm(stride) }];
            let dsd = MemDsd { base: Value::Imm(base), offset: 0, dtype, dims };
            let mut port = Port::Null;
            port.resolve(&SLOTS.access(&Operand::Mem(dsd)), &[]);
            port
        };
        let machine = Machine::builtin("bench16").expect("a built-in machine");
        let tried = |src: Port| {
            let mut work = VectorWork {
                op: VectorOp::Mov,
                dst: vector(0, 1, Dtype::F32),
                srcs: [src, Port::Null, Port::Null],
                arity: 1,
                remaining: 10,
                ready: 0,
                then: None,
                at: (0, 0),
                lanes: 1,
                unknown: false,
            };
            run(&mut [0; 80], &mut work, &Conflicts::new(&machine))
        };
        assert_eq!(tried(vector(40, 1, Dtype::F32)), Some((10, 0)));
        assert_eq!(tried(vector(44, 1, Dtype::F32)), None);
        assert_eq!(tried(vector(32, -1, Dtype::F32)), None);
        assert_eq!(tried(vector(2, 1, Dtype::F32)), None);
        assert_eq!(tried(vector(0, i32::MAX, Dtype::F32)), None);
    }
}
