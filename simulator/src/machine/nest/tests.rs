//! What nests do is what single elements do.

use super::*;
use crate::machine::element;
use crate::machine::numerics;
use crate::machine::operand::Slots;
use crate::machine::pe::{Pe, VectorWork};
use proptest::prelude::*;
use waferloom_fabric::code::{Dim, MemDsd};
use waferloom_fabric::{Machine, Operand, Value};

const BYTES: usize = 640;
/// Register 0 holds 1, register 1 the length of the innermost loop.
const SLOTS: Slots = Slots { registers: 2, params: 0 };

/// A vector somewhere, as a rule apart from those of other regions.
#[derive(Clone, Debug)]
struct Somewhere {
    region: i32,
    start: i32,
    strides: Vec<i32>,
    dtype: Dtype,
}

fn somewhere() -> impl Strategy<Value = Somewhere> {
    let stride = prop_oneof![3 => Just(0), 4 => Just(1), 3 => -2..5i32];
    let strides = prop::collection::vec(stride, 3);
    (0..4i32, 0..5i32, strides, prop::sample::select(Dtype::ALL.to_vec()))
        .prop_map(|(region, start, strides, dtype)| Somewhere { region, start, strides, dtype })
}

impl Somewhere {
    /// The operand; rows follow each other without a gap when the outer stride is 1.
    fn operand(&self, shape: &[i32], known: bool) -> Operand {
        let mut dims: Vec<Dim> = Vec::new();
        let mut inner = 1;
        for (&len, &stride) in shape.iter().rev().zip(&self.strides) {
            let dense = if stride == 1 { inner } else { stride };
            inner *= len;
            dims.insert(0, Dim { len: Value::Imm(len), stride: Value::Imm(dense) });
        }
        if let (false, Some(last)) = (known, dims.last_mut()) {
            last.len = Value::Reg(1);
        }
        let base = Value::Imm(16 + self.region * 144 + self.start * self.dtype.bytes() as i32);
        Operand::Mem(MemDsd { base, offset: 16, dtype: self.dtype, dims })
    }
}

fn number() -> impl Strategy<Value = Operand> {
    let bits = prop_oneof![Just(1.5f32.to_bits()), Just(f32::NAN.to_bits() | 1), 0..4u32, any::<u32>()];
    (bits, prop::sample::select(Dtype::ALL.to_vec()))
        .prop_map(|(bits, dtype)| Operand::Scalar { value: Value::Imm(bits as i32), dtype })
}

