//! Reports of small programs, each number worked out by hand.

use super::{Bound, Facts, LinkDirection, OperatorMemory, Report, SramByKind, Totals};
use crate::{OperatorTime, Options, PeCounters, Run, simulate};
use std::collections::BTreeMap;
use waferloom_fabric::Program;
use waferloom_fabric::text::parse;

/// `bench16`: 4 bytes an instruction, 8 a descriptor, 49152 bytes of memory, 850 MHz. A third PE does nothing but route.
const TEXT: &str = "program pair machine bench16 grid 3x1
operator send mov at 0,0 size 1x1 flops 10 bytes 256
operator take mov at 0,0 size 3x1 step 2x1 flops 30 bytes 512
class left {
  out q2 = c0
  buffer w at 0 bytes 256 weight of 0
  buffer a at 256 bytes 128 activation of 0 live 0..=0
  buffer s at 320 bytes 128 scratch of 1 live 1..=1
  task 8 main local activated { mark send mov out q2 f32[64] <- f32 1.5 }
}
class right {
  in q0 = c0
  fifo f0 at 1024 words 16
  buffer t at 0 bytes 4 table of 1
  buffer y at 4 bytes 256 activation of 1
  task 8 main local activated { mark take mov [@y : f32 ; 64] <- in q0 f32[64] }
}
class router { }
route c0 at 0,0 size 1x1 { pos RAMP -> EAST }
route c0 at 1,0 size 1x1 { pos WEST -> EAST }
route c0 at 2,0 size 1x1 { pos WEST -> RAMP }
place left at 0,0 size 1x1
place router at 1,0 size 1x1
place right at 2,0 size 1x1";

fn program() -> Program {
    parse(TEXT).unwrap_or_else(|e| panic!("{e}"))
}

fn facts() -> Facts {
    Facts { items: 3, unit: "images".into(), per_pe: true, ..Facts::default() }
}

fn run() -> Run {
    simulate(&program(), &BTreeMap::new(), &Options::default()).expect("it runs")
}

#[test]
fn memory_is_the_union_of_what_lies_in_it() {
    let report = Report::new(&program(), &Totals::from(&run()), facts());
    // Left: weight 0..256, activation 256..384, scratch 320..448 of which 384..448 is its own. Code: `mark` is free of
    // instructions or not as the machine says; take it from the class and check the rest.
    let code = u64::from(program().classes[0].code_bytes(&program().machine));
    let left = SramByKind {
        weights: 256,
        activations: 128,
        scratch: 64,
        code,
        free: 49152 - 448 - code,
        ..SramByKind::default()
    };
    assert!(code >= 12, "an instruction and a descriptor: {code}");
    assert_eq!(report.sram.fullest, left);
    assert_eq!(report.sram.fullest_pe, Some([0, 0]));
    assert_eq!(report.sram.peak_bytes, 448 + code);
    // Right: table 0..4, activation 4..260, fifo 1024..1088. The router has no code and does not count.
    let code = u64::from(program().classes[1].code_bytes(&program().machine));
    let right = 4 + 256 + 64 + code;
    assert_eq!(report.sram.total.fifos, 64);
    assert_eq!(report.sram.mean_bytes, (report.sram.peak_bytes + right) as f64 / 2.0);
    assert_eq!(report.sram.per_pe, Some(vec![vec![report.sram.peak_bytes, 0, right]]));
    assert_eq!((report.pes_used, report.sram.capacity_bytes), (2, 49152));
}

#[test]
fn memory_is_counted_for_the_operators_that_use_it() {
    let report = Report::new(&program(), &Totals::from(&run()), facts());
    // The instruction of `send` has one descriptor, the queue: 4 + 8 bytes.
    let send = OperatorMemory { weights: 256, activations: 128, code: 12, ..OperatorMemory::default() };
    // `take` has 128 bytes of scratch in the left PE and more in the right one: two descriptors, 4 + 16 bytes of code.
    let take = OperatorMemory { tables: 4, activations: 256, code: 20, ..OperatorMemory::default() };
    let found: Vec<OperatorMemory> = report.operators.iter().map(|operator| operator.memory).collect();
    assert_eq!(found, [send, take]);
    // Left: 448 bytes and 12 of code; right: 4 + 256 + 64 and 20.
    let classes: Vec<_> =
        report.sram.classes.iter().map(|c| (c.name.as_str(), c.pes, c.first_pe, c.used_bytes)).collect();
    assert_eq!(classes, [("left", 1, [0, 0], 460), ("right", 1, [2, 0], 344)]);
}

#[test]
fn a_real_run_gives_loads_times_and_shares() {
    let report = Report::new(&program(), &Totals::from(&run()), facts());
    // The first element leaves in cycle 8 and takes B + P + 4 cycles over P = 3 PEs.
    let cycles = 8 + 64 + 3 + 4;
    assert_eq!((report.cycles, report.runs), (cycles, 1));
    assert_eq!(report.seconds, cycles as f64 / 850e6);
    assert_eq!(report.throughput.items_per_second, 3.0 / report.seconds);
    // 64 wavelets over two of the four links between three PEs, then up a ramp.
    assert_eq!(report.links.peak_load, 64.0 / cycles as f64);
    assert_eq!(report.links.mean_load, 64.0 * 2.0 / 4.0 / cycles as f64);
    assert_eq!((report.links.wavelet_hops, report.links.ramp_wavelets), (128, 64));
    assert_eq!(report.links.peak_ramp_load, 64.0 / cycles as f64);
    assert_eq!((report.links.peak_pe, report.links.peak_direction), (Some([0, 0]), Some(LinkDirection::East)));
    // Sender: task switch 2, start-up 6, 64 elements. Receiver: the same work.
    let busy: u64 = report.heaviest_pes.iter().map(|pe| pe.busy).sum();
    assert_eq!(busy, 2 * (2 + 6 + 64));
    assert_eq!(report.utilisation.busy, busy as f64 / (3 * cycles) as f64);
    let u = report.utilisation;
    assert!((u.busy + u.fabric_in + u.fabric_out + u.memory + u.idle - 1.0).abs() < 1e-12, "{u:?}");
    assert_eq!(report.operators.iter().map(|o| o.cycles).sum::<u64>(), cycles);
    assert_eq!((report.flops.total, report.flops.per_second), (40, 40.0 / report.seconds));
    assert_eq!(report.heaviest_pes.len(), 2, "the router runs no code");
    assert_eq!(report.per_pe.map(|pes| pes.len()), Some(3));
}

