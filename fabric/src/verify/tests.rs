//! Each check has a small program that trips it, and one that does not.

use super::{Finding, verify};
use crate::code::Instruction;
use crate::program::Program;
use crate::text::parse;

/// A row of three PEs that hand a stream from the host through and back to it.
const SOUND: &str = "program sound machine bench16 grid 3x1
param into = columns [0, 1, 0]
param from = columns [1, 0, 1]
operator pass mov at 0,0 size 3x1 flops 0 bytes 0
operator rest mov at 0,0 size 3x1 flops 0 bytes 0
route c0 at 0,0 size 3x1 step 2x1 { pos WEST -> RAMP }
route c1 at 0,0 size 3x1 step 2x1 { pos RAMP -> EAST }
route c1 at 1,0 { pos WEST -> RAMP }
route c0 at 1,0 { pos RAMP -> EAST }
class w {
  in q0 = $into
  out q1 = $from
  fifo f0 at 512 words 16
  buffer a at 0 bytes 256 activation live 0..=0
  buffer b at 0 bytes 512 scratch live 1..=1
  task 8 main local activated {
    mark pass
    mov [@a : f32 ; 8] <- in q0 f32[8]
    mov out q1 f32[8] <- [@a : f32 ; 8]
  }
}
place w at 0,0 size 3x1
const k : f32[4] at 64 origin 0,0 on 1x1 = [1.0, 2.0, 3.0, 4.0]
input x : f32[8] on 1x1 edge WEST at 0,0 color c0
output y : f32[8] on 1x1 edge EAST at 2,0 color c1
";

