//! Strategies for arbitrary programs: every variant of everything, odd names, numbers at the ends of their ranges.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use waferloom_fabric::{
    Address, AllReduceClaim, Async, Buffer, BufferKind, Claim, ClaimBatch, ClaimKind, ClaimLine, ClaimOperand, Class,
    Color, ColorRef, ColorRoute, Compare, Completion, Constant, Control, Coord, Dim, Direction, Distribution, Dtype,
    Extent, Fifo, Filter, Instruction, Machine, MemDsd, Operand, Operator, Param, ParamValues, Payload, Placement,
    Port, PortKind, PortSet, Position, ProductClaim, Program, QueueBinding, Readback, Region, ScalarOp, Split,
    SwitchCommand, TakesClaim, Task, TaskKind, Value, VectorOp,
};

/// Identifiers, keywords, and strings with quotes, line ends and signs of all scripts.
fn name() -> BoxedStrategy<String> {
    let odd =
        ["", "in", "r1", "c0", "a b", "\"", "\\", "// no comment", "{", "}\n", "\u{0}", "Ünï", "\r\n\t", "#0", "nan"];
    prop_oneof![3 => "[a-c]", 1 => proptest::sample::select(odd.to_vec()).prop_map(String::from), 1 => any::<String>()]
        .boxed()
}

/// Small numbers, and any.
fn number() -> BoxedStrategy<i32> {
    prop_oneof![4 => -3..40i32, 1 => any::<i32>(), 1 => Just(i32::MIN), 1 => Just(i32::MAX)].boxed()
}

fn unsigned() -> BoxedStrategy<u32> {
    prop_oneof![4 => 0..100u32, 1 => any::<u32>()].boxed()
}

fn size() -> BoxedStrategy<u16> {
    prop_oneof![6 => 0..5u16, 1 => any::<u16>()].boxed()
}

fn id() -> BoxedStrategy<u8> {
    prop_oneof![6 => 0..10u8, 1 => any::<u8>()].boxed()
}

fn value() -> BoxedStrategy<Value> {
    prop_oneof![number().prop_map(Value::Imm), id().prop_map(Value::Reg), (0..4u32).prop_map(Value::Param)].boxed()
}

fn dtype() -> impl Strategy<Value = Dtype> + Clone {
    proptest::sample::select(Dtype::ALL.to_vec())
}

fn direction() -> impl Strategy<Value = Direction> + Clone {
    proptest::sample::select(Direction::ALL.to_vec())
}

fn coord() -> impl Strategy<Value = Coord> {
    (size(), size()).prop_map(|(x, y)| Coord { x, y })
}

fn region() -> impl Strategy<Value = Region> {
    (coord(), size(), size(), size(), size()).prop_map(|(at, width, height, step_x, step_y)| Region {
        x: at.x,
        y: at.y,
        width,
        height,
        step_x,
        step_y,
    })
}

fn memory() -> impl Strategy<Value = MemDsd> {
    let dim = (value(), value()).prop_map(|(len, stride)| Dim { len, stride });
    (value(), number(), dtype(), vec(dim, 0..6)).prop_map(|(base, offset, dtype, dims)| MemDsd {
        base,
        offset,
        dtype,
        dims,
    })
}

fn operand() -> BoxedStrategy<Operand> {
    prop_oneof![
        memory().prop_map(Operand::Mem),
        (id(), dtype(), value()).prop_map(|(queue, dtype, len)| Operand::FabIn { queue, dtype, len }),
        (id(), dtype(), value()).prop_map(|(queue, dtype, len)| Operand::FabOut { queue, dtype, len }),
        (id(), dtype(), value()).prop_map(|(fifo, dtype, len)| Operand::Fifo { fifo, dtype, len }),
        (value(), dtype()).prop_map(|(value, dtype)| Operand::Scalar { value, dtype }),
        // Any bits: infinities, NaNs of all kinds, subnormals.
        (any::<i32>(), dtype()).prop_map(|(bits, dtype)| Operand::Scalar { value: Value::Imm(bits), dtype }),
        Just(Operand::Null),
    ]
    .boxed()
}

