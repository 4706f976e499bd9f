//! What routers do, each thing against a result worked out by hand: routes, switches, control wavelets, teardown, filters.

mod common;

use common::{fails, integers, run, run_with, words};
use waferloom_simulator::SimulateError;

/// A row of three PEs. PE 0 runs `send` and sends on c0 to the east; PE 1 has the route `middle`, PE 2 takes c0 from the west.
/// PEs 1 and 2 run `one` and `two`, and each has an output of i32 to the north: `one` and `two`, of the given lengths.
fn row(send: &str, middle: &str, one: (&str, u32), two: (&str, u32)) -> String {
    let output = |x: u32, name: &str, length: u32| {
        if length == 0 {
            return String::new();
        }
        format!(
            "route c9 at {x},0 {{ pos RAMP -> NORTH }}\noutput {name} : i32[{length}] on 1x1 edge NORTH at {x},0 color c9\n"
        )
    };
    let class = |name: &str, code: &str| {
        format!("class {name} {{ in q0 = c0 out q1 = c9 buffer all at 0 bytes 4096 scratch {code} }}\n")
    };
    [
        "program row machine bench16 grid 3x1\n".to_string(),
        "route c0 at 0,0 { pos RAMP -> EAST }\n".into(),
        format!("route c0 at 1,0 {{ {middle} }}\n"),
        "route c0 at 2,0 { pos WEST -> RAMP }\n".into(),
        format!("class send {{ out q0 = c0 task 8 main local activated {{ {send} }} }}\n"),
        class("one", one.0),
        class("two", two.0),
        "place send at 0,0 place one at 1,0 place two at 2,0\n".into(),
        output(1, "one", one.1),
        output(2, "two", two.1),
    ]
    .concat()
}

/// Code that sends the numbers one by one.
fn send(numbers: &[i32]) -> String {
    let instructions: Vec<String> = numbers.iter().map(|n| format!("mov out q0 i32[1] <- i32 {n} ")).collect();
    instructions.concat()
}

/// A main task that passes `n` wavelets on to the host.
fn pass(n: u32) -> String {
    format!("task 8 main local activated {{ mov out q1 i32[{n}] <- in q0 i32[{n}] }}")
}

#[test]
fn a_multicast_copies_to_the_ramp_and_on() {
    let run = run(&row(&send(&[1, 2, 3]), "pos WEST -> EAST RAMP", (&pass(3), 3), (&pass(3), 3)));
    assert_eq!(integers(&run, "one"), [1, 2, 3]);
    assert_eq!(integers(&run, "two"), [1, 2, 3]);
    // West, east, north, south, ramp. PE 1: the copies to the east and down, and what it sends to the host.
    assert_eq!(run.links[0], [0, 3, 0, 0, 0]);
    assert_eq!(run.links[1], [0, 3, 3, 0, 3]);
    assert_eq!(run.links[2], [0, 0, 3, 0, 3]);
    assert_eq!(run.leftover_wavelets, 0);
}

#[test]
fn ramp_to_ramp_sends_a_pe_its_own_wavelets() {
    let text = "program loop machine bench16 grid 1x1
route c0 at 0,0 { pos RAMP -> RAMP }
route c9 at 0,0 { pos RAMP -> NORTH }
class w { in q0 = c0 out q0 = c0 out q1 = c9 task 8 main local activated {
  mov out q0 i32[3] <- i32 7
  add out q1 i32[3] <- in q0 i32[3], i32 1 } }
place w at 0,0
output y : i32[3] on 1x1 edge NORTH at 0,0 color c9";
    assert_eq!(integers(&run(text), "y"), [8, 8, 8]);
}

#[test]
fn a_switch_advances_behind_the_control_wavelet() {
    // The control wavelet itself still goes by position 0, down the ramp of PE 1, where it vanishes: it names no task.
    let code = send(&[1, 2]) + "control q0 [nop, advance] " + &send(&[3, 4, 5]);
    let run = run(&row(&code, "pos WEST -> RAMP; pos WEST -> EAST", (&pass(2), 2), (&pass(3), 3)));
    assert_eq!(integers(&run, "one"), [1, 2]);
    assert_eq!(integers(&run, "two"), [3, 4, 5]);
    assert_eq!(run.links[1], [0, 3, 2, 0, 3]);
}

