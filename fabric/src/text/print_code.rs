//! Tasks and instructions as text.

use super::number::element_text;
use super::print::{Printer, quoted};
use crate::code::{
    Async, Compare, Completion, Control, Instruction, MemDsd, Operand, ScalarOp, SwitchCommand, Task, TaskKind, Value,
    VectorOp,
};

/// Prints a task of a class.
pub(super) fn task(printer: &mut Printer, task: &Task) {
    let kind = match task.kind {
        TaskKind::Data { queue } => format!("data q{queue}"),
        TaskKind::Local => "local".into(),
        TaskKind::Control => "control".into(),
        TaskKind::Teardown { color } => format!("teardown c{color}"),
    };
    let blocked = if task.blocked { " blocked" } else { "" };
    let activated = if task.activated { " activated" } else { "" };
    printer.line(format_args!("  task {} {} {kind}{blocked}{activated} {{", task.id, quoted(&task.name)));
    body(printer, &task.body, 4);
    printer.line("  }");
}

fn body(printer: &mut Printer, instructions: &[Instruction], indent: usize) {
    for instruction in instructions {
        let line = match instruction {
            Instruction::Loop { counter, count, body: inner } => {
                let count = value(printer, *count);
                printer.line(format_args!("{:indent$}loop r{counter} in {count} {{", ""));
                body(printer, inner, indent + 2);
                "}".into()
            }
            Instruction::If { compare, a, b, then, otherwise } => {
                let (a, b) = (value(printer, *a), value(printer, *b));
                printer.line(format_args!("{:indent$}if {a} {} {b} {{", "", compare_name(*compare)));
                body(printer, then, indent + 2);
                if !otherwise.is_empty() {
                    printer.line(format_args!("{:indent$}}} else {{", ""));
                    body(printer, otherwise, indent + 2);
                }
                "}".into()
            }
            Instruction::Claim { claim, left, right, result, body: inner } => {
                let [left, right, result] = [left, right, result].map(|at| address(printer, at.base, at.offset));
                printer.line(format_args!("{:indent$}claim #{claim} [{left}], [{right}] -> [{result}] {{", ""));
                body(printer, inner, indent + 2);
                "}".into()
            }
            simple => line_of(printer, simple),
        };
        printer.line(format_args!("{:indent$}{line}", ""));
    }
}

/// An instruction without a body; those with one are [`body`]'s.
fn line_of(printer: &Printer, instruction: &Instruction) -> String {
    match instruction {
        Instruction::Vector { op, dst, srcs, run_async } => {
            let srcs: Vec<String> = srcs.iter().map(|src| operand(printer, src)).collect();
            let dst = operand(printer, dst);
            let end = run_async.map(asynchronous).unwrap_or_default();
            let separator = if srcs.is_empty() { "" } else { " " };
            format!("{} {dst} <-{separator}{}{end}", vector_name(*op), srcs.join(", "))
        }
        Instruction::Scalar { op, dst, a, b } => {
            format!("r{dst} = {} {}, {}", scalar_name(*op), value(printer, *a), value(printer, *b))
        }
        Instruction::Load { dst, dtype, base, offset } => {
            format!("r{dst} = load {} [{}]", dtype.name(), address(printer, *base, *offset))
        }
        Instruction::Store { src, dtype, base, offset } => {
            format!("store {} -> {} [{}]", value(printer, *src), dtype.name(), address(printer, *base, *offset))
        }
        Instruction::ReadClock { dst } => format!("r{dst} = clock"),
        Instruction::Activate(task) => format!("activate {task}"),
        Instruction::Block(task) => format!("block {task}"),
        Instruction::Unblock(task) => format!("unblock {task}"),
        Instruction::SendControl { queue, control } => format!("control q{queue} {}", control_text(printer, control)),
        Instruction::SetPosition { color, position } => format!("position c{color} = {position}"),
        Instruction::Mark { operator, plus: Value::Imm(0) } => format!("mark {}", printer.operators.name(*operator)),
        Instruction::Mark { operator, plus } => {
            format!("mark {} + {}", printer.operators.name(*operator), value(printer, *plus))
        }
        Instruction::Loop { .. } | Instruction::If { .. } | Instruction::Claim { .. } => String::new(),
    }
}

