use super::super::flight::Goal;
use super::super::tests::run_for_time;
use super::Alike;
use super::segments::{self, Queues};
use crate::machine::setup::{Fabric, LayOut};
use crate::{Engine, Inputs, Options, Run};
use proptest::prelude::*;
use waferloom_fabric::Program;
use waferloom_fabric::text::parse;

/// Runs a program for its time alone; gives how often rows have followed others as well.
fn run(program: &Program, shares: bool) -> Option<(Run, u64)> {
    let change = |groups: &mut super::Groups<'_>| {
        if !shares {
            groups.alike = Alike::default();
        }
    };
    run_for_time(program, change, |groups| groups.alike.followed)
}

/// Runs a program both ways, which is the same; gives how often rows have followed others.
fn both(text: &str) -> (Run, u64) {
    let program = parse(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let (each, none) = run(&program, false).unwrap_or_else(|| panic!("{text}"));
    let (run, followed) = run(&program, true).unwrap_or_else(|| panic!("{text}"));
    assert_eq!((&run, none), (&each, 0), "{text}");
    (run, followed)
}

/// In turns each PE of a row sends to all others, as many words as a table says, and does something more.
fn rows(more: &str) -> String {
    format!(
        "loop r4 in 5 {{ r6 = shl r4, 2 r6 = load i32 [r6 + 512] if r4 == $x {{ mov out q2 i32[r6] <- [1024 : i32 ; r6]
  if r4 == 4 {{ control q2 [reset] }} else {{ control q2 [advance, advance, nop] }} }} else {{ mov [1536 : i32 ; r6] <- in q0 i32[r6] }} {more} }} "
    )
}

/// The same along columns, 7 words each.
const COLUMNS: &str = "loop r4 in 6 { if r4 == $y { mov out q3 i32[7] <- [1024 : i32 ; 7]
  if r4 == 5 { control q3 [reset] } else { control q3 [advance, advance, nop] } } else { mov [1664 : i32 ; 7] <- in q1 i32[7] } }";

/// Both in each turn, and a product.
const PRODUCT: &str = "loop r4 in 5 {
  if r4 == $x { mov out q2 i32[9] <- [1024 : i32 ; 9] if r4 == 4 { control q2 [reset] } else { control q2 [advance, advance, nop] } }
    else { mov [1536 : i32 ; 9] <- in q0 i32[9] }
  if r4 == $y { mov out q3 i32[9] <- [1024 : i32 ; 9] if r4 == 4 { control q3 [reset] } else { control q3 [advance, advance, nop] } }
    else { mov [1664 : i32 ; 9] <- in q1 i32[9] }
  mac [1792 : f32 ; 3:3, 3] <- [1792 : f32 ; 3:3, 3], [1536 : f32 ; 3, 3:0], [1664 : f32 ; 3:0, 3] }";