#[test]
fn a_ring_goes_around_and_other_switches_stay_at_the_end() {
    let turn = "control q0 [nop, advance] ";
    let code = send(&[1]) + turn + &send(&[2]) + turn + &send(&[3]);
    let positions = "pos WEST -> RAMP; pos WEST -> EAST";
    let ring = run(&row(&code, &format!("{positions}; ring"), (&pass(2), 2), (&pass(1), 1)));
    assert_eq!(integers(&ring, "one"), [1, 3]);
    assert_eq!(integers(&ring, "two"), [2]);
    let stays = run(&row(&code, positions, (&pass(1), 1), (&pass(2), 2)));
    assert_eq!(integers(&stays, "one"), [1]);
    assert_eq!(integers(&stays, "two"), [2, 3]);
}

#[test]
fn a_reset_goes_back_to_the_start() {
    // Starts in position 1 (east), advances to 2 (ramp), is reset to 1.
    let positions = "pos NORTH -> RAMP; pos WEST -> EAST; pos WEST -> RAMP; start 1";
    let code = send(&[1]) + "control q0 [nop, advance] " + &send(&[2]) + "control q0 [nop, reset] " + &send(&[3]);
    let run = run(&row(&code, positions, (&pass(1), 1), (&pass(2), 2)));
    assert_eq!(integers(&run, "one"), [2]);
    assert_eq!(integers(&run, "two"), [1, 3]);
}

#[test]
fn the_last_command_holds_for_all_routers_further_on() {
    // One command: PE 0 advances, and so do PEs 1 and 2. PE 1 passes the first half on and keeps the second.
    let code = send(&[1]) + "control q0 [advance] " + &send(&[2]);
    let text = row(&code, "pos WEST -> EAST; pos WEST -> RAMP", (&pass(1), 1), (&pass(1), 1));
    let run = run(&text);
    assert_eq!((integers(&run, "one"), integers(&run, "two")), (vec![2], vec![1]));
}

#[test]
fn code_sets_the_position_of_its_own_router() {
    // PE 1 takes two wavelets, then turns its switch: the rest goes on.
    let one = "task 8 main local activated { mov out q1 i32[2] <- in q0 i32[2] position c0 = 1 }";
    // The others wait 200 cycles: those that are on their way when the switch turns would go by position 0.
    let code = send(&[1, 2]) + "loop r1 in 100 { r2 = add r2, 1 } " + &send(&[3]);
    let run = run(&row(&code, "pos WEST -> RAMP; pos WEST -> EAST", (one, 2), (&pass(1), 1)));
    assert_eq!((integers(&run, "one"), integers(&run, "two")), (vec![1, 2], vec![3]));
}

#[test]
fn a_control_wavelet_runs_the_task_that_it_names() {
    // It waits in the queue behind the data. 70000 in 16 bits is 70000 - 65536 = 4464.
    let code = send(&[5]) + "r3 = add 70000, 0 control q0 [nop] task 12 payload r3 ";
    let one = "task 12 end control { mov out q1 i32[1] <- i32 r0 }
               task 8 main local activated { mov out q1 i32[1] <- in q0 i32[1] }";
    assert_eq!(integers(&run(&row(&code, "pos WEST -> RAMP", (one, 2), ("", 0))), "one"), [5, 4464]);
}

#[test]
fn control_tasks_wait_while_they_are_blocked_and_keep_their_order() {
    let code =
        "control q0 [nop] task 12 payload 1 control q0 [nop] task 13 payload 2 control q0 [nop] task 12 payload 3";
    let one = "task 12 a control blocked { mov out q1 i32[1] <- i32 r0 }
               task 13 b control { mov out q1 i32[1] <- i32 r0 unblock 12 }";
    // Task 12 is blocked when its first wavelet comes; 13 runs, and lets both of the others run in their order.
    assert_eq!(integers(&run(&row(code, "pos WEST -> RAMP", (one, 3), ("", 0))), "one"), [2, 1, 3]);
}

#[test]
fn a_control_wavelet_ends_at_the_host() {
    let text = "program edge machine bench16 grid 1x1
route c9 at 0,0 { pos RAMP -> NORTH }
class w { out q1 = c9 task 8 main local activated {
  mov out q1 i32[1] <- i32 1 control q1 [nop] payload 99 mov out q1 i32[1] <- i32 2 } }
place w at 0,0
output y : i32[2] on 1x1 edge NORTH at 0,0 color c9";
    assert_eq!(integers(&run(text), "y"), [1, 2]);
}