fn program(text: &str) -> Program {
    parse(text).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

/// The sound program with some text replaced.
fn with(from: &str, to: &str) -> Program {
    let text = SOUND.replace(from, to);
    assert_ne!(text, SOUND, "nothing to replace: {from}");
    program(&text)
}

fn has(list: &[Finding], place: &str, message: &str) -> bool {
    list.iter().any(|f| f.place.to_string().contains(place) && f.message.contains(message) && !f.remedy.is_empty())
}

#[track_caller]
fn error(program: &Program, place: &str, message: &str) {
    let found = verify(program);
    assert!(has(&found.errors, place, message), "expected an error {place:?} {message:?}, got:\n{found}");
}

#[track_caller]
fn warning(program: &Program, place: &str, message: &str) {
    let found = verify(program);
    assert!(found.errors.is_empty(), "{found}");
    assert!(has(&found.warnings, place, message), "expected a warning {place:?} {message:?}, got:\n{found}");
}

#[test]
fn a_sound_program_has_no_findings() {
    let found = verify(&program(SOUND));
    assert!(found.is_empty(), "{found}");
}

#[test]
fn the_machine_and_the_grid_must_be_possible() {
    let mut broken = program(SOUND);
    broken.machine.lanes_32 = 0;
    error(&broken, "machine \"bench16\"", "lanes_32");
    error(&program("program p machine bench16 grid 17x1"), "program", "17x1");
    error(&program("program p machine bench16 grid 0x4"), "program", "0x4");
}

#[test]
fn everything_must_fit_the_grid() {
    error(&with("place w at 0,0 size 3x1", "place w at 0,0 size 4x1"), "placement 0", "leaves the grid");
    error(&with("place w at 0,0 size 3x1", "place w at 0,0 size 3x1 step 0x1"), "placement 0", "step 0x1");
    error(&with("place w at", "place #7 at"), "placement 0", "no class #7");
    error(&with("route c1 at 1,0 {", "route c1 at 1,1 {"), "route 2, colour c1", "leaves the grid");
    error(&with("operator rest mov at 0,0", "operator rest mov at 1,0"), "operator \"rest\"", "leaves the grid");
    error(&with("[0, 1, 0]", "[0, 1]"), "parameter \"into\"", "2 values for 3");
    error(&with("origin 0,0 on 1x1", "origin 3,0 on 1x1"), "constant \"k\"", "leave the grid");
    error(&with("[1.0, 2.0, 3.0, 4.0]", "[1.0]"), "constant \"k\"", "4 bytes, its shape needs 16");
    error(&with("on 1x1 edge WEST at 0,0", "on 1x2 edge WEST at 0,0"), "input \"x\"", "leave the grid");
    error(&with("edge EAST at 2,0", "edge EAST at 1,0"), "output \"y\"", "not at the edge");
    error(&with("edge EAST at 2,0", "edge RAMP at 2,0"), "output \"y\"", "ramp");
    error(&with("x : f32[8] on 1x1", "x : f32[8] on 1x1 x dim 1 by 8"), "input \"x\"", "dimension 1");
    error(&with("x : f32[8] on 1x1", "x : f32[8] on 1x1 x dim 0 by 99999999"), "input \"x\"", "a tile of");
    error(
        &with("output y", "input x : f32[8] on 1x1 edge WEST at 0,0 color c0 output y"),
        "input \"x\"",
        "another port",
    );
    warning(&with("place w", "place w at 0,0 size 0x1 place w"), "placement 0", "no PE");
}

#[test]
fn routes_have_positions_colours_and_filters_that_exist() {
    error(&with("route c1 at 1,0 {", "route c24 at 1,0 {"), "route 2, colour c24", "c0 to c23");
    error(&with("{ pos WEST -> RAMP }\nroute c0 at 1", "{ }\nroute c0 at 1"), "route 2", "0 switch positions");
    let five = "pos WEST -> RAMP; ".repeat(5);
    error(&with("{ pos WEST -> RAMP }\nroute c0 at 1", &format!("{{ {five} }}\nroute c0 at 1")), "route 2", "5 switch");
    let fixed = "{ pos WEST -> RAMP }\nroute c0 at 1";
    let route = |text: &str| with(fixed, &format!("{{ {text} }}\nroute c0 at 1"));
    error(&route("pos WEST -> RAMP; start 1"), "route 2", "position 1 of 1");
    error(&route("pos WEST 0x40 -> RAMP"), "route 2", "do not have");
    error(&route("pos WEST -> RAMP; filter count first 0 pass 1 period 0"), "route 2", "counts to 0");
    warning(&route("pos WEST -> RAMP; filter range 9..=3"), "route 2", "nothing through");
    error(
        &with("place w", "route c1 at 0,0 { pos RAMP -> EAST } place w"),
        "route 4, colour c1, PE (0, 0)",
        "another route",
    );
}

#[test]
fn a_pe_has_one_class() {
    let program = with("place w", "place w at 1,0 size 2x1 place w");
    error(&program, "placement 1, PE (1, 0) and 1 more", "a class already");
}

#[test]
fn memory_holds_everything_without_overlap() {
    error(&with("scratch live 1..=1", "scratch live 0..=1"), "class w", "\"a\" and buffer \"b\" share");
    error(&with("scratch live 1..=1", "scratch"), "class w", "share the bytes 0 to 256");
    error(&with("scratch live 1..=1", "scratch live 1..=2"), "class w", "operator 1 to 2 of 2");
    error(
        &with("bytes 512 scratch", "bytes 516 scratch"),
        "class w",
        "buffer \"b\" and FIFO 0 share the bytes 512 to 516",
    );
    error(&with("fifo f0 at 512 words 16", "fifo f0 at 512 words 0"), "class w", "FIFO 0 holds 0 words");
    error(&with("a at 0 bytes 256", "a at 2 bytes 256"), "class w", "not a multiple of 4");
    // 2 vector instructions with 2 descriptors each: 2 * (4 + 16) = 40 bytes of code.
    error(&with("words 16", "words 12151"), "class w", "FIFO 0 ends at 49116, and the code takes the 40 bytes");
    assert!(verify(&with("words 16", "words 12150")).is_empty());
    error(&with("place w", "class big { buffer b at 0 bytes 4294967292 scratch } place w"), "class big", "ends at");
}

#[test]
fn constants_lie_in_buffers() {
    error(&with("at 64 origin", "at 504 origin"), "constant \"k\", class w", "504 to 520");
    error(&with("at 64 origin", "at 66 origin"), "constant \"k\"", "not a multiple");
    let program = with("place w at 0,0 size 3x1", "place w at 1,0 size 2x1");
    error(&program, "constant \"k\", PE (0, 0)", "no class");
    let result = |text: &str| with("const k", &format!("result r : {text}\nconst k"));
    error(&result("f32[4] at 504 origin 0,0 on 1x1"), "result \"r\", class w", "504 to 520");
    error(&result("f32[4] at 64 origin 3,0 on 1x1"), "result \"r\"", "leave the grid");
}

#[test]
fn constants_and_results_are_not_overwritten() {
    // Buffer b (bytes 0 to 512) lives in operator 1 only, and buffer a (0 to 256) in operator 0.
    let constant = with("at 64 origin", "at 248 origin");
    error(&constant, "constant \"k\", class w", "buffer \"a\" takes some of its bytes before it is used");
    assert!(verify(&with("at 64 origin", "at 256 origin")).is_empty());
    let result = |at: u32| with("const k", &format!("result r : f32[4] at {at} origin 0,0 on 1x1\nconst k"));
    assert!(verify(&result(0)).is_empty());
    let early = crate::text::print(&result(0)).replace("b at 0 bytes 512", "b at 8 bytes 504");
    error(&program(&early), "result \"r\", class w", "buffer \"b\" takes some of its bytes after it");
    let twice = with("const k", "const j : f32[2] at 72 origin 0,0 on 2x1 = [1.0, 2.0]\nconst k");
    warning(&twice, "constant \"j\"", "over constant \"k\"");
    let apart = with("const k", "const j : f32[2] at 72 origin 1,0 on 2x1 = [1.0, 2.0]\nconst k");
    assert!(verify(&apart).is_empty());
}

#[test]
fn ids_are_in_range() {
    let body = |text: &str| with("mark pass", text);
    error(&body("r32 = clock"), "class w, task main, instruction 1", "no register r32");
    error(&body("r0 = add r40, 1"), "task main, instruction 1", "no register r40");
    error(&body("r0 = add $#9, 1"), "task main, instruction 1", "no parameter #9");
    error(&body("mark #5"), "task main, instruction 1", "operator #5 of 2");
    error(&body("loop r1 in 2 { if r1 == 0 { activate 9 } }"), "task main, instruction 3", "no task 9");
    error(&body("mov null <- fifo f1 f32[1]"), "instruction 1", "no FIFO f1");
    error(&body("mov null <- in q0 f32[1] async u8"), "instruction 1", "no microthread u8");
    error(&body("mov null <- in q1 f32[1]"), "instruction 1", "input queue q1 has no colour");
    error(&body("mov out q0 f32[1] <- f32 1.0"), "instruction 1", "output queue q0 has no colour");
    error(&body("position c24 = 0"), "instruction 1", "no colour c24");
    error(&body("position c1 = 2"), "class w, colour c1, PE (0, 0) and 2 more", "position 2");
    error(&body("control q1 []"), "instruction 1", "0 commands");
    let nine = ["nop"; 9].join(", ");
    error(&body(&format!("control q1 [{nine}]")), "instruction 1", "9 commands");
    error(&body("control q1 [nop] task 12"), "instruction 1", "control task 12");
}

#[test]
fn queues_are_bound_once_to_colours_that_exist() {
    error(&with("in q0 = $into", "in q0 = $into in q8 = c5"), "class w", "no input queue q8");
    error(&with("out q1 = $from", "out q1 = $from out q6 = c5"), "class w", "no output queue q6");
    error(&with("in q0 = $into", "in q0 = $into in q0 = c5"), "class w", "q0 is bound twice");
    error(&with("in q0 = $into", "in q0 = $into in q1 = c24"), "class w, colour c24", "does not have");
    error(&with("in q0 = $into", "in q0 = $#5"), "class w", "parameter #5");
    error(&with("columns [0, 1, 0]", "columns [0, 1, 24]"), "class w, PE (2, 0)", "input queue q0 a colour");
    error(&with("columns [0, 1, 0]", "columns [-1, 1, 0]"), "class w, PE (0, 0)", "input queue q0 a colour");
    error(&with("in q0 = $into", "in q0 = $into in q1 = c1"), "class w, colour c1, PE (1, 0)", "two input queues");
}

#[test]
fn operands_are_of_the_right_kind() {
    let body = |text: &str| with("mark pass", text);
    error(&body("mac null <- [0 : f32 ; 4]"), "instruction 1", "1 sources");
    error(&body("mov in q0 f32[4] <- [0 : f32 ; 4]"), "instruction 1", "destination can only be a source");
    error(&body("mov [0 : f32 ; 4] <- out q1 f32[4]"), "instruction 1", "sources can only be a destination");
    error(&body("mov null <- f32 1.0"), "instruction 1", "no operand gives");
    error(&body("mov [0 : f32 ; 4] <- [0 : f32 ; 2, 3]"), "instruction 1", "operands of 6 and 4 elements");
    error(&body("and [0 : i32 ; 4] <- [0 : f32 ; 4], i32 1"), "instruction 1", "integers only");
    error(&body("mov null <- [0 : f32]"), "instruction 1", "0 dimensions");
    error(&body("mov null <- [0 : f32 ; 1, 1, 1, 1, 1]"), "instruction 1", "5 dimensions");
    error(&body("mov null <- [2 : f32 ; 4]"), "instruction 1", "not a multiple of 4");
    // Data ends at 512 + 64 = 576.
    error(&body("mov null <- [@a + 64 : f32 ; 129]"), "instruction 1", "64 to 580 of 576");
    error(&body("mov null <- [8 : f32 ; 4:-1]"), "instruction 1", "-4 to 12");
    error(&body("r1 = load u16 [576]"), "instruction 1", "576 to 578");
    error(&body("store 1 -> u16 [1]"), "instruction 1", "not a multiple of 2");
    assert!(verify(&body("mov null <- [@a + 64 : f32 ; 128] mov null <- [9999 : f32 ; 0]")).is_empty());
}

#[test]
fn lines_over_the_turns_of_a_loop_are_followed() {
    let body = |text: &str| with("mark pass", text);
    // Data ends at 576. Turns 0 to 3 read 16 bytes from 528, 544, 560 and 576 on: the last one is outside.
    let strided = |turns: u32| {
        format!("loop r1 in {turns} {{ r2 = mul r1, 16 loop r3 in 2 {{ mov null <- [r2 + 528 : f32 ; 4] }} }}")
    };
    assert!(verify(&body(&strided(3))).is_empty());
    error(&body(&strided(4)), "instruction 4", "528 to 592 of 576");
    error(&body("r1 = add 100, 1 mov null <- [r1 : f32 ; 1]"), "instruction 2", "address 101 is not a multiple of 4");
    error(&body("loop r1 in 3 { r2 = mul r1, 9 r2 = sub 600, r2 r3 = load u16 [r2] }"), "instruction 4", "582 to 602");
    // Operators 0 and 1.
    assert!(verify(&body("loop r1 in 2 { mark pass + r1 }")).is_empty());
    error(&body("loop r1 in 2 { mark rest + r1 }"), "instruction 2", "operator #2 of 2");
    error(&body("mark pass + -1"), "instruction 1", "operator #-1 of 2");
    // Here it is not known what the registers hold, or whether the turns that would be wrong come there.
    let unknown = [
        "loop r1 in 4 { if r1 < 1 { mov null <- [r1 + 572 : f32 ; 1] } }",
        "loop r1 in 4 { r2 = min r1, 0 mov null <- [r2 + 572 : f32 ; 1] }",
        "loop r1 in $into { mov null <- [r1 + 572 : f32 ; 1] }",
        "loop r1 in 4 { r2 = mul r1, r1 mov null <- [r2 + 572 : f32 ; 1] }",
        "loop r1 in 4 { r3 = sub 3, r1 loop r2 in 4 { r4 = add r3, r2 mov null <- [r4 + 572 : f32 ; 1] } }",
        "r1 = add 600, 0 if $into == 0 { r1 = add 0, 0 } mov null <- [r1 : f32 ; 1]",
        "r1 = add 600, 0 loop r2 in 2 { mov null <- [r1 : f32 ; 1] r1 = add 0, 0 }",
        "loop r1 in 4 { r2 = add r1, 600 } r1 = add $into, 0 mark pass + r1",
    ];
    for text in unknown {
        let found = verify(&body(text));
        assert!(found.is_empty(), "{text}\n{found}");
    }
}

#[test]
fn tasks_can_start() {
    let task = |text: &str| with("task 8", &format!("{text} task 8"));
    error(&task("task 31 late local activated { }"), "class w, task late", "id 31");
    error(&task("task 8 twin local activated { }"), "class w, task main", "another task has the id 8");
    warning(&task("task 9 lost local { }"), "class w, task lost", "nothing activates it");
    warning(
        &task("task 9 shut local activated blocked { }".replace("activated blocked", "blocked activated").as_str()),
        "task shut",
        "nothing unblocks",
    );
    warning(&task("task 9 word control { }"), "class w, task word", "no control wavelet names it");
    warning(&task("task 9 end teardown c0 { }"), "class w, task end", "tears a route down");
    warning(&task("task 9 a data q0 { } task 10 b data q0 { }"), "task b", "another task takes");
    warning(&task("task 9 a data q0 activated { }"), "task a", "no local task");
    error(&task("task 9 a data q5 { }"), "class w, task a", "q5 has no colour");
    let wrong = SOUND.replace("mark pass", "activate 9").replace("task 8", "task 9 a control { } task 8");
    error(&program(&wrong), "class w, task main, instruction 1", "no local task");
    let fine =
        SOUND.replace("mark pass", "unblock 9 activate 9").replace("task 8", "task 9 a local blocked { } task 8");
    assert!(verify(&program(&fine)).is_empty());
}

#[test]
fn nesting_has_an_end() {
    let mut deep = program(SOUND);
    for _ in 0..=crate::code::MAX_NESTING {
        let body = std::mem::take(&mut deep.classes[0].tasks[0].body);
        deep.classes[0].tasks[0].body = vec![Instruction::Loop { counter: 1, count: 1.into(), body }];
    }
    error(&deep, "class w, task main", "more than 64");
}

#[test]
fn links_have_two_ends() {
    // PE (1, 0) is sure to send on c0, and PE (2, 0) has lost its route for it.
    let program = with("size 3x1 step 2x1 { pos WEST -> RAMP }", "size 1x1 { pos WEST -> RAMP }");
    error(&program, "colour c0, PE (1, 0)", "ends at a PE without a route");
    let program = with("route c1 at 1,0 { pos WEST -> RAMP }", "route c1 at 1,0 { pos NORTH -> RAMP }");
    error(&program, "colour c1, PE (0, 0)", "takes nothing from that side");
    error(&with("output y", "//"), "colour c1, PE (2, 0)", "leaves the fabric");
    // A way out that only a condition may use.
    let text = SOUND
        .replace("mov out q1 f32[8]", "if r1 == 0 { } else { mov out q1 f32[8]")
        .replace("; 8]\n  }", "; 8] }\n  }");
    let program = parse(&text.replace("output y", "//")).expect("parses");
    warning(&program, "colour c1, PE (2, 0)", "nothing may be sent that way");
    warning(
        &with("place w", "route c9 at 0,0 { pos RAMP -> EAST } place w"),
        "colour c9, PE (0, 0)",
        "nothing is sent",
    );
    // A way out of the fabric that nobody takes is no sign of a mistake.
    assert!(verify(&with("place w", "route c9 at 0,0 { pos RAMP -> NORTH } place w")).is_empty());
    error(
        &with("{ pos RAMP -> EAST }\nroute c1", "{ pos RAMP -> WEST }\nroute c1"),
        "output \"y\"",
        "sends nothing there",
    );
    error(
        &with("input x", "input x2 : f32[1] on 1x1 edge NORTH at 0,0 color c0 input x"),
        "input \"x2\"",
        "takes nothing",
    );
}

#[test]
fn conditions_on_parameters_are_followed() {
    // PE (2, 0) does not send: a parameter's value keeps it from it, and then its route may lead out of the fabric.
    let guarded = |condition: &str| {
        let text = SOUND
            .replace("output y", "//")
            .replace("mov out q1 f32[8]", &format!("if {condition} {{ mov out q1 f32[8]"));
        program(&text.replace("; 8]\n  }", "; 8] } }").replace("param into", "param x = columns [0..=2] param into"))
    };
    assert!(verify(&guarded("$x < 2")).is_empty(), "{}", verify(&guarded("$x < 2")));
    error(&guarded("$x <= 2"), "colour c1, PE (2, 0)", "leaves the fabric");
    let looped = SOUND.replace("output y", "//").replace("mov out q1 f32[8]", "loop r1 in $x { mov out q1 f32[8]");
    let looped =
        looped.replace("; 8]\n  }", "; 8] } }").replace("param into", "param x = columns [1, 1, 0] param into");
    assert!(verify(&program(&looped)).is_empty());
}

#[test]
fn what_comes_down_has_a_queue_and_what_is_sent_a_way() {
    let program = with(
        "route c1 at 1,0 { pos WEST -> RAMP }",
        "route c1 at 1,0 { pos WEST -> RAMP } route c7 at 1,0 { pos EAST -> RAMP }",
    );
    error(&program, "class w, colour c7, PE (1, 0)", "no input queue listens");
    let program = with("route c0 at 1,0 { pos RAMP -> EAST }", "route c0 at 1,0 { pos NORTH -> EAST }");
    error(&program, "class w, colour c0, PE (1, 0)", "output queue q1, but no route");
    let program = with("grid 3x1", "grid 3x2");
    let mut text = crate::text::print(&program).replace("place w", "route c5 at 0,1 { pos WEST -> RAMP }\nplace w");
    text.push_str("input z : f32[1] on 1x1 edge WEST at 0,1 color c5");
    warning(&parse(&text).expect("parses"), "colour c5, PE (0, 1)", "without a class");
}

const RING: &str = "program ring machine bench16 grid 2x2
route c0 at 0,0 { pos SOUTH RAMP -> EAST }
route c0 at 1,0 { pos WEST -> SOUTH }
route c0 at 1,1 { pos NORTH -> WEST }
route c0 at 0,1 { pos EAST -> NORTH }";

#[test]
fn routes_do_not_go_in_circles() {
    error(&program(RING), "colour c0, PE", "go in a circle");
    let switched = RING.replace("pos EAST -> NORTH", "pos EAST -> NORTH; pos EAST -> WEST");
    let found = verify(&program(&switched));
    assert!(found.errors.is_empty() && has(&found.warnings, "colour c0", "certain positions"), "{found}");
}

#[test]
fn senders_that_meet_are_told_of() {
    let text = "program p machine bench16 grid 3x1
route c0 at 0,0 { pos RAMP -> EAST }
route c0 at 2,0 { pos RAMP -> WEST }
route c0 at 1,0 { pos WEST EAST -> RAMP }
class a { out q0 = c0 task 8 m local activated { mov out q0 f32[1] <- f32 1.0 } }
class b { in q0 = c0 task 8 m local activated { mov null <- in q0 f32[2] } }
place a at 0,0 size 3x1 step 2x1
place b at 1,0";
    warning(&program(text), "colour c0, PE (1, 0)", "several senders");
    // A side from which nobody sends merges nothing.
    let one = text.replace("place a at 0,0 size 3x1 step 2x1", "place a at 0,0");
    let found = verify(&program(&one));
    assert!(found.is_empty(), "{found}");
}

/// Two PEs with a colour each way; both do the same.
fn pair(body: &str) -> Program {
    program(&format!(
        "program p machine bench16 grid 2x1
param into = columns [1, 0] param from = columns [0, 1]
route c0 at 0,0 {{ pos RAMP -> EAST }} route c0 at 1,0 {{ pos WEST -> RAMP }}
route c1 at 1,0 {{ pos RAMP -> WEST }} route c1 at 0,0 {{ pos EAST -> RAMP }}
class w {{ in q0 = $into out q2 = $from task 8 main local activated {{ {body} }} }}
place w at 0,0 size 2x1"
    ))
}

#[test]
fn two_that_wait_for_each_other_are_found() {
    let both_wait = pair("mov null <- in q0 f32[4] mov out q2 f32[4] <- f32 1.0");
    error(&both_wait, "class w, colour c0, PE (1, 0)", "nobody who could send it can start");
    // PE 0 sleeps until a teardown that goes by its router, and then lets PE 1 go on: nothing is certain here.
    let torn = program(
        "program p machine bench16 grid 3x1
route c0 at 2,0 { pos RAMP -> WEST } route c0 at 1,0 { pos EAST -> WEST } route c0 at 0,0 { pos EAST -> RAMP }
route c1 at 1,0 { pos RAMP -> WEST } route c1 at 0,0 { pos EAST -> RAMP }
class end { out q0 = c0 task 8 m local activated { control q0 [nop, teardown, nop] } }
class torn { out q0 = c1 task 9 t teardown c0 { mov out q0 f32[1] <- f32 1.0 } }
class waits { in q0 = c1 in q1 = c0 task 8 m local activated { mov null <- in q0 f32[1] } }
place end at 2,0 place torn at 1,0 place waits at 0,0",
    );
    assert!(verify(&torn).is_empty(), "{}", verify(&torn));
    let one_sends = pair("if $into == 1 { mov out q2 f32[4] <- f32 1.0 mov null <- in q0 f32[4] } else { }");
    assert!(verify(&one_sends).is_empty());
}

#[test]
fn two_that_send_more_than_the_queues_hold_are_found() {
    // Output queue 6 + ramp 2 + 1, one link 4, input queue 6 + ramp 2: the queues hold 21.
    let swap = |n: u32| pair(&format!("mov out q2 f32[{n}] <- f32 1.0 mov null <- in q0 f32[{n}]"));
    assert!(verify(&swap(21)).is_empty(), "{}", verify(&swap(21)));
    error(
        &swap(22),
        "class w, PE (0, 0)".replace("class w, PE", "class w, colour c0, PE").as_str(),
        "more than the queues",
    );
    let asynchronous = pair("mov out q2 f32[99] <- f32 1.0 async u0 mov null <- in q0 f32[99]");
    assert!(verify(&asynchronous).is_empty());
}

#[test]
fn findings_say_how_many_more_there_are() {
    let body = "r99 = clock ".repeat(300);
    let found = verify(&with("mark pass", &body));
    assert_eq!((found.errors.len(), found.omitted), (200, 100));
    let text = found.to_string();
    assert!(text.starts_with("error: class w, task main, instruction 1: a PE has no register r99; use"), "{text}");
    assert!(text.ends_with("and 100 more"));
}

#[test]
fn a_whole_wafer_is_checked_in_seconds() {
    // 750 x 994 PEs: a checkerboard chain to the west edge and a column broadcast.
    let text = format!(
        "program big machine wse2 grid 750x994
param into = columns [{}] param from = columns [{}]
route c0 at 0,0 size 750x994 step 2x1 {{ pos RAMP -> WEST }}
route c1 at 1,0 size 749x994 step 2x1 {{ pos RAMP -> WEST }}
route c0 at 1,0 size 749x994 step 2x1 {{ pos EAST -> RAMP }}
route c1 at 0,0 size 749x994 step 2x1 {{ pos EAST -> RAMP }}
route c2 at 0,0 size 750x1 {{ pos RAMP -> SOUTH; pos SOUTH -> RAMP }}
route c2 at 0,1 size 750x992 {{ pos NORTH -> SOUTH RAMP; pos RAMP -> NORTH SOUTH; pos SOUTH -> NORTH RAMP }}
route c2 at 0,993 size 750x1 {{ pos NORTH -> RAMP; pos RAMP -> NORTH }}
class w {{ in q0 = $into in q1 = c2 out q0 = $from out q1 = c2
  task 8 main local activated {{
    mov out q0 f32[4] <- f32 1.0
    if $into == 0 {{ mov out q1 f32[4] <- f32 1.0 }} else {{ mov null <- in q1 f32[4] }} }} }}
place w at 0,0 size 750x994
output y : f32[994, 4] on 1x994 y dim 0 by 1 edge WEST at 0,0 color c0",
        (0..750).map(|x| ((x + 1) % 2).to_string()).collect::<Vec<_>>().join(", "),
        (0..750).map(|x| (x % 2).to_string()).collect::<Vec<_>>().join(", ")
    );
    let program = program(&text);
    let start = std::time::Instant::now();
    let found = verify(&program);
    let took = start.elapsed();
    assert!(found.is_empty(), "{found}");
    // About half a second on one core; the bound only catches work per PE and instruction.
    assert!(took.as_secs() < 20, "{took:?}");
}
