//! Claims: with them a run gives what it gives without, and a false one is found.

mod common;

use common::{floats, program};
use std::collections::BTreeMap;
use waferloom_fabric::verify;
use waferloom_simulator::{Claims, Engine, Method, Options, Run, SimulateError, simulate};

/// Event by event: in groups a claim that goes wrong is put aside, and the PEs compute everything.
fn run(text: &str, claims: Claims) -> Result<Run, SimulateError> {
    run_in(text, claims, Method::Events)
}

fn run_in(text: &str, claims: Claims, method: Method) -> Result<Run, SimulateError> {
    let options = Options { engine: Engine::Stream, method, claims, ..Options::default() };
    simulate(&program(text), &BTreeMap::new(), &options)
}

/// Runs a text with and without claims, event by event and in groups: each time the same in everything but where the numbers
/// come from. Gives the run with claims, event by event.
#[track_caller]
fn same(text: &str) -> Run {
    let findings = verify(&program(text));
    assert!(findings.is_empty(), "{findings}");
    let [apart, together, by_events] = [Method::Apart, Method::Together, Method::Events].map(|method| {
        let [used, ignored, checked] = [Claims::Use, Claims::Ignore, Claims::Check]
            .map(|claims| run_in(text, claims, method).unwrap_or_else(|e| panic!("{e}")));
        assert!(ignored.claimed.iter().all(|&claimed| !claimed));
        assert_eq!(used, Run { claimed: used.claimed.clone(), ..ignored });
        assert_eq!(used, checked);
        used
    });
    assert_eq!(apart, together);
    assert_eq!(apart.outputs, by_events.outputs);
    by_events
}

/// One PE with A = [1 2; 3 4] at 0, B = [5 6; 7 8] at 16, C = [1 0; 0 1] at 32, whose code is said to compute C + A B.
fn single(code: &str, claim: &str) -> String {
    format!(
        "program p machine bench16 grid 1x1
operator first matmul at 0,0 size 1x1 flops 16 bytes 48
claim product f32 at 0,0 size 1x1 {claim} left matrix 0 slot 2 line 2 step 1 right matrix 0 slot 4 line 1 step 2
class c {{ buffer all at 0 bytes 64 scratch task 8 main local activated {{ mark first {code} }} }}
place c at 0,0
const a : f32[4] at 0 origin 0,0 on 1x1 = [1.0, 2.0, 3.0, 4.0]
const b : f32[4] at 16 origin 0,0 on 1x1 = [5.0, 6.0, 7.0, 8.0]
const c : f32[4] at 32 origin 0,0 on 1x1 = [1.0, 0.0, 0.0, 1.0]
result y : f32[4] at 32 origin 0,0 on 1x1"
    )
}

const SIZES: &str = "rows 2 columns 2 inner 2 block 2";
const MULTIPLY: &str = "mac [32 : f32 ; 2:2, 2:1, 2:0] <- [32 : f32 ; 2:2, 2:1, 2:0], [0 : f32 ; 2:2, 2:0, 2:1], \
                        [16 : f32 ; 2:0, 2:1, 2:2]";

#[test]
fn a_product_is_worked_out_as_claimed() {
    let run = same(&single(&format!("claim #0 [0], [16] -> [32] {{ {MULTIPLY} }}"), SIZES));
    // C + A B = [1 0; 0 1] + [19 22; 43 50].
    assert_eq!(floats(&run, "y"), [20.0, 22.0, 43.0, 51.0]);
    assert_eq!(run.claimed, [true]);
}

#[test]
fn addresses_come_from_registers_and_claims_run_in_turns() {
    // Each turn adds A B: [1 0; 0 1] + 3 [19 22; 43 50].
    let code = format!("loop r1 in 3 {{ r2 = add 0, 16 claim #0 [r2 - 16], [r2] -> [r2 + 16] {{ {MULTIPLY} }} }}");
    assert_eq!(floats(&same(&single(&code, SIZES)), "y"), [58.0, 66.0, 129.0, 151.0]);
}