fn asynchronous(run: Async) -> String {
    let then = match run.then {
        Some(Completion::Activate(task)) => format!(" then activate {task}"),
        Some(Completion::Unblock(task)) => format!(" then unblock {task}"),
        None => String::new(),
    };
    format!(" async u{}{then}", run.microthread)
}

fn control_text(printer: &Printer, control: &Control) -> String {
    let commands: Vec<&str> = control.commands.iter().map(|&c| command_name(c)).collect();
    let task = control.task.map(|task| format!(" task {task}")).unwrap_or_default();
    let payload = if control.payload == Value::Imm(0) {
        String::new()
    } else {
        format!(" payload {}", value(printer, control.payload))
    };
    format!("[{}]{task}{payload}", commands.join(", "))
}

fn value(printer: &Printer, value: Value) -> String {
    match value {
        Value::Imm(n) => n.to_string(),
        Value::Reg(register) => format!("r{register}"),
        Value::Param(param) => format!("${}", printer.params.name(param)),
    }
}

/// An address without its brackets. A fixed one inside a buffer names the buffer.
fn address(printer: &Printer, base: Value, offset: i32) -> String {
    let named = match base {
        Value::Imm(base) => (printer.buffers.iter())
            .find(|(address, bytes, _)| {
                let within = i64::from(base) + i64::from(offset) - i64::from(*address);
                i64::from(*address) == i64::from(base) && (0..i64::from(*bytes)).contains(&within)
            })
            .map(|(_, _, name)| format!("@{name}")),
        _ => None,
    };
    let base = named.unwrap_or_else(|| value(printer, base));
    match offset {
        0 => base,
        n if n < 0 => format!("{base} - {}", n.unsigned_abs()),
        n => format!("{base} + {n}"),
    }
}

fn operand(printer: &Printer, operand: &Operand) -> String {
    match operand {
        Operand::Mem(dsd) => memory(printer, dsd),
        Operand::FabIn { queue, dtype, len } => format!("in q{queue} {}[{}]", dtype.name(), value(printer, *len)),
        Operand::FabOut { queue, dtype, len } => format!("out q{queue} {}[{}]", dtype.name(), value(printer, *len)),
        Operand::Fifo { fifo, dtype, len } => format!("fifo f{fifo} {}[{}]", dtype.name(), value(printer, *len)),
        Operand::Scalar { value: Value::Imm(n), dtype } => {
            format!("{} {}", dtype.name(), element_text(*n as u32, *dtype))
        }
        Operand::Scalar { value: v, dtype } => format!("{} {}", dtype.name(), value(printer, *v)),
        Operand::Null => "null".into(),
    }
}

fn memory(printer: &Printer, dsd: &MemDsd) -> String {
    let dims: Vec<String> = (dsd.dims.iter())
        .map(|dim| match dim.stride {
            Value::Imm(1) => value(printer, dim.len),
            stride => format!("{}:{}", value(printer, dim.len), value(printer, stride)),
        })
        .collect();
    let address = address(printer, dsd.base, dsd.offset);
    let separator = if dims.is_empty() { "" } else { " ; " };
    format!("[{address} : {}{separator}{}]", dsd.dtype.name(), dims.join(", "))
}

pub(super) fn vector_name(op: VectorOp) -> &'static str {
    VectorOp::ALL.iter().find(|(known, _)| *known == op).map_or("", |(_, name)| name)
}

fn scalar_name(op: ScalarOp) -> &'static str {
    ScalarOp::ALL.iter().find(|(known, _)| *known == op).map_or("", |(_, name)| name)
}

fn compare_name(compare: Compare) -> &'static str {
    match compare {
        Compare::Eq => "==",
        Compare::Ne => "!=",
        Compare::Lt => "<",
        Compare::Le => "<=",
    }
}

fn command_name(command: SwitchCommand) -> &'static str {
    match command {
        SwitchCommand::Nop => "nop",
        SwitchCommand::Advance => "advance",
        SwitchCommand::Reset => "reset",
        SwitchCommand::Teardown => "teardown",
    }
}
