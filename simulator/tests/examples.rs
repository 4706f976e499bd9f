//! The programs of `examples/programs`, and what happens when somebody edits one.

mod common;

use common::{fails, floats, program, run, run_with};
use waferloom_fabric::{HostTensor, verify};
use waferloom_simulator::SimulateError;

const PIPELINE: &str = include_str!("../../examples/programs/pipeline4.wlt");
const CHAIN: &str = include_str!("../../examples/programs/reduce_chain.wlt");

/// x = -8, -7, …, 7.
fn pipeline_input() -> HostTensor {
    HostTensor::f32(&[16], (-8i16..8).map(f32::from).collect())
}

/// 2 (i - 8) + i / 2 = 2.5 i - 16 for i < 16; below 0 up to i = 6, then 1.5, 4, … 21.5: nine numbers with the mean 11.5.
fn pipeline_output() -> Vec<f32> {
    let mut y = vec![0.0; 7];
    y.extend([1.5, 4.0, 6.5, 9.0, 11.5, 14.0, 16.5, 19.0, 21.5, 103.5]);
    y
}

#[test]
fn the_examples_have_no_findings() {
    for text in [PIPELINE, CHAIN] {
        let findings = verify(&program(text));
        assert!(findings.is_empty(), "{findings}");
    }
}

#[test]
fn the_pipeline_gives_what_is_worked_out_by_hand() {
    let run = run_with(PIPELINE, &[("x", pipeline_input())]);
    assert_eq!(floats(&run, "y"), pipeline_output());
    assert_eq!(run.leftover_wavelets, 0);
    // East and ramp. PE 2 sends 16 numbers and one control wavelet; PE 3 sends 17 numbers and takes those 17 in.
    let east_and_down: Vec<[u64; 2]> = run.links.iter().map(|l| [l[1], l[4]]).collect();
    assert_eq!(east_and_down, [[16, 16], [16, 16], [17, 16], [17, 17]]);
}

#[test]
fn the_chain_gives_what_is_worked_out_by_hand() {
    let run = run(CHAIN);
    // Column j: j + (10 + j) + … + (40 + j) = 100 + 5 j.
    assert_eq!(floats(&run, "y"), [100.0, 105.0, 110.0, 115.0, 120.0, 125.0, 130.0, 135.0]);
    // PE 4's first element runs in 2 + 6 = 8, PE 0's last one in 8 + 6 * 4 + 7 = 39; after 1 + 2 cycles it can leave the
    // router, and a hop later, in 43, it is with the host.
    assert_eq!(run.cycles, 43);
}

#[test]
fn one_edited_route_is_found_by_the_verifier() {
    // PE 1's sums now go back to PE 0, which has no route for their colour.
    let edited = PIPELINE.replace("route c2 at 1,0 { pos RAMP -> EAST }", "route c2 at 1,0 { pos RAMP -> WEST }");
    assert_ne!(edited, PIPELINE);
    let findings = verify(&program(&edited));
    let first = findings.errors[0].to_string();
    assert!(first.starts_with("colour c2, PE (1, 0): the route to WEST ends at a PE without a route"), "{findings}");
    let inputs = [("x".to_string(), pipeline_input())].into();
    let refused = waferloom_simulator::simulate(&program(&edited), &inputs, &waferloom_simulator::Options::default());
    assert!(matches!(refused, Err(SimulateError::Invalid { .. })));
}

#[test]
fn one_edited_route_changes_the_run() {
    // Of the eight wavelets that come to PE 2 from PE 3 (and to PE 0 from PE 1) only four go down the ramp.
    let route = "route c1 at 0,0 size 3x1 step 2x1 { pos EAST -> RAMP";
    let filtered = CHAIN.replace(route, &format!("{route}; filter count first 0 pass 4 period 8"));
    assert_ne!(filtered, CHAIN);
    let SimulateError::Deadlock { waits, .. } = fails(&filtered) else { panic!("a deadlock") };
    assert!(waits.contains("PE (2, 0), task main, step 0: waits for 4 more wavelets of colour c1"), "{waits}");
}

#[test]
fn one_edited_route_changes_the_output() {
    // A row of three: PE 0 sends to both others, PE 1 adds 10 and PE 2 adds 20. With the route of PE 1 changed from a copy to
    // a mere passing on, PE 1 hears nothing of c0; with its start in the second position it hears all, and PE 2 nothing.
    let row = "program row machine bench16 grid 2x1
route c0 at 0,0 { pos WEST -> RAMP; pos WEST -> EAST }
route c0 at 1,0 { pos WEST -> RAMP }
route c9 at 0,0 size 2x1 { pos RAMP -> NORTH }
param own = columns [10, 20]
class w { in q0 = c0 out q1 = c9 task 4 add data q0 { r1 = add r0, $own mov out q1 i32[1] <- i32 r1 } }
place w at 0,0 size 2x1
input x : i32[2] on 1x1 edge WEST at 0,0 color c0
";
    let x = [("x", common::words(&[1, 2]))];
    let west = format!("{row}output y : i32[2] on 1x1 edge NORTH at 0,0 color c9");
    assert_eq!(common::integers(&run_with(&west, &x), "y"), [11, 12]);
    let edited = row.replace("pos WEST -> EAST }", "pos WEST -> EAST; start 1 }");
    let east = format!("{edited}output y : i32[2] on 1x1 edge NORTH at 1,0 color c9");
    assert_eq!(common::integers(&run_with(&east, &x), "y"), [21, 22]);
}

#[test]
fn the_program_of_the_documentation_is_sound() {
    let page = include_str!("../../docs/program-format.md");
    let lines = page.lines().skip_while(|l| !l.contains("program \"two PEs\"")).take_while(|l| !l.starts_with("- **"));
    let text: Vec<&str> = lines.collect();
    let found = verify(&program(&text.join("\n")));
    assert!(found.is_empty(), "{found}");
}