#[test]
fn a_false_claim_is_found_and_named() {
    // The code doubles the second row of C beside: 43 * 2 at address 40.
    let twice = format!("{MULTIPLY} add [40 : f32 ; 2] <- [40 : f32 ; 2], [40 : f32 ; 2]");
    let text = single(&format!("claim #0 [0], [16] -> [32] {{ {twice} }}"), SIZES);
    assert_eq!(floats(&run(&text, Claims::Ignore).unwrap(), "y"), [20.0, 22.0, 86.0, 102.0]);
    let error = run(&text, Claims::Check).expect_err("the claim is false").to_string();
    for part in ["operator `first`", "claim 0 is false", "PE (0, 0)", "86", "address 40", "43"] {
        assert!(error.contains(part), "`{part}` is missing: {error}");
    }
}

#[test]
fn what_a_claim_leaves_beside_its_result_is_noticed() {
    // The claim's code doubles A as well, of which the claim says nothing.
    let code = format!(
        "claim #0 [0], [16] -> [32] {{ {MULTIPLY} add [0 : f32 ; 4] <- [0 : f32 ; 4], [0 : f32 ; 4] }}
         mov [32 : f32 ; 4] <- [0 : f32 ; 4]"
    );
    let error = run(&single(&code, SIZES), Claims::Check).expect_err("the claim hides something").to_string();
    assert!(error.contains("output `y` differs from element 0"), "{error}");
}

#[test]
fn tiles_lie_in_memory() {
    // The verifier sees that 48 + 16 are the 64 bytes of the buffer; 52 and 8 in a register are seen when it runs.
    let at = |result: &str| single(&format!("r1 = load i32 [60] claim #0 [0], [16] -> [{result}] {{ }}"), SIZES);
    run(&at("48"), Claims::Use).unwrap();
    let refused = verify(&program(&at("52"))).to_string();
    assert!(refused.contains("reaches the bytes 52 to 68"), "{refused}");
    let error = run(&at("r1 + 52"), Claims::Use).expect_err("it lies outside").to_string();
    assert!(error.contains("do not lie in the 64 bytes"), "{error}");
}

/// Two PEs in a row, of which the first sends its 2 x 1 tile of the left operand to the second, both in a claim; each holds a
/// right operand of 1 x 1. `before` runs before the second one's claim, `behind` behind the first one's.
fn pair(before: &str, behind: &str) -> String {
    let claim = "claim #0 [0], [8] -> [16]";
    format!(
        "program p machine bench16 grid 2x1
claim product f32 at 0,0 size 2x1 rows 2 columns 1 inner 1 block 1 left split matrix 0 slot 0 line 1 step 1 right split matrix 0 slot 0 line 1 step 1
route c0 at 0,0 {{ pos RAMP -> EAST }}
route c0 at 1,0 {{ pos WEST -> RAMP }}
class first {{ out q0 = c0 buffer all at 0 bytes 32 scratch task 8 main local activated {{
  {claim} {{ mov out q0 f32[2] <- [0 : f32 ; 2] mac [16 : f32 ; 2] <- [16 : f32 ; 2], [0 : f32 ; 2], [8 : f32 ; 2:0] }}
  {behind}
}} }}
class second {{ in q0 = c0 buffer all at 0 bytes 40 scratch task 8 main local activated {{
  {before}
  {claim} {{ mov [32 : f32 ; 2] <- in q0 f32[2] mac [16 : f32 ; 2] <- [16 : f32 ; 2], [32 : f32 ; 2], [8 : f32 ; 2:0] }}
}} }}
place first at 0,0
place second at 1,0
const a : f32[2] at 0 origin 0,0 on 1x1 = [2.0, 3.0]
const b : f32[2] at 8 origin 0,0 on 2x1 x dim 0 by 1 = [10.0, 100.0]
result y : f32[4] at 16 origin 0,0 on 2x1 x dim 0 by 2"
    )
}