/// What the elements one by one give: their memory, busy cycles and waits. `None` when one of them fails.
fn single(machine: &Machine, memory: &[u8], mut work: VectorWork) -> Option<(Vec<u8>, u64, u64)> {
    let mut memory = memory.to_vec();
    let mut pe = Pe { memory: &mut memory, ..Pe::default() };
    let (mut busy, mut stall) = (0, 0);
    while work.remaining > 0 {
        let mut worst = 0;
        for _ in 0..u64::from(work.lanes).min(work.remaining) {
            let (operands, waits) = element::read_sources(&mut pe, &mut work, machine, |_, _, _| 0).ok()?;
            let result = numerics::apply(work.op, operands);
            element::write_result(&mut pe, &mut work, result).ok()?;
            work.remaining -= 1;
            worst = worst.max(waits);
        }
        busy += 1;
        stall += u64::from(worst);
    }
    Some((memory, busy, stall))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn a_nest_does_what_single_elements_do(
        op in prop::sample::select(VectorOp::ALL.map(|(op, _)| op).to_vec()),
        shape in prop::sample::select(vec![vec![1], vec![7], vec![19], vec![3, 4], vec![2, 9], vec![3, 2, 4], vec![2, 3, 1]]),
        target in somewhere(),
        sources in prop::collection::vec((somewhere(), prop::option::weighted(0.2, number())), 3),
        alike in any::<bool>(),
        in_place in prop::option::of(0..3usize),
        known in any::<bool>(),
        (lanes, banks, reads) in (1..4u32, prop::sample::select(vec![(8, 4), (6, 3), (8, 8)]), 1..4u32),
        memory in prop::collection::vec(any::<u8>(), BYTES),
    ) {
        let mut machine = Machine::builtin("bench16").expect("a built-in machine");
        (machine.sram_banks, machine.bank_conflict_modulo) = banks;
        machine.sram_reads_per_cycle = reads;
        let dst = SLOTS.access(&target.operand(&shape, known));
        let srcs: Vec<Access> = sources.iter().enumerate().take(op.arity()).map(|(i, (source, number))| {
            let source = if alike { Somewhere { dtype: target.dtype, ..source.clone() } } else { source.clone() };
            match number {
                _ if in_place == Some(i) => dst,
                Some(number) => SLOTS.access(number),
                None => SLOTS.access(&source.operand(&shape, known)),
            }
        }).collect();
        let slots = [0, 1, shape[shape.len() - 1]];
        let mut work = VectorWork { op, arity: op.arity(), lanes, ..VectorWork::default() };
        for (slot, access) in work.srcs.iter_mut().zip(&srcs) {
            slot.resolve(access, &slots);
        }
        work.remaining = work.dst.resolve(&dst, &slots).unwrap_or(0);
        let expected = single(&machine, &memory, work);
        let Some(nest) = Nest::new(op, &dst, &srcs, lanes, 1) else { return Ok(()) };
        let mut room = None;
        let placed = nest.place(&slots, BYTES, 1 << 16, &mut room);
        let Some(placed) = placed else { return Ok(()) };
        let mut conflicts = Conflicts::new(&machine);
        let (mut computed, cycles) = (memory, placed.cycles(&mut conflicts));
        placed.compute(&mut computed);
        let (memory, busy, stall) = expected.expect("what has its place lies inside of memory");
        prop_assert_eq!(cycles, (busy, stall));
        // What has been remembered is the same.
        prop_assert_eq!(placed.cycles(&mut conflicts), (busy, stall));
        prop_assert_eq!(computed, memory);
    }

    /// Waits are remembered by where vectors begin: elsewhere they are those of a count anew.
    #[test]
    fn remembered_waits_are_those_of_a_count(
        shape in prop::sample::select(vec![vec![9], vec![3, 4]]),
        sources in prop::collection::vec(somewhere(), 2),
        places in prop::collection::vec((0..40i32, 0..40i32), 12),
    ) {
        let machine = Machine::builtin("wse2").expect("a built-in machine");
        let somewhere = Somewhere { region: 0, start: 0, strides: vec![1; 3], dtype: Dtype::F32 };
        let dst = SLOTS.access(&somewhere.operand(&shape, true));
        let srcs: Vec<Access> = (0u8..).zip(&sources).map(|(register, source)| {
            let Operand::Mem(mut dsd) = source.operand(&shape, true) else { return Access::Null };
            dsd.base = Value::Reg(register);
            SLOTS.access(&Operand::Mem(dsd))
        }).collect();
        let nest = Nest::new(VectorOp::Add, &dst, &srcs, 1, 1).expect("all of one shape");
        let mut conflicts = Conflicts::new(&machine);
        for (a, b) in places {
            let [a_size, b_size] = [0, 1].map(|i| sources[i].dtype.bytes() as i32);
            let slots = [0, 300 + a * a_size, 300 + b * b_size];
            let mut room = None;
            if let Some(placed) = nest.place(&slots, 1024, 1 << 16, &mut room) {
                let anew = placed.cycles(&mut Conflicts::new(&machine));
                prop_assert_eq!(placed.cycles(&mut conflicts), anew);
            }
        }
    }
}

#[test]
fn vectors_with_gaps_are_told_from_those_without() {
    // Words: six side by side, three loops over the same four, rows of two at 0, 12 and 24 of which the third words are gaps,
    // the same with rows of three, and backwards.
    let whole = |lens, steps, reach| has_no_gaps(lens, steps, reach);
    assert!(whole([6, 1, 1, 1], [4, 0, 0, 0], (0, 24)));
    assert!(whole([4, 3, 1, 1], [4, 0, 0, 0], (0, 16)));
    assert!(!whole([2, 3, 1, 1], [4, 12, 0, 0], (0, 32)));
    assert!(whole([3, 3, 1, 1], [4, 12, 0, 0], (0, 36)));
    assert!(whole([3, 3, 1, 1], [-4, 12, 0, 0], (-8, 28)));
    // One word every eight bytes; columns before rows.
    assert!(!whole([4, 1, 1, 1], [8, 0, 0, 0], (0, 28)));
    assert!(whole([4, 2, 1, 1], [8, 4, 0, 0], (0, 32)));
}

#[test]
fn what_leaves_memory_is_no_nest() {
    let placed = |base: i32, stride: i32| {
        let vector = |base, stride| {
            let dims = vec![Dim { len: Value::Imm(10), stride: Value::Imm(stride) }];
            SLOTS.access(&Operand::Mem(MemDsd { base: Value::Imm(base), offset: 0, dtype: Dtype::F32, dims }))
        };
        let nest = Nest::new(VectorOp::Mov, &vector(0, 1), &[vector(base, stride)], 1, 1).expect("of one shape");
        nest.place(&[0], 80, 10, &mut None).is_some()
    };
    // Ten words: 40 to 80 are the last that fit; backwards they begin at 76.
    assert!(placed(40, 1) && placed(76, -1));
    assert!(!placed(44, 1) && !placed(32, -1) && !placed(42, 1) && !placed(40, i32::MAX));
    // Each element reads what the one before it has written.
    assert!(!placed(4, 1));
}