fn completion() -> impl Strategy<Value = Completion> {
    prop_oneof![id().prop_map(Completion::Activate), id().prop_map(Completion::Unblock)]
}

fn control() -> impl Strategy<Value = Control> {
    use SwitchCommand::{Advance, Nop, Reset, Teardown};
    let command = proptest::sample::select(vec![Nop, Advance, Reset, Teardown]);
    (vec(command, 0..10), option::of(id()), value()).prop_map(|(commands, task, payload)| Control {
        commands,
        task,
        payload,
    })
}

fn vector() -> impl Strategy<Value = Instruction> {
    let op = proptest::sample::select(VectorOp::ALL.to_vec()).prop_map(|(op, _)| op);
    let run_async =
        option::of((id(), option::of(completion())).prop_map(|(microthread, then)| Async { microthread, then }));
    (op, operand(), vec(operand(), 0..4), run_async).prop_map(|(op, dst, srcs, run_async)| Instruction::Vector {
        op,
        dst,
        srcs,
        run_async,
    })
}

fn simple() -> BoxedStrategy<Instruction> {
    let op = proptest::sample::select(ScalarOp::ALL.to_vec()).prop_map(|(op, _)| op);
    prop_oneof![
        4 => vector(),
        1 => (op, id(), value(), value()).prop_map(|(op, dst, a, b)| Instruction::Scalar { op, dst, a, b }),
        1 => (id(), dtype(), value(), number())
            .prop_map(|(dst, dtype, base, offset)| Instruction::Load { dst, dtype, base, offset }),
        1 => (value(), dtype(), value(), number())
            .prop_map(|(src, dtype, base, offset)| Instruction::Store { src, dtype, base, offset }),
        1 => id().prop_map(|dst| Instruction::ReadClock { dst }),
        1 => prop_oneof![
            id().prop_map(Instruction::Activate),
            id().prop_map(Instruction::Block),
            id().prop_map(Instruction::Unblock),
            (unsigned(), value()).prop_map(|(operator, plus)| Instruction::Mark { operator, plus }),
        ],
        1 => (id(), control()).prop_map(|(queue, control)| Instruction::SendControl { queue, control }),
        1 => (id(), id()).prop_map(|(color, position)| Instruction::SetPosition { color, position }),
    ]
    .boxed()
}

fn address() -> impl Strategy<Value = Address> {
    (value(), number()).prop_map(|(base, offset)| Address { base, offset })
}

fn claim() -> impl Strategy<Value = Claim> {
    let op = proptest::sample::select(VectorOp::ALL.to_vec());
    let all_reduce = (region(), claim_line(), op, unsigned())
        .prop_map(|(region, line, (op, _), count)| AllReduceClaim { region, line, op, count });
    prop_oneof![
        product_claim().prop_map(Claim::Product),
        takes_claim().prop_map(Claim::Takes),
        all_reduce.prop_map(Claim::AllReduce)
    ]
}

fn claim_line() -> impl Strategy<Value = ClaimLine> {
    proptest::sample::select(vec![ClaimLine::Row, ClaimLine::Column, ClaimLine::Own])
}

fn takes_claim() -> impl Strategy<Value = TakesClaim> {
    (region(), claim_line(), dtype(), any::<(u16, u16, u8)>(), unsigned()).prop_map(
        |(region, line, dtype, (first, end, rank), words)| TakesClaim { region, line, dtype, first, end, words, rank },
    )
}

fn product_claim() -> impl Strategy<Value = ProductClaim> {
    let operand = || {
        (any::<bool>(), [unsigned(), unsigned(), unsigned(), unsigned()])
            .prop_map(|(split, [matrix, slot, line, step])| ClaimOperand { split, matrix, slot, line, step })
    };
    let batch = [unsigned(), unsigned(), unsigned()].prop_map(|[size, left, right]| ClaimBatch { size, left, right });
    let kind = proptest::sample::select(vec![ClaimKind::Product, ClaimKind::ColumnSums]);
    let sizes = [unsigned(), unsigned(), unsigned(), unsigned()];
    (kind, region(), dtype(), sizes, operand(), operand(), vec(batch, 0..3)).prop_map(
        |(kind, region, dtype, [rows, columns, inner, block], left, right, batch)| ProductClaim {
            kind,
            region,
            dtype,
            rows,
            columns,
            inner,
            block,
            left,
            right,
            batch,
        },
    )
}

