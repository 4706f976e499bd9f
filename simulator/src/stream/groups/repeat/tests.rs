use super::super::tests::run_for_time;
use super::Repeats;
use crate::Run;
use proptest::prelude::*;
use waferloom_fabric::Program;
use waferloom_fabric::text::parse;

/// Runs a program for its time alone; gives the turns that were passed over as well.
fn run(program: &Program, passes_over: bool) -> Option<(Run, u32)> {
    let change = |groups: &mut super::Groups<'_>| {
        if !passes_over {
            groups.repeats = Repeats::default();
        }
    };
    run_for_time(program, change, |groups| groups.repeats.passed_over)
}

/// Runs a program both ways, which is the same; gives the turns that were passed over.
fn both(text: &str) -> (Run, u32) {
    let program = parse(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let (every, none) = run(&program, false).unwrap_or_else(|| panic!("{text}"));
    let (run, turns) = run(&program, true).unwrap_or_else(|| panic!("{text}"));
    assert_eq!((&run, none), (&every, 0), "{text}");
    (run, turns)
}

fn operators(count: u32) -> String {
    "operator o any at 0,0 size 1x1 flops 0 bytes 0 ".repeat(count as usize)
}

/// One PE that does something in each turn of a loop: r2 is 8 times the turn, the bytes from 1024 on are floats.
fn single(turns: u32, body: &str) -> String {
    format!(
        "program p machine bench16 grid 1x1 {}
class c {{ buffer all at 0 bytes 4096 scratch
  task 8 main local activated {{ loop r1 in {turns} {{ r2 = mul r1, 8 mark #0 + r1 {body} }} }} }}
place c at 0,0
const table : i32[18] at 512 origin 0,0 on 1x1 = [3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 4, 4, 4, 4]",
        operators(turns)
    )
}

#[test]
fn turns_that_are_alike_are_counted_and_not_simulated() {
    // 2 cycles until the task begins and 1 into the loop; in each turn 1 for r2, 6 + 4 for the instruction and 1 for the next turn.
    let (run, passed_over) = both(&single(7, "mul [1024 : f32 ; 4] <- [r2 + 2048 : f32 ; 4], f32 2.0"));
    assert_eq!((run.cycles, run.pes[0].busy), (3 + 7 * 12, 3 + 7 * 12));
    // The first is the one that the second is held against.
    assert_eq!(passed_over, 5);
    let times = |turn: usize| (run.operators[turn].start_cycle, run.operators[turn].end_cycle);
    assert_eq!((times(0), times(6)), ((4, 16), (4 + 6 * 12, 3 + 7 * 12)));
    assert!(run.operators.iter().take(6).all(|operator| operator.busy_cycles == 12));
}

#[test]
fn turns_that_are_not_alike_are_simulated() {
    let vector = "mul [1024 : f32 ; 4] <- [2048 : f32 ; 4], f32 2.0";
    let cases = [
        // The last turn goes another way, and so does a loop in it.
        format!("if r1 == 5 {{ {vector} }}"),
        format!("r3 = sub r1, 5 if r3 == 0 {{ {vector} }}"),
        format!("loop r4 in r1 {{ {vector} }}"),
        // A number that is not the same in all turns comes from a table, or goes to memory.
        format!("r3 = mul r1, 4 r3 = load i32 [r3 + 512] loop r4 in r3 {{ {vector} }}"),
        "store r1 -> i32 [2048]".into(),
        // Its result lies elsewhere; it is longer; it reads a table.
        "mul [r2 + 1024 : f32 ; 4] <- [2048 : f32 ; 4], f32 2.0".into(),
        "mul [1024 : f32 ; r1] <- [2048 : f32 ; r1], f32 2.0".into(),
        "mov [1024 : i32 ; 1] <- [r2 + 512 : i32 ; 1]".into(),
        // In every fourth turn, the last one too, both operands are read from one bank.
        "mul [1024 : f32 ; 4] <- [r2 + 2048 : f32 ; 4:8], [3072 : f32 ; 4:8]".into(),
    ];
    for body in cases {
        assert_eq!(both(&single(9, &body)).1, 0, "{body}");
    }
    // Twice the distance after which banks repeat does no harm; neither does a table from which all turns read the same.
    let even = "r2 = mul r2, 8 mul [1024 : f32 ; 4] <- [r2 + 2048 : f32 ; 4:8], [3072 : f32 ; 4:8]";
    assert_eq!(both(&single(8, even)).1, 6);
    assert_eq!(both(&single(8, "r3 = load i32 [512] loop r4 in r3 { r5 = add r4, 1 }")).1, 6);
}

#[test]
fn a_register_of_the_last_turn_is_there_behind_the_loop() {
    let body = "r3 = mul r1, 1 } loop r4 in r1 { r5 = add r4, 1";
    // r1 is 9 behind the loop.
    let (run, passed_over) = both(&single(10, body));
    assert_eq!(passed_over, 8);
    // 3, then 10 turns of 3, 1 into the second loop, and 9 turns of 2.
    assert_eq!(run.cycles, 3 + 10 * 3 + 1 + 9 * 2);
}

/// 4x3 PEs, with a broadcast along rows and back, and along columns and back, and another colour over some of the same links. In each turn of a loop some parts, and
/// some behind it.
fn mesh(turns: u32, distance: u32, parts: &[usize], behind: &[usize]) -> String {
    const PARTS: [&str; 12] = [
        "mul [1024 : f32 ; 8] <- [r2 + 2048 : f32 ; 8], f32 2.0",
        "mac [1024 : f32 ; 8] <- [1024 : f32 ; 8], [r2 + 2048 : f32 ; 8], [1536 : f32 ; 8]",
        "if $x == 0 { mov out q0 f32[8] <- [r2 + 2048 : f32 ; 8] } else { mov [1536 : f32 ; 8] <- in q0 f32[8] }",
        "if $x == 3 { mov out q1 f32[2] <- [1024 : f32 ; 2] } else { if $x == 0 { mov [1664 : f32 ; 2] <- in q1 f32[2] } }",
        "if $y == 0 { mov out q2 i32[30] <- [r2 + 2048 : i32 ; 30] } else { mov [1152 : i32 ; 30] <- in q2 i32[30] }",
        "if $y == 2 { mov out q3 f32[1] <- [1024 : f32 ; 1] } else { if $y == 0 { mov [1664 : f32 ; 1] <- in q3 f32[1] } }",
        "if $x == 1 { mov out q4 f32[12] <- [1024 : f32 ; 12] } else { if $x == 3 { mov [1536 : f32 ; 12] <- in q4 f32[12] } }",
        "r3 = add $x, 1 loop r4 in r3 { r5 = add r4, r2 }",
        "if $y == 1 { r5 = mul r2, 2 r5 = sub r5, r2 } else { r5 = add 64, 0 } mac [1024 : f32 ; 8] <- [1536 : f32 ; 8], [r5 + 2048 : f32 ; 8], f32 3.0",
        "r6 = load i32 [512] loop r4 in r6 { r6 = sub r6, 1 }",
        "if r1 == 4 { r3 = add 1, 1 }",
        "store 5 -> i32 [516]",
    ];
    let code = |parts: &[usize]| {
        let part = |(index, &part): (usize, &usize)| format!("mark #{index} + r7 {} ", PARTS[part % PARTS.len()]);
        parts.iter().enumerate().map(part).collect::<String>()
    };
    let (body, behind) = (code(parts), code(behind));
    let count = parts.len() as u32;
    format!(
        "program p machine bench16 grid 4x3 param x = columns [0..=3] param y = rows [0..=2] {}
route c0 at 0,0 size 1x3 {{ pos RAMP -> EAST }} route c0 at 1,0 size 2x3 {{ pos WEST -> EAST RAMP }} route c0 at 3,0 size 1x3 {{ pos WEST -> RAMP }}
route c1 at 3,0 size 1x3 {{ pos RAMP -> WEST }} route c1 at 1,0 size 2x3 {{ pos EAST -> WEST }} route c1 at 0,0 size 1x3 {{ pos EAST -> RAMP }}
route c2 at 0,0 size 4x1 {{ pos RAMP -> SOUTH }} route c2 at 0,1 size 4x1 {{ pos NORTH -> SOUTH RAMP }} route c2 at 0,2 size 4x1 {{ pos NORTH -> RAMP }}
route c3 at 0,2 size 4x1 {{ pos RAMP -> NORTH }} route c3 at 0,1 size 4x1 {{ pos SOUTH -> NORTH }} route c3 at 0,0 size 4x1 {{ pos SOUTH -> RAMP }}
route c4 at 1,0 size 1x3 {{ pos RAMP -> EAST }} route c4 at 2,0 size 1x3 {{ pos WEST -> EAST }} route c4 at 3,0 size 1x3 {{ pos WEST -> RAMP }}
class c {{ in q0 = c0 in q1 = c1 in q2 = c2 in q3 = c3 in q4 = c4 out q0 = c0 out q1 = c1 out q2 = c2 out q3 = c3 out q4 = c4
  buffer all at 0 bytes 8192 scratch
  task 8 main local activated {{ loop r1 in {turns} {{ r2 = mul r1, {distance} r7 = mul r1, {count} {body} }} r2 = add 0, 0 r7 = add 0, 0 {behind} }} }}
place c at 0,0 size 4x3
const table : i32[2] at 512 origin 0,0 on 4x3 = [3, 7]",
        operators(turns * count + 3)
    )
}

#[test]
fn a_mesh_whose_turns_are_alike_passes_over_most() {
    // Both ways along rows and columns, so that nobody runs ahead.
    let (_, passed_over) = both(&mesh(12, 96, &[2, 3, 4, 5, 6, 8, 0], &[]));
    assert!(passed_over >= 8, "{passed_over}");
}

#[test]
fn little_more_than_one_turn_of_several_operators_is_simulated() {
    // Behind 4 of 16 operators, after data went both ways along rows and columns, all is as it was in the first turn.
    for [first, second] in [[[2, 3], [4, 5]], [[4, 5], [2, 3]]] {
        let parts = [first, second].concat().repeat(4);
        assert_eq!(both(&mesh(12, 96, &parts, &[])).1, 11);
        // The end of the second turn, too, is that of the first one.
        assert_eq!(both(&mesh(2, 96, &parts, &[2, 0])).1, 1);
    }
}

#[test]
fn what_a_load_met_in_the_first_turn_may_be_unknown_in_the_second() {
    // The place is behind the first of 4 operators, the third one loads, and the last one writes a product of what nobody knows.
    let body = |loaded: u32, written: u32| {
        format!(
            "mark #0 + r1 mark #0 + r1 r3 = load i32 [{loaded}] loop r4 in r3 {{ r5 = add r4, 1 }}
             mark #0 + r1 mul [{written} : f32 ; 4] <- [2048 : f32 ; 4], f32 2.0"
        )
    };
    assert_eq!(both(&single(9, &body(3072, 3200))).1, 8);
    let program = parse(&single(9, &body(3072, 3072))).unwrap_or_else(|e| panic!("{e}"));
    assert!(run(&program, false).is_none() && run(&program, true).is_none());
}

#[test]
fn what_is_still_on_links_behind_the_last_turn_holds_others_up() {
    // The first PE of a row sends right behind the loop, while what the second one has sent in its last turn crosses the same links.
    let [alone, behind_loop] = [&[][..], &[2]].map(|behind| {
        let (run, passed_over) = both(&mesh(12, 64, &[3, 2, 6], behind));
        assert!(passed_over > 0);
        run.cycles
    });
    assert!(behind_loop > alone);
}

proptest! {
    #[test]
    fn what_is_passed_over_is_what_would_have_been(
        turns in 1u32..14,
        distance in prop_oneof![Just(32u32), Just(64), Just(96), Just(8), Just(36)],
        parts in proptest::collection::vec(0usize..12, 1..8),
        behind in proptest::collection::vec(0usize..12, 0..3),
    ) {
        both(&mesh(turns, distance, &parts, &behind));
    }

    /// Where all turns do the same and PEs wait for each other, most are.
    #[test]
    fn turns_that_are_alike_are_passed_over(parts in proptest::collection::vec(0usize..10, 1..8)) {
        let parts = [parts, vec![2, 3, 4, 5]].concat();
        let (_, passed_over) = both(&mesh(20, 64, &parts, &[]));
        prop_assert!(passed_over > 10, "{passed_over}");
    }
}

#[test]
fn memory_that_nobody_has_written_is_known_to_be_0() {
    // The first of two PEs sends 5 to the second, which keeps it where the first has never written; both branch on it, the first one on 0.
    // Behind that both have overwritten it with a product of what nobody knows.
    let text = |more: &str| {
        format!(
            "program p machine bench16 grid 2x1
route c0 at 0,0 {{ pos RAMP -> EAST }} route c0 at 1,0 {{ pos WEST -> RAMP }} param first = columns [1, 0]
class c {{ in q0 = c0 out q1 = c0 buffer all at 0 bytes 64 scratch task 8 main local activated {{
  r3 = add $first, 0 if r3 == 1 {{ mov out q1 i32[1] <- i32 5 }} else {{ mov [8 : i32 ; 1] <- in q0 i32[1] }}
  {more} r1 = load i32 [8] if r1 < 3 {{ r2 = add r2, 1 }} else {{ }} }} }}
place c at 0,0 size 2x1
const w : f32[1] at 32 origin 0,0 on 2x1 = [0.5]"
        )
    };
    let is_known = |text: &str| run(&parse(text).unwrap_or_else(|e| panic!("{e}\n{text}")), true).is_some();
    assert!(is_known(&text("")));
    assert!(!is_known(&text("mul [8 : f32 ; 1] <- [32 : f32 ; 1], f32 2.0")));
}
