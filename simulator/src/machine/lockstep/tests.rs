use super::super::bulk::tests::{dtype, vector};
use super::super::element;
use super::super::operand::Slots;
use super::super::pe::Pe;
use super::super::planes::Planes;
use super::*;
use proptest::prelude::*;
use waferloom_fabric::{Machine, Operand, Value};

const SLOTS: Slots = Slots { registers: 0, params: 0 };

const BYTES: usize = 512;

const COUNT: usize = 24;

fn source() -> impl Strategy<Value = Operand> {
    let number = |bits: u32, dtype| Operand::Scalar { value: Value::Imm(bits as i32), dtype };
    prop_oneof![
        6 => vector(),
        3 => dtype().prop_map(|dtype| Operand::FabIn { queue: 0, dtype, len: Value::Imm(COUNT as i32) }),
        1 => (1..9u32).prop_map(move |n| number(n, Dtype::I32)),
        1 => (1..9u32).prop_map(move |n| number((n as f32).to_bits(), Dtype::F32)),
    ]
}

fn target() -> impl Strategy<Value = Operand> {
    prop_oneof![
        6 => vector(),
        2 => dtype().prop_map(|dtype| Operand::FabOut { queue: 0, dtype, len: Value::Imm(COUNT as i32) }),
        1 => Just(Operand::Null),
    ]
}

/// Ordinary numbers in every type, another in each PE, or any bits.
fn words(count: usize) -> impl Strategy<Value = Vec<u32>> {
    let ordinary = (0..count as u32).map(|i| (0x3C00 + i * 37 % 1024) | (0x3C00 + i * 91 % 1024) << 16).collect();
    prop_oneof![1 => Just(ordinary), 1 => prop::collection::vec(any::<u32>(), count)]
}

/// An operand of whole words, which PEs of a bank may be worked out in abreast.
fn widened(operand: &Operand) -> Operand {
    let mut wide = operand.clone();
    if let Operand::Mem(vector) = &mut wide {
        vector.dtype = if vector.dtype.is_float() { Dtype::F32 } else { Dtype::I32 };
        if let Value::Imm(base) = &mut vector.base {
            *base -= *base % 4;
        }
    }
    wide
}

/// What an instruction gives in one PE, element by element: its memory and what it sends.
fn alone(memory: &mut [u8], mut work: VectorWork, words: [&[u32]; 3]) -> Vec<u32> {
    let machine = Machine::builtin("bench16").expect("a built-in machine");
    let mut pe = Pe { memory, ..Pe::default() };
    let mut sent = Vec::new();
    for i in 0..COUNT {
        let take = |_: &mut Pe<'_>, source: usize, _: u8| words[source].get(i).copied().unwrap_or(0);
        let (operands, _) = element::read_sources(&mut pe, &mut work, &machine, take).expect("inside of memory");
        let result = numerics::apply(work.op, operands);
        match work.dst {
            Port::FabOut { dtype, .. } => sent.push(result.to_bits(dtype)),
            _ => element::write_result(&mut pe, &mut work, result).expect("inside of memory"),
        }
    }
    sent
}

/// How wavelets come to PEs side by side: the same to all, or words of their own.
fn received(words: &[u32], pes: usize, are_own: bool) -> Received<'_> {
    if are_own {
        Received { words, start: 0, step: 1, pitch: pes }
    } else {
        Received { words, start: 0, step: 0, pitch: 1 }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, ..ProptestConfig::default() })]

    #[test]
    fn pes_side_by_side_do_what_each_does_alone(
        op in prop::sample::select(VectorOp::ALL.map(|(op, _)| op).to_vec()),
        dst in target(),
        srcs in prop::collection::vec(source(), 3),
        twin in any::<bool>(),
        is_wide in any::<bool>(),
        pes in prop::sample::select(vec![1usize, 2, 5, 16, 31, 40]),
        first in 0..3usize,
        cut in 0..COUNT as u64,
        are_own in prop::collection::vec(any::<bool>(), 3),
        memory in words(BYTES / 4 * 40),
        sent_to in prop::collection::vec(words(COUNT * 40), 3),
    ) {
        let port = |operand: &Operand| {
            let mut port = Port::Null;
            let operand = if is_wide { widened(operand) } else { operand.clone() };
            port.resolve(&SLOTS.access(&operand), &[]);
            port
        };
        // Often the first source is the destination, as in a sum.
        let twin = twin && matches!(dst, Operand::Mem(_));
        let mut work = VectorWork {
            op,
            dst: port(&dst),
            srcs: [port(if twin { &dst } else { &srcs[0] }), port(&srcs[1]), port(&srcs[2])],
            arity: op.arity(),
            remaining: COUNT as u64,
            ..VectorWork::default()
        };
        for unused in &mut work.srcs[op.arity()..] {
            *unused = Port::Null;
        }
        prop_assert!(can_run(&work, BYTES));
        let mut memories: Vec<Vec<u8>> =
            memory.chunks(BYTES / 4).take(pes).map(|words| words.iter().flat_map(|w| w.to_le_bytes()).collect()).collect();
        // They stand in a row with some before them.
        let mut before = vec![vec![7; BYTES]; first];
        let row: Vec<Pe<'_>> =
            before.iter_mut().chain(&mut memories).map(|memory| Pe { memory, ..Pe::default() }).collect();
        let mut planes = Planes::new(&row, first + pes);
        (0..).zip(&row).for_each(|(index, pe)| planes.lay_out(index, 0, pe.memory));
        drop(row);
        let taken: [_; 3] = std::array::from_fn(|i| Some(received(&sent_to[i], pes, are_own[i])));
        let (mut together, mut bench) = (work.clone(), Workbench::default());
        run((&mut planes, first as u32, pes as u32), &mut together, &taken, cut, &mut bench);
        let behind = taken.map(|taken| taken.map(|taken| Received { start: taken.pitch * cut as usize, ..taken }));
        run((&mut planes, first as u32, pes as u32), &mut together, &behind, COUNT as u64 - cut, &mut bench);
        prop_assert_eq!(together.remaining, 0);
        for (i, memory) in memories.iter_mut().enumerate() {
            let own: [Vec<u32>; 3] = std::array::from_fn(|source| {
                let taken = taken[source].expect("all are given");
                (0..COUNT).map(|word| taken.words[taken.start + taken.step * i + taken.pitch * word]).collect()
            });
            let alone = alone(memory, work.clone(), own.each_ref().map(Vec::as_slice));
            prop_assert_eq!(alone, bench.sent.iter().copied().skip(i).step_by(pes).collect::<Vec<_>>());
            let mut planes_say = vec![0; BYTES];
            planes.give_back((first + i) as u32, &mut planes_say, &(0..BYTES));
            prop_assert_eq!(&planes_say, memory);
        }
        for i in 0..first {
            let mut planes_say = vec![0; BYTES];
            planes.give_back(i as u32, &mut planes_say, &(0..BYTES));
            prop_assert!(planes_say.iter().all(|&byte| byte == 7));
        }
    }
}