#[test]
fn a_teardown_closes_a_route_until_its_task_opens_it() {
    // PE 1 keeps what comes before the teardown; its task opens the route in the position that passes on.
    let code = send(&[1, 2]) + "control q0 [nop, teardown] " + &send(&[3, 4]);
    let route = "pos WEST -> RAMP; pos WEST -> EAST";
    let main = pass(2);
    let opens = format!("task 20 down teardown c0 {{ position c0 = 1 }} {main}");
    let good = run(&row(&code, route, (&opens, 2), (&pass(2), 2)));
    assert_eq!((integers(&good, "one"), integers(&good, "two")), (vec![1, 2], vec![3, 4]));
    // Nobody opens it: the rest never arrives.
    let error = fails(&row(&code, route, (&main, 2), (&pass(2), 2)));
    let SimulateError::Deadlock { waits, .. } = error else { panic!("{error}") };
    assert!(waits.contains("PE (2, 0), task main, step 0: waits for 2 more wavelets of colour c0"), "{waits}");
}

/// PE 0 passes the host's wavelets on; PE 1 has a filter and copies everything to PE 2.
fn filtered(filter: &str, kept: u32, all: u32) -> String {
    let send = format!("mov out q0 i32[{all}] <- in q0 i32[{all}]");
    row(&send, &format!("pos WEST -> EAST RAMP; filter {filter}"), (&pass(kept), kept), (&pass(all), all))
        .replace("class send {", "class send { in q0 = c8")
        + &format!("route c8 at 0,0 {{ pos NORTH -> RAMP }} input x : i32[{all}] on 1x1 edge NORTH at 0,0 color c8")
}

#[test]
fn a_range_filter_looks_at_the_upper_half() {
    let pair = |index: i64, value: i64| index << 16 | value;
    let x = [pair(1, 9), pair(2, 8), pair(5, 7), pair(3, 6), pair(4, 5)];
    let run = run_with(&filtered("range 2..=3", 2, 5), &[("x", words(&x))]);
    assert_eq!(integers(&run, "one"), [pair(2, 8), pair(3, 6)]);
    assert_eq!(integers(&run, "two"), x);
}

#[test]
fn a_count_filter_takes_its_part_of_every_period() {
    // Of every 4: numbers 1 and 2. So 1, 2, 5, 6 and 9 of 0 to 9.
    let x: Vec<i64> = (0..10).collect();
    let run = run_with(&filtered("count first 1 pass 2 period 4", 5, 10), &[("x", words(&x))]);
    assert_eq!(integers(&run, "one"), [1, 2, 5, 6, 9]);
    assert_eq!(integers(&run, "two"), x);
}

#[test]
fn a_full_colour_does_not_hold_another_one_back() {
    // c0 is full long before PE 1 reads it; c1 goes over the same link meanwhile, and its last wavelet ends the wait.
    let text = "program two machine bench16 grid 2x1
route c0 at 0,0 { pos RAMP -> EAST } route c0 at 1,0 { pos WEST -> RAMP }
route c1 at 0,0 { pos RAMP -> EAST } route c1 at 1,0 { pos WEST -> RAMP }
route c9 at 1,0 { pos RAMP -> NORTH }
class a { out q0 = c0 out q1 = c1 task 8 main local activated {
  mov out q0 i32[100] <- i32 3 async u0
  mov out q1 i32[100] <- i32 4 } }
class b { in q0 = c0 in q1 = c1 out q1 = c9 task 8 main local activated {
  mov null <- in q1 i32[99]
  mov out q1 i32[1] <- in q1 i32[1]
  mov null <- in q0 i32[99]
  mov out q1 i32[1] <- in q0 i32[1] } }
place a at 0,0 place b at 1,0
output y : i32[2] on 1x1 edge NORTH at 1,0 color c9";
    assert_eq!(integers(&run(text), "y"), [4, 3]);
}

#[test]
fn the_own_ramp_goes_first_where_senders_meet() {
    // Both first elements run in 8. PE 1's own is at its router in 8 + 1 + 2 = 11, PE 0's a hop later, in 12; from then on
    // both have one ready in every cycle. The ramp is preferred until it has no more.
    let text = row("mov out q0 i32[50] <- i32 0", "pos WEST RAMP -> EAST", ("", 0), (&pass(100), 100))
        .replace("class one { in q0 = c0 out q1 = c9", "class one { out q1 = c0")
        .replace(
            "place send",
            "class own { out q2 = c0 task 8 main local activated { mov out q2 i32[50] <- i32 1 } } place send",
        )
        .replace("out q0 = c0 task 8", "out q2 = c0 task 8")
        .replace("mov out q0", "mov out q2")
        .replace("place one", "place own");
    let expected: Vec<i64> = (0..100).map(|i| i64::from(i < 50)).collect();
    assert_eq!(integers(&run(&text), "two"), expected);
    let found = waferloom_fabric::verify(&common::program(&text));
    assert!(found.warnings[0].to_string().contains("PE (1, 0): wavelets of several senders"), "{found}");
}

