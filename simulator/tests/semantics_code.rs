//! What compute elements do, each thing against a result worked out by hand: tasks, FIFOs, microthreads, descriptors, numbers.

mod common;

use common::{fails, floats, integers, run, run_with, words};
use waferloom_fabric::HostTensor;
use waferloom_simulator::SimulateError;

/// One PE with an input of i32 on q0, an output of i32 on q1 and 4096 bytes of buffer.
fn single(length_in: usize, length_out: usize, code: &str) -> String {
    let input = if length_in > 0 {
        format!("input x : i32[{length_in}] on 1x1 edge WEST at 0,0 color c0\n")
    } else {
        String::new()
    };
    format!(
        "program single machine bench16 grid 1x1
route c0 at 0,0 {{ pos WEST -> RAMP }}
route c9 at 0,0 {{ pos RAMP -> NORTH }}
class w {{ in q0 = c0 out q1 = c9 buffer all at 0 bytes 4096 scratch
{code}
}}
place w at 0,0
{input}output y : i32[{length_out}] on 1x1 edge NORTH at 0,0 color c9"
    )
}

fn main(body: &str) -> String {
    format!("task 8 main local activated {{ {body} }}")
}

/// The output of one PE's main task.
fn output(length: usize, body: &str) -> Vec<i64> {
    integers(&run(&single(0, length, &main(body))), "y")
}

/// Writes 0, 1, 2, … as words to the buffer.
fn count_up(n: u32) -> String {
    format!("loop r1 in {n} {{ r2 = shl r1, 2 store r1 -> i32 [r2] }} ")
}

#[test]
fn a_data_task_runs_once_a_wavelet() {
    let code = "task 4 add data q0 { r1 = add r1, r0 mov out q1 i32[1] <- i32 r1 }";
    let run = run_with(&single(4, 4, code), &[("x", words(&[5, 6, 7, 8]))]);
    assert_eq!(integers(&run, "y"), [5, 11, 18, 26]);
}

#[test]
fn a_constant_that_is_stored_to_is_not_what_it_was() {
    let code = "r1 = load i32 [0] r2 = load i32 [4] store r2 -> i32 [0] r3 = load i32 [0]
                mov out q1 i32[1] <- i32 r1 mov out q1 i32[1] <- i32 r3";
    let program = single(0, 2, &main(code)) + "\nconst table : i32[2] at 0 origin 0,0 on 1x1 = [5, 6]";
    assert_eq!(integers(&run(&program), "y"), [5, 6]);
}

#[test]
fn a_blocked_data_task_leaves_the_wavelets_in_the_queue() {
    let code = "task 4 data data q0 blocked { mov out q1 i32[1] <- i32 r0 }
                task 8 main local activated { loop r1 in 50 { r2 = add r2, 1 } mov out q1 i32[1] <- i32 -1 unblock 4 }";
    let run = run_with(&single(2, 3, code), &[("x", words(&[5, 6]))]);
    assert_eq!(integers(&run, "y"), [-1, 5, 6]);
}

#[test]
fn activation_is_a_flag() {
    // Three activations before it can run are one; the task's own activation counts anew.
    let code = "task 8 main local activated { activate 9 activate 9 activate 9 }
                task 9 once local { r1 = add r1, 1 mov out q1 i32[1] <- i32 r1 if r1 < 3 { activate 9 } else { } }";
    assert_eq!(integers(&run(&single(0, 3, code)), "y"), [1, 2, 3]);
}

#[test]
fn a_blocked_task_waits_for_its_unblock_and_lower_ids_go_first() {
    let code = "task 8 main local activated { activate 11 activate 10 activate 9 mov out q1 i32[1] <- i32 8 }
                task 9 first local blocked { mov out q1 i32[1] <- i32 9 }
                task 10 second local { mov out q1 i32[1] <- i32 10 block 11 unblock 9 }
                task 11 third local { mov out q1 i32[1] <- i32 11 }
                task 12 late local { unblock 11 }";
    // 9 is blocked, so 10 goes first; it lets 9 run, and keeps 11 for ever.
    let warned = single(0, 3, code).replace("task 12 late local", "task 12 late local blocked");
    assert_eq!(integers(&run(&warned), "y"), [8, 10, 9]);
    let error = fails(&single(0, 4, code).replace("task 12 late local", "task 12 late local blocked"));
    let SimulateError::Deadlock { waits, .. } = error else { panic!("{error}") };
    assert!(waits.contains("PE (0, 0), task third: is activated, but blocked"), "{waits}");
    assert!(waits.contains("the host: output `y` and those that share its links lack 1 wavelets"), "{waits}");
}