/// 5x6 PEs: q0 and q2 are of a colour along rows, q1 and q3 along columns; q4 of another one along rows, from the second PE to the last one. What
/// stands at 600 is 1, in the fourth row 2, in the last one 3.
fn mesh(code: &str) -> String {
    format!(
        "program p machine bench16 grid 5x6 param x = columns [0..=4] param y = rows [0..=5] param own = rows [1, 1, 1, 2, 1, 3]
operator o any at 0,0 size 5x6 flops 0 bytes 0 operator n any at 0,0 size 5x6 flops 0 bytes 0
route c0 at 0,0 size 1x6 {{ pos RAMP -> EAST; pos EAST -> RAMP }}
route c0 at 1,0 size 3x6 {{ pos WEST -> EAST RAMP; pos RAMP -> WEST EAST; pos EAST -> WEST RAMP }}
route c0 at 4,0 size 1x6 {{ pos WEST -> RAMP; pos RAMP -> WEST }}
route c1 at 0,0 size 5x1 {{ pos RAMP -> SOUTH; pos SOUTH -> RAMP }}
route c1 at 0,1 size 5x4 {{ pos NORTH -> SOUTH RAMP; pos RAMP -> NORTH SOUTH; pos SOUTH -> NORTH RAMP }}
route c1 at 0,5 size 5x1 {{ pos NORTH -> RAMP; pos RAMP -> NORTH }}
route c2 at 1,0 size 1x6 {{ pos RAMP -> EAST }} route c2 at 2,0 size 2x6 {{ pos WEST -> EAST }} route c2 at 4,0 size 1x6 {{ pos WEST -> RAMP }}
class c {{ in q0 = c0 in q1 = c1 in q4 = c2 out q2 = c0 out q3 = c1 out q4 = c2 buffer all at 0 bytes 4096 scratch
  task 8 main local activated {{ store $own -> i32 [600] mark #0 {code} }} }}
place c at 0,0 size 5x6
const table : i32[5] at 512 origin 0,0 on 5x6 = [3, 8, 40, 1, 12]"
    )
}

/// The same with another class in the last two columns, whose code does something more at first.
fn two_classes(code: &str) -> String {
    let text = mesh(code);
    let (before, class) = text.split_once("class c").unwrap_or_else(|| panic!("{text}"));
    let (class, behind) = class.split_once("place c at 0,0 size 5x6").unwrap_or_else(|| panic!("{text}"));
    let other = class.replace("mark #0", "loop r9 in 3 { r8 = add r8, 1 } mark #0");
    format!("{before}class c{class}class d{other}place c at 0,0 size 3x6 place d at 3,0 size 2x6 {behind}")
}

#[test]
fn segments_are_the_longest_parts_along_rows_between_what_all_compute() {
    let code = format!(
        "r1 = add 1, 1 {} r2 = add r1, 1 if $x < 2 {{ control q2 [advance, advance, nop] }} r3 = add r2, 1 mul [1792 : f32 ; 9] <- [1536 : f32 ; 9], f32 2.0 {PRODUCT}",
        rows("")
    );
    let program = parse(&mesh(&code)).unwrap_or_else(|e| panic!("{e}"));
    let (inputs, options) = (Inputs::default(), Options { engine: Engine::Stream, ..Options::default() });
    let fabric = Fabric::new(&program, &inputs, &options).unwrap_or_else(|e| panic!("{e}"));
    let mut store = fabric.store(LayOut::AtOnce).unwrap_or_else(|e| panic!("{e}"));
    let bands = fabric.bands(&mut store, LayOut::AtOnce, 1).unwrap_or_else(|e| panic!("{e}"));
    let queues = Queues::along_rows(&fabric.shared(), &bands[0]);
    let found = segments::find(&fabric.shared().classes[0].tasks[0].steps, &queues[0]);
    // Steps 0 to 2 store, mark and add. The loop has 12 steps: it is entered (3), two for r6 (4, 5), the branch (6), the vector that is sent (7), the branch
    // of the control wavelet and its arms (8 to 11), the jump (12), the vector that is received (13) and the next turn (14); r2 (15), a branch (16), its
    // control wavelet and a jump (17, 18) follow. r3 (19) and the instruction over memory (20) belong to no segment. In the body of the product, from 22 on, the
    // first branch: the branch itself, what is sent, four steps for the control wavelet, the jump and what is received.
    let places: Vec<(u32, u32)> = found.iter().map(|segment| (segment.begin, segment.end)).collect();
    assert_eq!(places, [(3, 19), (22, 30)]);
    assert!(found.iter().all(|segment| segment.inputs == [0].into() && segment.outputs == [2].into()));
}

#[test]
fn rows_that_are_alike_follow_one() {
    // Five of six rows follow the first one.
    let (run, followed) = both(&mesh(&rows("")));
    assert_eq!(followed, 5);
    // The words of all turns pass 4 links in each of 6 rows; so do control wavelets, as far as the last router.
    assert_eq!(run.links.iter().map(|sent| sent[..4].iter().sum::<u64>()).sum::<u64>(), 6 * 4 * (64 + 5));
}

#[test]
fn queues_that_nobody_has_used_are_alike_at_any_time() {
    // Each row is two cycles or more behind the one above it, and nothing is long past when it begins.
    let later = format!("loop r5 in $y {{ r3 = add r3, 1 }} {}", rows(""));
    assert_eq!(both(&mesh(&later)).1, 5);
}

#[test]
fn rows_may_be_of_several_classes() {
    // The classes come to the segment at other times; all stand there when nobody can go on.
    assert_eq!(both(&two_classes(&rows(""))).1, 5);
    let (_, followed) = both(&two_classes(PRODUCT));
    assert!(followed >= 5 * 3, "{followed}");
    // Rows that load something else.
    assert_eq!(both(&two_classes(&rows("r3 = load i32 [600] loop r5 in r3 { r8 = add r8, 1 }"))).1, 3);
}

#[test]
fn a_class_that_never_comes_lets_the_others_go() {
    // What both might send they do not; one of them comes to such a place once more, when the other one has ended.
    let (sends, more) = (rows("").replace("in 5", "in 0"), "mul [1792 : f32 ; 9] <- [1536 : f32 ; 9], f32 2.0 ");
    let again = format!("{more}{sends}");
    let text = two_classes(&format!("{sends}{again}"));
    let (first, other) = text.split_once("class d").unwrap_or_else(|| panic!("{text}"));
    assert_eq!(both(&format!("{first}class d{}", other.replacen(&again, "", 1))).1, 5);
    assert_eq!(both(&text).1, 10);
}

#[test]
fn products_are_shared_turn_by_turn() {
    // In each of five turns the row whose PEs send down their columns becomes another one than the others: at the beginning all are alike.
    let (_, followed) = both(&mesh(PRODUCT));
    assert!(followed >= 5 * 3, "{followed}");
}

#[test]
fn rows_that_load_something_else_go_by_themselves() {
    let loads = rows("r3 = load i32 [600] loop r5 in r3 { r8 = add r8, 1 }");
    // Two rows of six have loaded something else than their leader.
    assert_eq!(both(&mesh(&loads)).1, 3);
}

#[test]
fn what_leaders_compute_nobody_follows() {
    // Numbers that are known come into memory.
    let known = rows("").replace("[1024 : i32 ; r6]", "i32 5");
    assert_eq!(both(&mesh(&known)).1, 0);
    let stored = rows("store r4 -> i32 [604]");
    assert_eq!(both(&mesh(&stored)).1, 0);
}

#[test]
fn what_is_received_later_is_not_shared() {
    // What the first column sends lies in queues when the segment is over: rows that waited would never get it.
    let later = "if $x == 0 { mov out q2 i32[2] <- [1024 : i32 ; 2] } mul [1792 : f32 ; 9] <- [1536 : f32 ; 9], f32 2.0
  if $x != 0 { mov [1536 : i32 ; 2] <- in q0 i32[2] }";
    for text in [mesh(later), two_classes(later)] {
        assert_eq!(both(&text).1, 0);
        // On many PEs senders do not wait until all has been taken.
        let program = parse(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        let run = |shares: bool| {
            let change = |groups: &mut super::Groups<'_>| {
                groups.awaited = Goal::Sent;
                if !shares {
                    groups.alike = Alike::default();
                }
            };
            run_for_time(&program, change, |groups| groups.alike.followed)
        };
        assert!(run(true).is_some() && run(true) == run(false), "{text}");
    }
}

#[test]
fn few_rows_are_not_worth_it() {
    let few = mesh(&rows("")).replace("5x6", "5x3").replace("x6", "x3").replace("rows [0..=5]", "rows [0..=2]");
    let few = few.replace("[1, 1, 1, 2, 1, 3]", "[1, 1, 1]").replace("at 0,5", "at 0,2").replace("5x4", "5x1");
    assert_eq!(both(&few).1, 0);
}

proptest! {
    #[test]
    fn who_follows_is_where_it_would_have_come(
        parts in proptest::collection::vec(0usize..11, 1..7), turns in 1u32..4,
    ) {
        let plain = rows("");
        let loads = rows("r3 = load i32 [600] loop r5 in r3 { r8 = add r8, r4 }");
        let known = rows("").replace("[1024 : i32 ; r6]", "i32 5");
        let behind = rows("if r4 == $x { r9 = add r4, 1 }") + "loop r5 in r9 { r8 = add r8, 1 }";
        let from_second = "if $x < 1 { control q2 [advance, advance, nop] } loop r4 in 4 { r6 = add r4, 1 if r6 == $x { mov out q2 f32[6] <- [1024 : f32 ; 6]
          if r6 == 4 { control q2 [reset] } else { control q2 [advance, advance, nop] } } else { mov [1536 : f32 ; 6] <- in q0 f32[6] } }";
        let code: String = parts
            .iter()
            .map(|part| match part {
                0 => &plain,
                1 => COLUMNS,
                2 => PRODUCT,
                3 => &loads,
                4 => &known,
                5 => &behind,
                6 => from_second,
                7 => "if $x == 1 { mov out q4 f32[30] <- [1024 : f32 ; 30] } else { if $x == 4 { mov [1536 : f32 ; 30] <- in q4 f32[30] } }",
                8 => "if $y == 2 { mul [1792 : f32 ; 9] <- [1536 : f32 ; 9], f32 2.0 } else { r3 = add $x, 1 loop r5 in r3 { r8 = add r8, 1 } }",
                9 => "loop r5 in $own { r8 = add r8, 1 }",
                _ => "mark #1 ",
            })
            .collect();
        let code = format!("loop r1 in {turns} {{ mark #0 {code} }}");
        both(&mesh(&code));
        both(&two_classes(&code));
    }
}