#[test]
fn the_host_sends_no_faster_than_its_links() {
    // One wavelet in two cycles over one link: 50 of them enter in cycles 0, 2, …, 98; the last one is ready in 99, moves
    // down the ramp and is taken in 99 + 2 = 101, done in 102.
    let mut slow = common::program(
        "program p machine bench16 grid 1x1
route c0 at 0,0 { pos NORTH -> RAMP }
class w { in q0 = c0 task 8 main local activated { mov null <- in q0 i32[50] } }
place w at 0,0
input x : i32[50] on 1x1 edge NORTH at 0,0 color c0",
    );
    slow.machine.host_wavelets_per_cycle = 0.5;
    let inputs = [("x".to_string(), words(&[1; 50]))].into();
    let run = waferloom_simulator::simulate(&slow, &inputs, &waferloom_simulator::Options::default()).expect("it runs");
    assert_eq!(run.cycles, 102);
}

#[test]
fn a_sender_that_nobody_hears_is_told_of() {
    let error = fails(&row("mov out q0 i32[40] <- i32 1", "pos WEST -> RAMP", ("", 0), ("", 0)));
    let SimulateError::Deadlock { waits, .. } = error else { panic!("{error}") };
    // Output queue 0 with its ramp holds 2 + 3, the link 4, input queue 0 with its ramp 6 + 2: 17, so that 23 are left.
    assert!(waits.contains("PE (0, 0), task main, step 0: 23 more elements for output queue 0 (colour c0)"), "{waits}");
    assert!(waits.contains("no room to the east)"), "{waits}");
}

#[test]
fn two_that_send_what_the_queues_hold_go_on() {
    // Output queue 2 with its ramp holds 6 + 3, the link 4, input queue 0 with its ramp 6 + 2: 21. So much can be sent before
    // anybody receives; one more is a deadlock that the verifier proves.
    let swap = |n: u32| {
        format!(
            "program swap machine bench16 grid 2x1
param into = columns [1, 0] param from = columns [0, 1]
route c0 at 0,0 {{ pos RAMP -> EAST }} route c0 at 1,0 {{ pos WEST -> RAMP }}
route c1 at 1,0 {{ pos RAMP -> WEST }} route c1 at 0,0 {{ pos EAST -> RAMP }}
class w {{ in q0 = $into out q2 = $from task 8 main local activated {{
  mov out q2 f32[{n}] <- f32 1.0 mov null <- in q0 f32[{n}] }} }}
place w at 0,0 size 2x1"
        )
    };
    assert_eq!(run(&swap(21)).leftover_wavelets, 0);
    let error = fails(&swap(22));
    assert!(error.to_string().contains("sends more than the queues on the way hold"), "{error}");
}

#[test]
fn a_teardown_reaches_the_task_of_a_router_that_it_only_passes() {
    let text = "program torn machine bench16 grid 3x1
route c0 at 2,0 { pos RAMP -> WEST } route c0 at 1,0 { pos EAST -> WEST } route c0 at 0,0 { pos EAST -> RAMP }
route c1 at 1,0 { pos RAMP -> WEST } route c1 at 0,0 { pos EAST -> RAMP }
class end { out q0 = c0 task 8 m local activated { control q0 [nop, teardown, nop] } }
class torn { out q0 = c1 task 9 t teardown c0 { mov out q0 f32[1] <- f32 1.0 } }
class waits { in q0 = c1 in q1 = c0 task 8 m local activated { mov null <- in q0 f32[1] } }
place end at 2,0 place torn at 1,0 place waits at 0,0";
    assert_eq!(run(text).links[1], [2, 0, 0, 0, 0]);
}

#[test]
fn the_verifier_is_asked_first() {
    let error = fails(&row(&send(&[1]), "pos NORTH -> RAMP", ("", 0), ("", 0)));
    let SimulateError::Invalid { findings } = error else { panic!("{error}") };
    assert!(findings.starts_with("error: colour c0, PE (0, 0): the route to EAST ends at a router"), "{findings}");
}