#[test]
fn a_fifo_extends_a_queue() {
    // 60 wavelets come in while the main thread counts; the queue alone holds 8, the FIFO takes all of them in.
    let text = "program fifo machine bench16 grid 2x1
route c0 at 0,0 { pos RAMP -> EAST } route c0 at 1,0 { pos WEST -> RAMP }
route c9 at 1,0 { pos RAMP -> NORTH }
class a { out q2 = c0 buffer b at 0 bytes 240 scratch task 8 main local activated {
  loop r1 in 60 { r2 = shl r1, 2 store r1 -> i32 [r2] }
  mov out q2 i32[60] <- [@b : i32 ; 60] } }
class b { in q0 = c0 out q1 = c9 fifo f0 at 0 words 64 task 8 main local activated {
  mov fifo f0 i32[60] <- in q0 i32[60] async u0
  loop r1 in 1000 { r2 = add r2, 1 }
  mov out q1 i32[60] <- fifo f0 i32[60] } }
place a at 0,0 place b at 1,0
output y : i32[60] on 1x1 edge NORTH at 1,0 color c9";
    let fast = run(text);
    assert_eq!(integers(&fast, "y"), (0..60).collect::<Vec<_>>());
    // The receiver's two threads share its datapath: it takes a wavelet every second cycle, and so the sender waits for less
    // than a cycle a wavelet, though the counting goes on for 2000.
    assert!(fast.pes[0].fabric_out < 60, "{:?}", fast.pes[0]);
    // With 16 words it wraps around, and the sender has to wait.
    let tight = run(&text.replace("words 64", "words 16"));
    assert_eq!(integers(&tight, "y"), (0..60).collect::<Vec<_>>());
    assert!(tight.pes[0].fabric_out > 500, "{:?}", tight.pes[0]);
}

#[test]
fn two_sources_of_one_fifo_or_queue_take_turns() {
    let code = "fifo f0 at 4096 words 8
                task 8 main local activated {
                  mov fifo f0 i32[4] <- in q0 i32[4]
                  mul out q1 i32[2] <- fifo f0 i32[2], fifo f0 i32[2]
                  sub out q1 i32[2] <- in q0 i32[2], in q0 i32[2]
                }";
    let run = run_with(&single(8, 4, code), &[("x", words(&[2, 3, 4, 5, 30, 1, 40, 2]))]);
    assert_eq!(integers(&run, "y"), [6, 20, 29, 38]);
}

#[test]
fn a_fifo_with_one_word_left_makes_a_reader_of_two_wait() {
    let code = "fifo f0 at 4096 words 8
                task 8 main local activated {
                  mov fifo f0 i32[1] <- i32 1
                  add null <- fifo f0 i32[1], fifo f0 i32[1]
                  mov out q1 i32[1] <- i32 1
                }";
    let error = fails(&single(0, 1, code));
    assert!(matches!(error, SimulateError::Deadlock { .. }), "{error}");
}

#[test]
fn the_end_of_an_asynchronous_instruction_activates_or_unblocks() {
    let code = "task 8 main local activated {
                  mov [0 : i32 ; 4] <- in q0 i32[4] async u1 then activate 9
                  mov out q1 i32[1] <- i32 -1
                }
                task 9 got local { mov out q1 i32[4] <- [0 : i32 ; 4] async u2 then unblock 10 activate 10 }
                task 10 end local blocked { mov out q1 i32[1] <- i32 -2 }";
    // The main thread goes on while the microthread waits for the host: the first wavelet is there in cycle 3 at the
    // earliest, behind the start-up of both.
    let run = run_with(&single(4, 6, code), &[("x", words(&[1, 2, 3, 4]))]);
    assert_eq!(integers(&run, "y"), [-1, 1, 2, 3, 4, -2]);
}