fn body() -> BoxedStrategy<Vec<Instruction>> {
    let compare = proptest::sample::select(vec![Compare::Eq, Compare::Ne, Compare::Lt, Compare::Le]);
    let instruction = simple().prop_recursive(4, 24, 4, move |inner| {
        let body = || vec(inner.clone(), 0..4);
        prop_oneof![
            (id(), value(), body()).prop_map(|(counter, count, body)| Instruction::Loop { counter, count, body }),
            (unsigned(), [address(), address(), address()], body()).prop_map(|(claim, [left, right, result], body)| {
                Instruction::Claim { claim, left, right, result, body }
            }),
            (compare.clone(), value(), value(), body(), body())
                .prop_map(|(compare, a, b, then, otherwise)| Instruction::If { compare, a, b, then, otherwise }),
        ]
    });
    vec(instruction, 0..6).boxed()
}

fn task() -> impl Strategy<Value = Task> {
    let kind = prop_oneof![
        Just(TaskKind::Local),
        Just(TaskKind::Control),
        id().prop_map(|queue| TaskKind::Data { queue }),
        id().prop_map(|color| TaskKind::Teardown { color }),
    ];
    (id(), name(), kind, any::<bool>(), any::<bool>(), body())
        .prop_map(|(id, name, kind, blocked, activated, body)| Task { id, name, kind, blocked, activated, body })
}

fn class() -> impl Strategy<Value = Class> {
    use BufferKind::{Activation, Scratch, Table, Weight};
    let color = prop_oneof![id().prop_map(|c| ColorRef::Fixed(Color(c))), (0..4u32).prop_map(ColorRef::Param)];
    let binding = (id(), color).prop_map(|(queue, color)| QueueBinding { queue, color });
    let fifo = (unsigned(), unsigned()).prop_map(|(address, words)| Fifo { address, words });
    let kind = proptest::sample::select(vec![Weight, Activation, Scratch, Table]);
    let (owner, live) = (option::of(unsigned()), option::of((unsigned(), unsigned())));
    let buffer = (name(), unsigned(), unsigned(), kind, owner, live)
        .prop_map(|(name, address, bytes, kind, owner, live)| Buffer { name, address, bytes, kind, owner, live });
    (name(), vec(binding.clone(), 0..3), vec(binding, 0..3), vec(fifo, 0..3), vec(buffer, 0..4), vec(task(), 0..3))
        .prop_map(|(name, input_queues, output_queues, fifos, buffers, tasks)| Class {
            name,
            input_queues,
            output_queues,
            fifos,
            buffers,
            tasks,
        })
}

fn route() -> impl Strategy<Value = ColorRoute> {
    let set = || any::<u8>().prop_map(PortSet);
    let position = (set(), set()).prop_map(|(rx, tx)| Position { rx, tx });
    let filter = prop_oneof![
        (any::<u16>(), any::<u16>()).prop_map(|(low, high)| Filter::Range { low, high }),
        (unsigned(), unsigned(), unsigned()).prop_map(|(first, pass, period)| Filter::Count { first, pass, period }),
    ];
    (id(), region(), vec(position, 0..5), id(), any::<bool>(), option::of(filter)).prop_map(
        |(color, region, positions, start, ring, filter)| ColorRoute {
            color: Color(color),
            region,
            positions,
            start,
            ring,
            filter,
        },
    )
}