#[test]
fn a_pe_may_end_before_another_begins_and_use_its_memory_again() {
    // The second PE begins after some thousand cycles; by then the first one's tile of the left operand is overwritten.
    let text = pair("loop r1 in 9000 { r2 = add r1, 1 }", "mov [0 : f32 ; 2] <- f32 7.0");
    // (2, 3) times 10, and times 100.
    assert_eq!(floats(&same(&text), "y"), [20.0, 30.0, 200.0, 300.0]);
}

#[test]
fn waits_for_memory_count_where_wavelets_meet_two_operands() {
    // The second PE multiplies what it receives as it comes. Its sums at 16 and its right operand at 48 lie in banks 2 and 6,
    // which collide (32 bytes apart): the first product waits a cycle, the second has the operand still.
    let text = pair("mov [48 : f32 ; 1] <- [8 : f32 ; 1]", "").replace("bytes 40", "bytes 64");
    let second =
        "mov [32 : f32 ; 2] <- in q0 f32[2] mac [16 : f32 ; 2] <- [16 : f32 ; 2], [32 : f32 ; 2], [8 : f32 ; 2:0]";
    let at_once = "mac [16 : f32 ; 2] <- [16 : f32 ; 2], in q0 f32[2], [48 : f32 ; 2:0]";
    assert!(text.contains(second));
    let (first, rest) = text.split_at(text.find("class second").expect("there is one"));
    let text = first.to_string() + &rest.replace("[8] -> [16]", "[48] -> [16]").replace(second, at_once);
    let run = same(&text);
    assert_eq!(floats(&run, "y"), [20.0, 30.0, 200.0, 300.0]);
    assert_eq!(run.pes[1].memory, 1);
    assert_eq!(run_in(&text, Claims::Use, Method::Together).unwrap().pes[1].memory, 1);
}

#[test]
fn numbers_that_a_claim_leaves_out_go_nowhere_else() {
    // The second PE receives before its claim what the first one sends in its own.
    let text = pair("mov [32 : f32 ; 2] <- in q0 f32[2]", "mov out q0 f32[2] <- [0 : f32 ; 2]");
    let error = run(&text, Claims::Use).expect_err("a number is missing").to_string();
    assert!(error.contains("PE (1, 0)") && error.contains("left out by a claim"), "{error}");
    // Nor to the host.
    let text = pair("", "")
        .replace("route c0 at 1,0 { pos WEST -> RAMP }", "route c0 at 1,0 { pos WEST -> RAMP EAST }")
        + "\noutput z : f32[2] on 1x1 edge EAST at 1,0 color c0";
    let error = run(&text, Claims::Use).expect_err("a number is missing").to_string();
    assert!(error.contains("the host received") && error.contains("left out by a claim"), "{error}");
    run(&text, Claims::Ignore).unwrap();
}

#[test]
fn a_claim_that_ends_before_those_begin_on_whom_it_depends_is_false() {
    // The second PE takes nothing from the first one, which begins long after.
    let text = pair("", "")
        .replace("mov [32 : f32 ; 2] <- in q0 f32[2]", "")
        .replace("mov out q0 f32[2] <- [0 : f32 ; 2]", "");
    let text = text.replacen("claim #0", "loop r1 in 9000 { r2 = add r1, 1 } claim #0", 1);
    let error = run(&text, Claims::Use).expect_err("the claim is false").to_string();
    assert!(error.contains("claim 0 is false") && error.contains("has not begun"), "{error}");
    // In groups it is found by comparison.
    let error = run_in(&text, Claims::Check, Method::Together).expect_err("the claim is false").to_string();
    assert!(error.contains("claim 0 is false"), "{error}");
}

