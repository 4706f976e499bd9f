//! One vector a PE of a row, all of them for all PEs: each PE in turn is the root of a broadcast to both sides.
//!
//! Every PE hands its vector to its router at the start and receives meanwhile: the router holds it back until the switch
//! says that it is the PE's turn, so that a turn costs its words and the control wavelet. A datapath takes in `p - 1` vectors in
//! any case, one element a cycle; a ring, in which a PE stores what it receives and sends it on, needs two instructions for
//! that, each an element a cycle: twice the time. So there is no other algorithm to choose.
//!
//! The switches are those of [`crate::line`].

use super::allreduce::one_each;
use super::data::numbers;
use super::sketch::{Sketch, columns};
use super::{Instance, Kernel, KernelError, Parameter, Settings};
use crate::code::{Code, memory, words_in, words_out};
use crate::mesh::{self, Mesh};
use crate::{cost, line};
use std::collections::BTreeMap;
use waferloom_fabric::code::{Async, Instruction, Operand};
use waferloom_fabric::{BufferKind, ColorRef, Coord, Dtype, Extent, Machine, SwitchCommand, Value, VectorOp};

pub(super) const KERNEL: Kernel = Kernel {
    name: "allgather",
    summary: "The vectors of all PEs of a row, at every PE of it: broadcasts in turn, sent ahead and held back by the switches.",
    parameters: &[
        Parameter::integer("p", "16", (1, 65535), "PEs in the row"),
        Parameter::integer("elements", "16", (1, 1 << 20), "f32 elements of a PE's vector"),
    ],
    build,
};

fn build(settings: &Settings, machine: &Machine) -> Result<Instance, KernelError> {
    let (pes, n) = (settings.pes("p"), settings.integer("elements"));
    let grid = Extent { width: pes, height: 1 };
    let mut sketch = Sketch::new("allgather", machine, grid, ["p", "p"])?;
    let all = u32::from(pes).saturating_mul(n).min(1 << 28);
    let address = sketch.buffer("vectors", all * 4, BufferKind::Activation);
    classes(&mut sketch, grid, n, address);
    sketch.check(u64::from(pes) * u64::from(all), "elements")?;
    // A PE's own vector lies where it belongs; the rest is to be filled.
    let values = numbers(all as usize, 5);
    let (width, block) = (all as usize, n as usize);
    let mut before = vec![0.0; usize::from(pes) * width];
    for x in 0..usize::from(pes) {
        let own = x * block..(x + 1) * block;
        before[x * width..][own.clone()].copy_from_slice(&values[own]);
    }
    sketch.constant("vectors", Dtype::F32, one_each(grid, all), address, &before);
    sketch.result("gathered", Dtype::F32, one_each(grid, all), Coord { x: 0, y: 0 }, address);
    let expected = values.iter().map(|&v| f64::from(v)).cycle().take(before.len()).collect();
    Ok(Instance {
        program: sketch.finish("elements")?,
        inputs: BTreeMap::new(),
        expected: BTreeMap::from([("gathered".into(), expected)]),
        algorithm: "broadcasts in turn".into(),
        estimate_cycles: estimate(machine, u64::from(pes), u64::from(n)),
        flops: 0,
    })
}

fn classes(sketch: &mut Sketch, grid: Extent, n: u32, address: u32) {
    let pes = u32::from(grid.width);
    if pes == 1 {
        return sketch.class("alone", &[columns(0, 1, 1)], &[], &[], Code::new());
    }
    sketch.program.routes = Mesh::new(grid).routes().into_iter().filter(|r| r.color == mesh::ROW).collect();
    let by_column = |sketch: &mut Sketch, name: &str, f: &dyn Fn(u32) -> u32| {
        Value::Param(sketch.by_column(name, |x| f(u32::from(x)) as i32))
    };
    let own = by_column(sketch, "own", &|x| address + x * n * 4);
    let before = by_column(sketch, "before", &|x| x * n);
    let behind = by_column(sketch, "behind", &|x| (pes - 1 - x) * n);
    let behind_at = by_column(sketch, "behind_at", &|x| address + (x + 1) * n * 4);
    let words = |base: Value, len: Value| memory(base, 0, Dtype::I32, &[(len, 1.into())]);
    let color = ColorRef::Fixed(mesh::ROW);
    let (queue_in, queue_out) = (mesh::input::ROW, mesh::output::ROW);
    for (name, region, last) in [("rest", columns(0, pes - 1, 1), false), ("last", columns(pes - 1, pes, 1), true)] {
        let mut code = Code::new();
        code.push(Instruction::Vector {
            op: VectorOp::Mov,
            dst: words_out(queue_out, n),
            srcs: vec![words(own, n.into())],
            run_async: Some(Async { microthread: 0, then: None }),
        });
        let receive = |code: &mut Code, to: Operand, len: Value| code.mov(to, words_in(queue_in, len));
        receive(&mut code, words(address.into(), before), before);
        if !last {
            use SwitchCommand::{Advance, Nop};
            // Waits for the end of the send, and so for the PE's turn, in which nothing comes in.
            code.send_control(queue_out, line::control(&[Advance, Advance, Nop]));
            receive(&mut code, words(behind_at, behind), behind);
        }
        sketch.class(name, &[region], &[(queue_in, color)], &[(queue_out, color)], code);
    }
}

/// A turn is the root's words and its control wavelet, which goes over the link to the next root. At the least, two turns
/// are the time in which a root's last word comes down the next PE's ramp and that PE's control wavelet goes up again.
fn estimate(machine: &Machine, pes: u64, n: u64) -> u64 {
    if pes == 1 {
        return 0;
    }
    let (hop, ramp) = (u64::from(machine.hop_cycles), u64::from(machine.ramp_cycles));
    let turn = n.max(ramp) + 1 + hop;
    cost::start(machine) + u64::from(machine.scalar_cycles) + (pes - 1) * turn + n + 1 + cost::flight(machine, pes - 1)
}