#[test]
fn an_issue_waits_for_its_microthread_and_its_queue() {
    // Both read q0; the second issue waits for the first one's end, so that each gets its own half.
    let code = main(
        "mov [0 : i32 ; 2] <- in q0 i32[2] async u0
         mov [8 : i32 ; 2] <- in q0 i32[2] async u0
         mov [16 : i32 ; 2] <- in q0 i32[2]
         mov out q1 i32[6] <- [0 : i32 ; 6]",
    );
    let run = run_with(&single(6, 6, &code), &[("x", words(&[1, 2, 3, 4, 5, 6]))]);
    assert_eq!(integers(&run, "y"), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn half_precision_is_rounded_once_to_even() {
    // 1 + 2^-11 lies half-way between two f16 numbers and goes to the even one, 1; 1 + 3 * 2^-11 goes up to 1 + 2^-9.
    // 2048 + 1 is no f16 number: 2048. 65504 is the largest one; 65520 is infinite.
    let text = single(
        4,
        4,
        &main(
            "mov [0 : i32 ; 4] <- in q0 i32[4]
         add [16 : f16 ; 4] <- [0 : f32 ; 4], f32 1.0
         mov out q1 i32[2] <- [16 : i32 ; 2]",
        ),
    )
    .replace("input x : i32[4]", "input x : f32[4]")
    .replace("output y : i32[4]", "output y : f16[4]");
    let x = HostTensor::f32(&[4], vec![2f32.powi(-11), 3.0 * 2f32.powi(-11), 2048.0, 65519.0]);
    let run = run_with(&text, &[("x", x)]);
    assert_eq!(floats(&run, "y"), [1.0, 1.0 + 2f32.powi(-9), 2048.0, f32::INFINITY]);
}

#[test]
fn every_16_bit_format_rounds_to_its_own_numbers() {
    // bf16 has 8 significant bits, cb16 10: 1 + 2^-8 and 1 + 2^-10 lie half-way between two numbers and go to 1, three times
    // as much goes up. Then the largest number, and the first one that becomes infinite: half a last bit more.
    let bf16_end = (2.0 - 2f32.powi(-7)) * 2f32.powi(127);
    let cb16_end = (2.0 - 2f32.powi(-9)) * 2f32.powi(31);
    let cases = [
        ("bf16", 2f32.powi(-8), bf16_end, bf16_end + 2f32.powi(127 - 8)),
        ("cb16", 2f32.powi(-10), cb16_end, cb16_end + 2f32.powi(31 - 10)),
    ];
    for (dtype, half, end, beyond) in cases {
        let add = "mov [0 : i32 ; 4] <- in q0 i32[4]
         add [16 : T ; 2] <- [0 : f32 ; 2], f32 1.0
         mov [20 : T ; 2] <- [8 : f32 ; 2]
         mul [24 : T ; 4] <- [16 : T ; 4], T -1.0
         mov out q1 i32[4] <- [16 : i32 ; 4]";
        let text =
            single(4, 4, &main(&add.replace(": T", &format!(": {dtype}")).replace("T -1", &format!("{dtype} -1"))))
                .replace("input x : i32[4]", "input x : f32[4]")
                .replace("output y : i32[4]", &format!("output y : {dtype}[8]"));
        let x = HostTensor::f32(&[4], vec![half, 3.0 * half, end, beyond]);
        let run = run_with(&text, &[("x", x)]);
        let expected = [1.0, 1.0 + 4.0 * half, end, f32::INFINITY];
        assert_eq!(floats(&run, "y"), [expected, expected.map(|v| -v)].concat(), "{dtype}");
    }
}

#[test]
fn tensors_of_every_format_go_in_and_out_rounded() {
    // The host rounds what it sends. A third lies between 1/4 and 1/2: 11, 8 and 10 bits end at 2^-12, 2^-9 and 2^-11.
    let cases = [("f16", 1365.0 / 4096.0), ("bf16", 171.0 / 512.0), ("cb16", 683.0 / 2048.0), ("f32", 1.0 / 3.0)];
    for (dtype, third) in cases {
        let words = if dtype == "f32" { 2 } else { 1 };
        let code = main(&format!(
            "mov [0 : i32 ; {words}] <- in q0 i32[{words}] mov out q1 i32[{words}] <- [0 : i32 ; {words}]"
        ));
        let text = single(2, 2, &code)
            .replace("input x : i32[2]", &format!("input x : {dtype}[2]"))
            .replace("output y : i32[2]", &format!("output y : {dtype}[2]"));
        let x = HostTensor::f32(&[2], vec![1.0 / 3.0, -0.0]);
        let y = floats(&run_with(&text, &[("x", x)]), "y");
        assert_eq!(y.iter().map(|v| v.to_bits()).collect::<Vec<_>>(), [f32::to_bits(third), 0x8000_0000], "{dtype}");
    }
}

#[test]
fn sums_of_half_precision_accumulate_in_single() {
    // 2048 + 1 + 1 in f32 is 2050, which f16 can hold; with f16 sums it would stay at 2048.
    let text = single(
        0,
        1,
        &main(
            "mov [0 : f16 ; 1] <- f32 2048.0 mov [2 : f16 ; 2] <- f32 1.0 mov [16 : f32 ; 1] <- f32 0.0
         mac [16 : f32 ; 3:0] <- [16 : f32 ; 3:0], [0 : f16 ; 3], f32 1.0
         mov [0 : f16 ; 1] <- [16 : f32 ; 1] mov out q1 i32[1] <- [0 : i32 ; 1]",
        ),
    )
    .replace("output y : i32[1]", "output y : f16[1]");
    assert_eq!(floats(&run(&text), "y"), [2050.0]);
}

#[test]
fn four_dimensions_run_outermost_first() {
    // Word i holds i. Address = a + 12 b + 4 c + 2 d for a < 2, b < 2, c < 2, d < 2, the last one fastest.
    let body = count_up(24) + "mov out q1 i32[16] <- [0 : i32 ; 2:1, 2:12, 2:4, 2:2]";
    assert_eq!(output(16, &body), [0, 2, 4, 6, 12, 14, 16, 18, 1, 3, 5, 7, 13, 15, 17, 19]);
    // Backwards, and a stride of 0.
    let body = count_up(4) + "mov out q1 i32[6] <- [12 : i32 ; 3:-1, 2:0]";
    assert_eq!(output(6, &body), [3, 3, 2, 2, 1, 1]);
    // A transposition in place of a scatter: 2 x 3 to 3 x 2.
    let body = count_up(6) + "mov [64 : i32 ; 2:1, 3:2] <- [0 : i32 ; 6] mov out q1 i32[6] <- [64 : i32 ; 6]";
    assert_eq!(output(6, &body), [0, 3, 1, 4, 2, 5]);
}

#[test]
fn descriptors_can_be_made_when_the_code_runs() {
    // From r3 = 4 bytes on, r4 = 3 elements, r5 = 2 apart: 1, 3, 5.
    let body = count_up(8) + "r3 = add 4, 0 r4 = add 3, 0 r5 = add 2, 0 mov out q1 i32[r4] <- [r3 : i32 ; r4:r5]";
    assert_eq!(output(3, &body), [1, 3, 5]);
}

#[test]
fn an_instruction_of_no_elements_ends_at_once() {
    let code = "task 8 main local activated {
                  mov null <- in q0 i32[r9]
                  mov [0 : i32 ; r9] <- i32 5 async u0 then activate 9 }
                task 9 next local { mov out q1 i32[1] <- [0 : i32 ; 1] }";
    assert_eq!(integers(&run(&single(0, 1, code)), "y"), [0]);
}

#[test]
fn scalars_follow_their_rules() {
    let body = "r1 = div -7, 2 mov out q1 i32[1] <- i32 r1
                r1 = rem -7, 2 mov out q1 i32[1] <- i32 r1
                r1 = div 7, 0 mov out q1 i32[1] <- i32 r1
                r1 = shl 1, 32 mov out q1 i32[1] <- i32 r1
                r1 = shr -8, 40 mov out q1 i32[1] <- i32 r1
                r1 = add 2147483647, 1 mov out q1 i32[1] <- i32 r1
                r1 = div -2147483648, -1 mov out q1 i32[1] <- i32 r1";
    let least = i64::from(i32::MIN);
    assert_eq!(output(7, body), [-3, -1, 0, 0, -1, least, least]);
}

#[test]
fn the_clock_counts_cycles() {
    // Task switch 2, then the first reading in cycle 2; a vector of 10 takes 6 + 10; the second reading is in 2 + 1 + 16.
    let body = "r1 = clock mov [0 : f32 ; 10] <- f32 0.0 r2 = clock
                mov out q1 i32[1] <- i32 r1 mov out q1 i32[1] <- i32 r2";
    assert_eq!(output(2, body), [2, 19]);
}

#[test]
fn faults_name_their_place() {
    // Not a sum, which the verifier would follow.
    let code = main("r1 = min 4093, 5000 r2 = load i32 [r1]");
    let error = fails(&single(0, 1, &code)).to_string();
    assert!(error.contains("PE (0, 0), task main, step 1 (load), cycle 3: load of 4 bytes at address 4093"), "{error}");
    let error = fails(&single(0, 1, &main("r1 = add 3, 0 mov [0 : f32 ; r1] <- [16 : f32 ; 2]"))).to_string();
    assert!(error.contains("operands of 3 and 2 elements"), "{error}");
    let marks = single(0, 1, &main("loop r1 in $#0 { mark #0 + r1 }"));
    let error =
        fails(&marks.replace("route c0", "param n = rows [2] operator a mov at 0,0 size 1x1 flops 0 bytes 0 route c0"))
            .to_string();
    assert!(error.contains("mark of operator 1, the program has 1"), "{error}");
}

#[test]
fn a_mark_in_a_loop_names_an_operator_of_each_turn() {
    let code = main(
        "loop r1 in 2 { r2 = mul r1, 2 mark #0 + r2 mov [0 : f32 ; 10] <- f32 0.0 mark #1 + r2 r3 = clock }
         mark #4 mov out q1 i32[1] <- i32 0",
    );
    let operators = "operator o mov at 0,0 size 1x1 flops 0 bytes 0 ".repeat(5);
    let run = run(&single(0, 1, &code).replace("route c0", &format!("{operators} route c0")));
    // A vector of 10 takes 6 + 10 cycles; the clock one, the end of a turn one, the product of the next turn one.
    let busy: Vec<u64> = run.operators.iter().map(|o| o.busy_cycles).collect();
    assert_eq!(busy[..4], [16, 3, 16, 2]);
}

#[test]
fn a_very_long_instruction_can_be_stopped() {
    let text = single(0, 1, &main("mov null <- [0 : i32 ; 65536:0, 65536:0, 65536:0] mov out q1 i32[1] <- i32 0"));
    let options = waferloom_simulator::Options { max_cycles: Some(5000), ..Default::default() };
    let error = waferloom_simulator::simulate(&common::program(&text), &std::collections::BTreeMap::new(), &options)
        .expect_err("long");
    assert!(matches!(error, SimulateError::CycleLimit { .. }), "{error}");
}

#[test]
fn what_a_pe_writes_shows_in_what_it_only_read_before() {
    // The right PE sends its constant, changes an element and sends it again; the left one takes its own from the first and the
    // second from its own, over which it writes the result.
    let text = "program two machine bench16 grid 2x1
route c0 at 1,0 { pos RAMP -> WEST } route c0 at 0,0 { pos EAST -> RAMP }
class left { in q0 = c0 buffer all at 0 bytes 32 scratch task 8 main local activated {
sub [16 : f32 ; 4] <- in q0 f32[4], [0 : f32 ; 4]
sub [0 : f32 ; 4] <- [0 : f32 ; 4], in q0 f32[4] } }
class right { out q1 = c0 buffer all at 0 bytes 32 scratch task 8 main local activated {
mov out q1 f32[4] <- [0 : f32 ; 4] mov [4 : f32 ; 1] <- f32 9.0 mov out q1 f32[4] <- [0 : f32 ; 4] } }
place left at 0,0 place right at 1,0
const v : f32[8] at 0 origin 0,0 on 2x1 x dim 0 by 4 = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]
result first : f32[4] at 16 origin 0,0 on 1x1
result second : f32[4] at 0 origin 0,0 on 1x1
result right : f32[4] at 0 origin 1,0 on 1x1";
    let run = run(text);
    assert_eq!(floats(&run, "first"), [4.0; 4]);
    assert_eq!(floats(&run, "second"), [-4.0, -7.0, -4.0, -4.0]);
    assert_eq!(floats(&run, "right"), [5.0, 9.0, 7.0, 8.0]);
}