#[test]
fn runs_for_the_time_alone_and_the_wavelet_engine_do_not_look() {
    let text = single(&format!("claim #0 [0], [16] -> [32] {{ {MULTIPLY} }}"), "rows 2 columns 2 inner 1 block 1");
    let wavelet = simulate(&program(&text), &BTreeMap::new(), &Options { claims: Claims::Check, ..Options::default() });
    assert_eq!(floats(&wavelet.unwrap(), "y"), [20.0, 22.0, 43.0, 51.0]);
    let timed = Options { engine: Engine::Stream, claims: Claims::Check, timing_only: true, ..Options::default() };
    simulate(&program(&text), &BTreeMap::new(), &timed).unwrap();
    run(&text, Claims::Check).expect_err("the claim is false");
}

/// Two PEs of a row: the first one has [1 2] at 0 and sends it; both take from it what their lists at 16 name, to 8. The second one's code takes
/// both elements the other way round.
fn taking(list: &str, behind: &str) -> String {
    format!(
        "program p machine bench16 grid 2x1
claim takes row f32 at 0,0 size 2x1 first 0 end 1 words 2 rank 1
route c0 at 0,0 {{ pos RAMP -> EAST }}
route c0 at 1,0 {{ pos WEST -> RAMP }}
class first {{ out q0 = c0 buffer all at 0 bytes 64 scratch task 8 main local activated {{
  claim #0 [0], [16] -> [8] {{ mov out q0 f32[2] <- [0 : f32 ; 2] mov [8 : f32 ; 1] <- [4 : f32 ; 1] }} }} }}
class second {{ in q0 = c0 buffer all at 0 bytes 64 scratch task 8 main local activated {{
  claim #0 [0], [16] -> [8] {{
    r1 = load u16 [16]
    mov [48 : f32 ; 2] <- in q0 f32[2]
    mov [8 : f32 ; 1] <- [52 : f32 ; 1]
    mov [12 : f32 ; 1] <- [48 : f32 ; 1]
  }} {behind} }} }}
place first at 0,0
place second at 1,0
const x : f32[2] at 0 origin 0,0 on 1x1 = [1.0, 2.0]
const y : f32[4] at 8 origin 0,0 on 2x1 x dim 0 by 2 = [8.0, 9.0, 8.0, 9.0]
const a : u16[10] at 16 origin 0,0 on 1x1 = [0, 1, 0, 1, 1, 0, 1, 0, 0, 65535]
const b : u16[{}] at 16 origin 1,0 on 1x1 = [{list}]
result z : f32[4] at 8 origin 0,0 on 2x1 x dim 0 by 2",
        list.split(',').count()
    )
}

/// From root 0: element 0 to place 1, element 1 to place 0.
const SWAPPED: &str = "0, 1, 0, 2, 0, 1, 1, 0, 0, 1, 0, 1, 0, 0, 65535, 0";
/// From root 0: two elements from 0 on to places from 0 on.
const STRAIGHT: &str = "0, 1, 0, 1, 0, 0, 2, 1, 1, 65535";

#[test]
fn elements_are_taken_as_lists_say() {
    // What a list does not name stays: the second element of the first PE.
    assert_eq!(floats(&same(&taking(SWAPPED, "")), "z"), [2.0, 9.0, 2.0, 1.0]);
}

#[test]
fn a_false_list_is_found() {
    let text = taking(STRAIGHT, "");
    let error = run(&text, Claims::Check).expect_err("the claim is false").to_string();
    assert!(error.contains("PE (1, 0) has the bits 40000000 at address 8, the claim says 3f800000"), "{error}");
    assert_eq!(floats(&run(&text, Claims::Use).unwrap(), "z"), [2.0, 9.0, 2.0, 1.0]);
    let error = run(&taking("0, 1, 0, 1, 0, 100, 1, 0, 0, 65535", ""), Claims::Check).expect_err("no such place");
    assert!(error.to_string().contains("has no memory at address 408"), "{error}");
    // Root 1 sends nothing, and there are two words.
    for list in [
        "1, 1, 0, 1, 0, 0, 1, 0, 0, 65535",
        "0, 1, 0, 1, 0, 0, 3, 1, 1, 65535",
        // More than there is memory, and a list without end.
        "0, 1, 0, 1, 0, 0, 65535, 0, 0, 65535",
        "0, 1, 0, 65535, 0, 0, 0, 0, 0, 0",
    ] {
        let error = run(&taking(list, ""), Claims::Check).expect_err("the claim is false").to_string();
        assert!(error.contains("the list at 16 takes what is not there"), "{error}");
    }
}

/// Two PEs of a row with [1 20] and [10 2] at 0, which they add up; the claim may say something else.
fn adding(op: &str) -> String {
    format!(
        "program p machine bench16 grid 2x1
claim all_reduce row {op} at 0,0 size 2x1 count 2
route c0 at 0,0 {{ pos RAMP -> EAST }}
route c0 at 1,0 {{ pos WEST -> RAMP }}
route c1 at 1,0 {{ pos RAMP -> WEST }}
route c1 at 0,0 {{ pos EAST -> RAMP }}
class first {{ in q1 = c1 out q0 = c0 buffer all at 0 bytes 16 scratch task 8 main local activated {{
  claim #0 [0], [0] -> [0] {{
    add [0 : f32 ; 2] <- in q1 f32[2], [0 : f32 ; 2]
    mov out q0 f32[2] <- [0 : f32 ; 2]
  }} }} }}
class second {{ in q0 = c0 out q1 = c1 buffer all at 0 bytes 16 scratch task 8 main local activated {{
  claim #0 [0], [0] -> [0] {{ mov out q1 f32[2] <- [0 : f32 ; 2] mov [0 : f32 ; 2] <- in q0 f32[2] }} }} }}
place first at 0,0
place second at 1,0
const x : f32[4] at 0 origin 0,0 on 2x1 x dim 0 by 2 = [1.0, 20.0, 10.0, 2.0]
result z : f32[4] at 0 origin 0,0 on 2x1 x dim 0 by 2"
    )
}

#[test]
fn vectors_are_combined_along_a_row() {
    assert_eq!(floats(&same(&adding("add")), "z"), [11.0, 22.0, 11.0, 22.0]);
    // Without time the claim is taken at its word, and a check finds that it is false.
    let text = adding("max");
    assert_eq!(floats(&run_in(&text, Claims::Use, Method::Apart).unwrap(), "z"), [10.0, 20.0, 10.0, 20.0]);
    assert_eq!(floats(&run_in(&text, Claims::Use, Method::Together).unwrap(), "z"), [11.0, 22.0, 11.0, 22.0]);
    let error = run(&text, Claims::Check).expect_err("the claim is false").to_string();
    assert!(error.contains("claim 0 is false: PE (0, 0) has 11") && error.contains("the claim says 10"), "{error}");
}

#[test]
fn without_time_code_is_passed_over_unless_its_registers_are_read_behind() {
    let apart = |text: &str| floats(&run_in(text, Claims::Use, Method::Apart).unwrap(), "z");
    // A list that is not true shows who has looked at it.
    assert_eq!(apart(&taking(STRAIGHT, "")), [2.0, 9.0, 1.0, 2.0]);
    // The counter of a loop behind it is set before it is read: register 1 of the body is not what it reads.
    let looped = "loop r1 in 2 { r2 = mul r1, 4 mov [r2 + 56 : f32 ; 1] <- [r2 + 8 : f32 ; 1] }";
    assert_eq!(apart(&taking(STRAIGHT, looped)), [2.0, 9.0, 1.0, 2.0]);
    // Register 1 holds the first number of the list, 0: what lies at 48, 1, goes to 12. Then the first PE has to send as well.
    assert_eq!(apart(&taking(STRAIGHT, "mov [12 : f32 ; 1] <- [r1 + 48 : f32 ; 1]")), [2.0, 9.0, 2.0, 1.0]);
}
