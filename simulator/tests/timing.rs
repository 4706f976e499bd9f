//! Timing of one thing at a time, each against a number worked out by hand.
//!
//! `bench16`: start-up 6, ramp 2 each way, hop 1, task switch 2, scalar and branch 1. All programs start with the task switch
//! of `main`, so that its first instruction is issued in cycle 2.

use std::collections::BTreeMap;
use waferloom_fabric::text::parse;
use waferloom_fabric::{HostData, HostTensor, Program};
use waferloom_simulator::{Engine, Method, Options, Run, SimulateError, simulate};

fn program(text: &str) -> Program {
    parse(text).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

/// Runs a text on both engines, in all ways that there are for it, which here take the same cycles.
fn run(text: &str) -> Run {
    let run = |engine, method| {
        let options = Options { engine, method, ..Options::default() };
        simulate(&program(text), &BTreeMap::new(), &options)
    };
    let wavelet = run(Engine::Wavelet, Method::Choose).unwrap_or_else(|e| panic!("wavelet: {e}"));
    for method in [Method::Apart, Method::Together, Method::Events] {
        let stream = match run(Engine::Stream, method) {
            Err(SimulateError::Inseparable) => continue,
            run => run.unwrap_or_else(|e| panic!("{method:?}: {e}")),
        };
        assert_eq!((&wavelet.outputs, wavelet.cycles), (&stream.outputs, stream.cycles), "{method:?}\n{text}");
    }
    wavelet
}

/// A single PE with a class that holds `body` and 48 000 bytes of buffer.
fn single(body: &str) -> Run {
    run(&format!(
        "program p machine bench16 grid 1x1
class w {{
  buffer all at 0 bytes 48000 scratch
  task 8 main local activated {{ {body} }}
}}
place w at 0,0 size 1x1"
    ))
}

/// A row of PEs in which PE 0 runs `root` and all others `rest`, with colour c0 broadcast from PE 0 to the east.
fn broadcast(pes: u32, root: &str, rest: &str) -> Run {
    let middle =
        if pes > 2 { format!("route c0 at 1,0 size {}x1 {{ pos WEST -> EAST RAMP }}", pes - 2) } else { String::new() };
    run(&format!(
        "program p machine bench16 grid {pes}x1
route c0 at 0,0 size 1x1 {{ pos RAMP -> EAST }}
{middle}
route c0 at {last},0 size 1x1 {{ pos WEST -> RAMP }}
class root {{
  out q2 = c0
  buffer all at 0 bytes 40000 scratch
  task 8 main local activated {{ {root} }}
}}
class rest {{
  in q0 = c0
  buffer all at 0 bytes 40000 scratch
  task 8 main local activated {{ {rest} }}
}}
place root at 0,0 size 1x1
place rest at 1,0 size {last}x1",
        last = pes - 1
    ))
}

#[test]
fn a_vector_instruction_takes_its_length_and_the_start_up() {
    // Task switch 2, then 1028 + 6 = 1034, the vendor's figure for 1028 elements. Operands 32 bytes apart modulo 64 lie in
    // banks 0 and 1 at every element: no conflict.
    let run = single("mov [0 : f32 ; 1028] <- [8200 : f32 ; 1028]");
    assert_eq!(run.cycles, 2 + 1034);
    assert_eq!(run.pes[0].memory, 0);
}

#[test]
fn reads_of_the_same_bank_take_twice_as_long() {
    // 8192 / 8 = 1024 is a multiple of 4: both reads of every element fall into the same bank. 2 * 1028 + 6 = 2062.
    let run = single("add [16384 : f32 ; 1028] <- [0 : f32 ; 1028], [8192 : f32 ; 1028]");
    assert_eq!(run.cycles, 2 + 2062);
    assert_eq!((run.pes[0].busy, run.pes[0].memory), (2 + 6 + 1028, 1028));
}

#[test]
fn a_third_operand_takes_a_second_cycle() {
    // Two reads a cycle: 3 operands take 2 cycles an element. Their banks are 0, 1 and 2 modulo 4 at the first one.
    let run = single("mac null <- [0 : f32 ; 100], [8200 : f32 ; 100], [16400 : f32 ; 100]");
    assert_eq!((run.cycles, run.pes[0].memory), (2 + 6 + 200, 100));
}

#[test]
fn a_long_instruction_takes_as_long_as_its_elements() {
    // Beyond 2^20 elements the engine goes another way; the time is the same.
    let n = (1 << 20) + 8;
    let run = single(&format!("mov null <- [0 : f32 ; {}:0, 8:0]", n / 8));
    assert_eq!((run.cycles, run.pes[0].busy), (2 + 6 + n, 2 + 6 + n));
}

#[test]
fn two_microthreads_share_the_datapath() {
    // Both are issued (1 cycle each, in 2 and 3) and have their start-up of 6; their 100 elements each alternate, one a cycle,
    // from cycle 2 + 1 + 6 = 9 on: the first one is alone in 9, so 200 cycles end in 9 + 200.
    let run = single("mov [0 : f32 ; 100] <- f32 1.0 async u0 mov [400 : f32 ; 100] <- f32 1.0 async u1");
    assert_eq!(run.cycles, 9 + 200);
}

#[test]
fn half_precision_runs_four_elements_a_cycle() {
    // 64 / 4 + 6.
    for dtype in ["f16", "bf16", "cb16"] {
        assert_eq!(single(&format!("mov [0 : {dtype} ; 64] <- [1032 : {dtype} ; 64]")).cycles, 2 + 6 + 16, "{dtype}");
    }
    // Mixed with f32: 64 / 2 + 6.
    assert_eq!(single("mov [0 : f32 ; 64] <- [1032 : f16 ; 64]").cycles, 2 + 6 + 32);
}

#[test]
fn scalars_and_loops_cost_what_the_machine_says() {
    // 1 for the set, 1 to enter the loop, then three turns of an add (1) and the turn itself (1).
    assert_eq!(single("r1 = add 5, 0 loop r2 in 3 { r1 = add r1, r2 }").cycles, 2 + 1 + 1 + 3 * 2);
}

#[test]
fn one_hop_takes_six_cycles() {
    // Issued in 2, element in 8, at the neighbour's datapath in 8 + 1 + 2 + 1 + 2 = 14, done in 15.
    // The receiver's own start-up is over long before.
    let run = broadcast(2, "mov out q2 f32[1] <- f32 1.5", "mov [0 : f32 ; 1] <- in q0 f32[1]");
    assert_eq!(run.cycles, 15);
    assert_eq!(run.links[0][1], 1);
}

#[test]
fn a_multicast_takes_b_plus_p_plus_four() {
    // From the cycle of the root's first element (8): B + P + 2 * 2.
    let (b, p) = (64, 7);
    let run = broadcast(p, "mov out q2 f32[64] <- f32 1.5", "mov [0 : f32 ; 64] <- in q0 f32[64]");
    assert_eq!(run.cycles, 8 + b + u64::from(p) + 4);
}

#[test]
fn a_chain_takes_a_cycle_an_element_and_six_a_pe() {
    // B + 6 (P - 1) from the first element in cycle 8. The PEs in between receive, add and send on in one instruction.
    let chain = |b: u32, p: u32| {
        format!(
            "program p machine bench16 grid {p}x1
param into = columns [1, 0] 
param from = columns [0, 1]
"
        )
        .replace("[1, 0]", &format!("{:?}", (0..p).map(|x| (x + 1) % 2).collect::<Vec<_>>()))
        .replace("[0, 1]", &format!("{:?}", (0..p).map(|x| x % 2).collect::<Vec<_>>()))
            + &format!(
                "route c0 at 0,0 size {p}x1 step 2x1 {{ pos RAMP -> EAST }}
route c0 at 1,0 size {odd}x1 step 2x1 {{ pos WEST -> RAMP }}
route c1 at 1,0 size {odd}x1 step 2x1 {{ pos RAMP -> EAST }}
route c1 at 2,0 size {even}x1 step 2x1 {{ pos WEST -> RAMP }}
class first {{ out q2 = $from task 8 main local activated {{ mov out q2 f32[{b}] <- f32 1.0 }} }}
class middle {{ in q0 = $into out q2 = $from task 8 main local activated {{ add out q2 f32[{b}] <- in q0 f32[{b}], f32 1.0 }} }}
class last {{ in q0 = $into buffer sum at 0 bytes {bytes} scratch
  task 8 main local activated {{ add [@sum : f32 ; {b}] <- in q0 f32[{b}], f32 1.0 }} }}
place first at 0,0 size 1x1
place middle at 1,0 size {inner}x1
place last at {end},0 size 1x1",
                odd = p - 1,
                even = p - 2,
                bytes = b * 4,
                inner = p - 2,
                end = p - 1
            )
    };
    // The last PE of an odd number has no neighbour to send to: its route to the east is cut off.
    for (b, p) in [(1, 3), (100, 5), (256, 9)] {
        let text =
            chain(b, p).replace(&format!("route c0 at 0,0 size {p}x1"), &format!("route c0 at 0,0 size {}x1", p - 1));
        assert_eq!(run(&text).cycles, 8 + u64::from(b) + 6 * u64::from(p - 1), "B = {b}, P = {p}\n{text}");
    }
}

#[test]
fn a_full_queue_holds_the_sender_back() {
    // The receiver is busy with scalars for 300 cycles. The queues between hold, from the receiver's side: its input queue
    // of 6 and 2 on its ramp, 4 in its router, 6 and 3 at the sender's ramp (depth, ramp, and the element's own cycle): 21.
    let run = broadcast(
        2,
        "mov out q2 f32[100] <- f32 1.5",
        "loop r1 in 149 { r2 = add r2, 1 } mov [0 : f32 ; 100] <- in q0 f32[100]",
    );
    // Receiver: issue in 2 + 1 + 2 * 149 = 301, first element in 307, one a cycle: done in 407.
    assert_eq!(run.cycles, 407);
    // Its first element makes room in the input queue in 307; its router fills it in the same cycle and tells the sender's
    // router, which moves one on in 308 and has room for the sender's 22nd element (number 21) in 309. So its last one
    // (number 99) is put in in 309 + 78 = 387. Until the end of 387 it waits whenever it does not do its 2 cycles of task
    // switch, 6 of start-up and 100 elements: 388 - 108 = 280 cycles.
    assert_eq!((run.pes[0].busy, run.pes[0].fabric_out, run.pes[0].idle), (108, 280, 407 - 388));
    assert_eq!(run.pes[1].fabric_in, 0);
}

#[test]
fn a_busy_receiver_holds_up_the_others() {
    // PE 1 is busy with scalars until 2 + 1 + 2 * 100 = 203, and takes its first element in 209. Its input queue holds 6 and its ramp 2: the
    // ninth element waits in its router, and with it the copy for PE 2, which clears 900 words behind it.
    let cycles = |elements: u32, engine, method| {
        let text = format!(
            "program p machine bench16 grid 3x1
route c0 at 0,0 {{ pos RAMP -> EAST }}
route c0 at 1,0 {{ pos WEST -> EAST RAMP }}
route c0 at 2,0 {{ pos WEST -> RAMP }}
class root {{ out q2 = c0 buffer all at 0 bytes 4000 scratch task 8 main local activated {{
  mov out q2 f32[{elements}] <- f32 1.5 }} }}
class busy {{ in q0 = c0 buffer all at 0 bytes 4000 scratch task 8 main local activated {{
  loop r1 in 100 {{ r2 = add r2, 1 }} mov [0 : f32 ; {elements}] <- in q0 f32[{elements}] }} }}
class free {{ in q0 = c0 buffer all at 0 bytes 4000 scratch task 8 main local activated {{
  mov [0 : f32 ; {elements}] <- in q0 f32[{elements}] mov [0 : f32 ; 900] <- f32 0.0 }} }}
place root at 0,0
place busy at 1,0
place free at 2,0"
        );
        let options = Options { engine, method, ..Options::default() };
        simulate(&program(&text), &BTreeMap::new(), &options).unwrap_or_else(|e| panic!("{e}")).cycles
    };
    let ways = [Method::Together, Method::Apart, Method::Events].map(|method| (Engine::Stream, method));
    for (engine, method) in ways.into_iter().chain([(Engine::Wavelet, Method::Choose)]) {
        // Issued in 2, the first element is put in in 8 and taken by PE 2 two ramps, two hops and its own cycle later, in 15, the eighth in 22;
        // then come 6 and 900 cycles.
        assert_eq!(cycles(8, engine, method), 23 + 906);
        // The ninth leaves PE 1's router in 209 and is taken by PE 2 a hop and a ramp later, in 212.
        assert_eq!(cycles(9, engine, method), 213 + 906);
        assert_eq!(cycles(20, engine, method), 213 + 11 + 906);
    }
}

#[test]
fn a_run_that_is_taken_in_parts_comes_later_to_who_is_further_away() {
    // The root reads three operands, 2 cycles an element. Element k leaves it in 8 + 2 k and is at the datapath of the PE 8 hops away
    // in 8 + 2 k + 2 + 8 + 1 + 2 = 21 + 2 k: its first 20 elements are done in 60. The loop takes 1 + 2 * 149 cycles, until 359,
    // the start-up 6 and the elements that have come 4.
    let rest =
        "mov [0 : f32 ; 20] <- in q0 f32[20] loop r1 in 149 { r2 = add r2, 1 } mov [80 : f32 ; 4] <- in q0 f32[4]";
    let root = "mac out q2 f32[24] <- [0 : f32 ; 24], [8200 : f32 ; 24], [16400 : f32 ; 24]";
    assert_eq!(broadcast(9, root, rest).cycles, 369);
}

#[test]
fn a_control_wavelet_needs_room_behind_words_that_wait() {
    // PE 1 is busy until 203, and takes its first word in 209. PE 0 has sent 20 or 21 words by then: of 21 the queue there holds 8, the link 4
    // and the ramp 9, and a control wavelet behind them finds room two cycles after the first one is taken, in 211. Then PE 0 clears 900 words.
    let cycles = |words: u32| {
        run(&format!(
            "program p machine bench16 grid 2x1
route c0 at 0,0 {{ pos RAMP -> EAST }}
route c0 at 1,0 {{ pos WEST -> RAMP }}
class root {{ out q2 = c0 buffer all at 0 bytes 4000 scratch task 8 main local activated {{
  mov out q2 f32[{words}] <- f32 1.5 control q2 [nop] mov [0 : f32 ; 900] <- f32 0.0 }} }}
class busy {{ in q0 = c0 buffer all at 0 bytes 4000 scratch task 8 main local activated {{
  loop r1 in 100 {{ r2 = add r2, 1 }} mov [0 : f32 ; {words}] <- in q0 f32[{words}] }} }}
place root at 0,0
place busy at 1,0"
        ))
        .cycles
    };
    // Task switch, start-up, the words, the control wavelet, and the start-up of what follows.
    assert_eq!(cycles(20), 2 + 6 + 20 + 1 + 6 + 900);
    assert_eq!(cycles(21), 211 + 1 + 6 + 900);
}

#[test]
fn a_task_switch_takes_two_cycles() {
    let text = "program p machine bench16 grid 1x1
class w {
  task 8 main local activated { activate 9 r1 = add 1, 1 }
  task 9 next local { r2 = add 2, 2 }
}
place w at 0,0 size 1x1";
    // Switch 2, activate 1, add 1, switch 2, add 1.
    assert_eq!(run(text).cycles, 7);
}

#[test]
fn counters_add_up_at_every_pe() {
    let run = broadcast(5, "mov out q2 f32[64] <- f32 1.5", "mov [0 : f32 ; 64] <- in q0 f32[64]");
    for pe in &run.pes {
        assert_eq!(pe.busy + pe.fabric_in + pe.fabric_out + pe.memory + pe.idle, run.cycles, "{pe:?}");
    }
}

#[test]
fn who_waits_for_what_is_said() {
    let text = "program p machine bench16 grid 2x1
route c0 at 0,0 size 1x1 { pos RAMP -> EAST }
route c0 at 1,0 size 1x1 { pos WEST -> RAMP }
class a { out q2 = c0 task 8 main local activated { mov out q2 f32[3] <- f32 1.5 } }
class b { in q0 = c0 task 8 main local activated { mov null <- in q0 f32[5] } }
place a at 0,0 size 1x1
place b at 1,0 size 1x1";
    let error = simulate(&program(text), &BTreeMap::new(), &Options::default()).expect_err("a deadlock");
    let SimulateError::Deadlock { waits, .. } = error else { panic!("{error}") };
    assert!(waits.contains("PE (1, 0), task main, step 0: waits for 2 more wavelets of colour c0"), "{waits}");
}

/// A column of four PEs: numbers come in from the north, each PE adds 1, they leave to the south.
const COLUMN: &str = "program column machine bench16 grid 1x4
param into = rows [0, 1, 0, 1]
param from = rows [1, 0, 1, 0]
route c0 at 0,0 size 1x4 step 1x2 { pos NORTH -> RAMP }
route c1 at 0,0 size 1x4 step 1x2 { pos RAMP -> SOUTH }
route c1 at 0,1 size 1x3 step 1x2 { pos NORTH -> RAMP }
route c0 at 0,1 size 1x3 step 1x2 { pos RAMP -> SOUTH }
class w {
  in q0 = $into
  out q2 = $from
  task 8 main local activated { add out q2 f32[50] <- in q0 f32[50], f32 1.0 }
}
place w at 0,0 size 1x4
input x : f32[50] on 1x1 edge NORTH at 0,0 color c0
output y : f32[50] on 1x1 edge SOUTH at 0,3 color c0";

#[test]
fn threads_do_not_change_a_run() {
    let inputs = BTreeMap::from([("x".to_string(), HostTensor::f32(&[50], vec![1.0; 50]))]);
    let program = program(COLUMN);
    let run = |threads| simulate(&program, &inputs, &Options { threads, ..Options::default() }).expect("it runs");
    let one = run(1);
    assert_eq!(one.outputs["y"].data, HostData::F32(vec![5.0; 50]));
    for threads in [2, 3, 4] {
        assert_eq!(one, run(threads), "{threads} threads");
    }
}

#[test]
fn a_result_is_read_from_memory_without_a_cycle() {
    // Two PEs hold two numbers each: the second PE's lie at the same address. Task switch 2, start-up 6, two elements.
    let run = run("program p machine bench16 grid 2x1 param x = columns [0, 1]
class w {
  buffer all at 0 bytes 64 scratch
  task 8 main local activated { mov [16 : i32 ; 2] <- i32 $x }
}
place w at 0,0 size 2x1
result y : i32[4] at 16 origin 0,0 on 2x1 x dim 0 by 2");
    assert_eq!(run.outputs["y"], HostTensor::i64(&[4], vec![0, 0, 1, 1]));
    assert_eq!(run.cycles, 2 + 6 + 2);
}

#[test]
fn items_follow_each_other_through_a_pe() {
    let text = "program p machine bench16 grid 1x1 items 3
route c0 at 0,0 { pos WEST -> RAMP }
route c1 at 0,0 { pos RAMP -> EAST }
class w {
  in q0 = c0
  out q2 = c1
  buffer all at 0 bytes 64 scratch
  task 8 main local activated { loop r0 in 3 { mov [0 : f32 ; 4] <- in q0 f32[4] add out q2 f32[4] <- [0 : f32 ; 4], f32 0.5 } }
}
place w at 0,0
input \"x\" : f32[4] on 1x1 edge WEST at 0,0 color c0
output \"y\" : f32[4] on 1x1 edge EAST at 0,0 color c1";
    let x = HostTensor::f32(&[3, 4], (0..12u8).map(f32::from).collect());
    let run = simulate(&program(text), &BTreeMap::from([("x".to_string(), x)]), &Options::default());
    let run = run.unwrap_or_else(|e| panic!("{e}"));
    let expected = HostTensor::f32(&[3, 4], (0..12u8).map(|i| f32::from(i) + 0.5).collect());
    assert_eq!(run.outputs["y"], expected);
    assert_eq!(run.items.len(), 3);
    // A turn of the loop takes start-up 6 and 4 elements twice, and a branch.
    let ends: Vec<u64> = run.items.iter().map(|item| item.end_cycle).collect();
    assert_eq!([ends[1] - ends[0], ends[2] - ends[1]], [21, 21]);
    assert_eq!((run.items[0].start_cycle, ends[2]), (0, run.cycles));
}