/// A run of [`TEXT`]'s program with counters that were made up.
fn made_up(cycles: u64, operators: [OperatorTime; 2]) -> Run {
    let pe = |busy, fabric_in, memory| PeCounters {
        busy,
        fabric_in,
        memory,
        fabric_out: 0,
        idle: cycles - busy - fabric_in - memory,
    };
    Run {
        outputs: BTreeMap::new(),
        cycles,
        items: Vec::new(),
        pes: vec![pe(10, 60, 0), pe(0, 0, 0), pe(20, 70, 5)],
        links: vec![[0, 7, 0, 0, 1], [3, 5, 9, 9, 0], [0, 11, 0, 0, 4]],
        operators: operators.to_vec(),
        claimed: vec![true, false],
        leftover_wavelets: 2,
    }
}

#[test]
fn several_runs_add_up() {
    let time = |start, end, cycles, busy| OperatorTime {
        start_cycle: start,
        end_cycle: end,
        cycles,
        busy_cycles: busy,
        pe_cycles: 0,
    };
    let mut totals = Totals::default();
    totals.add(&made_up(100, [time(0, 40, 40, 10), time(30, 100, 60, 21)]));
    totals.add(&made_up(200, [time(0, 50, 50, 10), time(50, 200, 150, 67)]));
    assert_eq!(totals.cycles(), 300);
    let report = Report::new(&program(), &totals, facts());
    assert_eq!((report.runs, report.cycles, report.leftover_wavelets), (2, 300, 4));
    // Of 3 PEs times 300 cycles.
    assert_eq!(report.utilisation.busy, 2.0 * 30.0 / 900.0);
    assert_eq!(report.utilisation.fabric_in, 2.0 * 130.0 / 900.0);
    assert_eq!(report.utilisation.memory, 10.0 / 900.0);
    assert_eq!(report.bound_by, Bound::Idle);
    let take = &report.operators[1];
    assert_eq!((take.cycles, take.span_cycles, take.flops, take.bytes), (210, 220, 60, 1024));
    // Columns 0 and 2 are its PEs.
    assert_eq!(take.utilisation, 88.0 / (2.0 * 220.0));
    // Links inside: 0 east 7, 1 west 3, 1 east 5, 2 west 0. What leaves the grid (the 9s and the 11) is no part.
    assert_eq!((report.links.peak_load, report.links.wavelet_hops), (14.0 / 300.0, 30));
    assert_eq!(report.links.mean_load, 30.0 / 4.0 / 300.0);
    // The busiest PE comes first.
    assert_eq!(report.heaviest_pes[0].x, 2);
    assert_eq!(report.heaviest_pes[0].busy, 40);
}

#[test]
fn what_limits_the_speed_is_named() {
    let mut program = program();
    let bound = |program: &Program, run: &Run| Report::new(program, &Totals::from(run), facts()).bound_by;
    let mut run = made_up(100, [OperatorTime::default(); 2]);
    run.pes = vec![PeCounters { busy: 50, fabric_in: 49, idle: 1, ..PeCounters::default() }; 3];
    assert_eq!(bound(&program, &run), Bound::Compute);
    run.pes = vec![PeCounters { busy: 50, fabric_in: 50, ..PeCounters::default() }; 3];
    assert_eq!(bound(&program, &run), Bound::FabricIn);
    run.links[1][1] = 90;
    assert_eq!(bound(&program, &run), Bound::Link);
    // 45 wavelets in 100 cycles over a host link of half a wavelet a cycle: 90 %.
    program.machine.host_wavelets_per_cycle = 0.5;
    let port = "program p machine bench16 grid 1x1 input x : f32[45] on 1x1 edge WEST at 0,0 color c0";
    program.ports = parse(port).unwrap_or_else(|e| panic!("{e}")).ports;
    let report = Report::new(&program, &Totals::from(&run), facts());
    assert_eq!((report.host_link.sent_wavelets, report.host_link.load), (45, 0.9));
    assert_eq!(report.bound_by, Bound::HostLink);
}

#[test]
fn a_run_of_nothing_has_a_report() {
    let program = parse("program p machine bench16 grid 2x2").unwrap_or_else(|e| panic!("{e}"));
    let run = simulate(&program, &BTreeMap::new(), &Options::default()).expect("nothing to do");
    let report = Report::new(&program, &Totals::from(&run), Facts::default());
    assert_eq!((report.cycles, report.utilisation.idle, report.throughput.items_per_second), (0, 1.0, 0.0));
    assert_eq!((report.bound_by, report.sram.fullest_pe, report.heaviest_pes.len()), (Bound::Idle, None, 0));
}