fn distribution() -> impl Strategy<Value = Distribution> {
    let split = || option::of((0..4u32, unsigned()).prop_map(|(dim, block)| Split { dim, block }));
    (size(), size(), vec(unsigned(), 0..4), split(), split()).prop_map(|(width, height, shape, x, y)| Distribution {
        grid: Extent { width, height },
        shape,
        x,
        y,
    })
}

fn constant() -> impl Strategy<Value = Constant> {
    let payload = prop_oneof![
        vec(any::<u8>(), 0..40).prop_map(Payload::Inline),
        vec(any::<u8>(), 250..300).prop_map(Payload::Inline),
        (name(), any::<u64>(), name()).prop_map(|(path, offset, sha256)| Payload::File { path, offset, sha256 }),
    ];
    (name(), dtype(), distribution(), coord(), unsigned(), payload).prop_map(
        |(name, dtype, distribution, origin, address, payload)| Constant {
            name,
            dtype,
            distribution,
            origin,
            address,
            payload,
        },
    )
}

fn readback() -> impl Strategy<Value = Readback> {
    (name(), dtype(), distribution(), coord(), unsigned()).prop_map(|(name, dtype, distribution, origin, address)| {
        Readback { name, dtype, distribution, origin, address }
    })
}

fn port() -> impl Strategy<Value = Port> {
    let kind = prop_oneof![Just(PortKind::Input), Just(PortKind::Output)];
    (name(), kind, dtype(), distribution(), direction(), coord(), id()).prop_map(
        |(name, kind, dtype, distribution, edge, at, color)| Port {
            name,
            kind,
            dtype,
            distribution,
            edge,
            at,
            color: Color(color),
        },
    )
}

fn param() -> impl Strategy<Value = Param> {
    let list = || {
        prop_oneof![
            vec(number(), 0..8),
            // Runs, which the text form writes in short.
            (number(), 0..9usize).prop_map(|(n, times)| vec![n; times]),
            (-5..5i32, 0..9i32).prop_map(|(first, count)| (first..first + count).collect()),
        ]
    };
    let values = prop_oneof![
        list().prop_map(ParamValues::ByColumn),
        list().prop_map(ParamValues::ByRow),
        list().prop_map(ParamValues::PerPe),
    ];
    (name(), values).prop_map(|(name, values)| Param { name, values })
}

fn machine() -> impl Strategy<Value = Machine> {
    let names: Vec<&str> = Machine::builtin_names().collect();
    let own = (name(), any::<u32>(), vec(any::<u16>(), 0..4), proptest::num::f64::NORMAL);
    (proptest::sample::select(names), option::weighted(0.3, own)).prop_map(|(builtin, own)| {
        let mut machine = Machine::builtin(builtin).expect("built in");
        if let Some((name, number, depths, clock_hz)) = own {
            machine.name = name;
            machine.sram_banks = number;
            machine.input_queue_depths = depths;
            machine.clock_hz = clock_hz;
        }
        machine
    })
}

fn operator() -> impl Strategy<Value = Operator> {
    (name(), name(), region(), any::<u64>(), any::<u64>()).prop_map(|(name, kind, region, flops, bytes)| Operator {
        name,
        kind,
        region,
        flops,
        bytes,
    })
}

/// Any program.
pub(crate) fn program() -> impl Strategy<Value = Program> {
    let placement = (region(), 0..4u32).prop_map(|(region, class)| Placement { region, class });
    let head = (name(), machine(), size(), size(), unsigned());
    let lists = (
        vec(param(), 0..4),
        vec(class(), 0..3),
        vec(placement, 0..3),
        vec(route(), 0..4),
        vec(constant(), 0..3),
        vec(port(), 0..3),
        vec(readback(), 0..3),
        (vec(operator(), 0..3), vec(claim(), 0..3)),
    );
    (head, lists).prop_map(
        |(
            (name, machine, width, height, items),
            (params, classes, placements, routes, constants, ports, readbacks, (operators, claims)),
        )| {
            Program {
                name,
                machine,
                grid: Extent { width, height },
                items,
                params,
                classes,
                placements,
                routes,
                constants,
                ports,
                readbacks,
                operators,
                claims,
            }
        },
    )
}
