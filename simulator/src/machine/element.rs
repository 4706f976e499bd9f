//! One element of a vector instruction: what it reads and writes, what it costs.

use super::numerics::Element;
use super::operand::Port;
use super::pe::{Activity, Pe, VectorWork};
use waferloom_fabric::Machine;

/// Why an element cannot run in this cycle.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wait {
    pub(crate) activity: Activity,
    /// When it may be able to, if that is known.
    pub(crate) until: u64,
}

/// An access outside of memory, or an operand that does not exist.
#[derive(Clone, Debug)]
pub(crate) struct Fault(pub(crate) String);

/// Whether every operand is in memory (or a number).
pub(crate) fn in_memory(work: &VectorWork) -> bool {
    work.srcs[..work.arity]
        .iter()
        .chain([&work.dst])
        .all(|p| matches!(p, Port::Memory(_) | Port::Scalar(_) | Port::Null))
}

/// The sources of the next element, and the cycles that reading them takes beyond its own. `take` gives the next wavelet of a
/// source (its place among the sources, its queue).
pub(crate) fn read_sources(
    pe: &mut Pe,
    work: &mut VectorWork,
    machine: &Machine,
    mut take: impl FnMut(&mut Pe, usize, u8) -> u32,
) -> Result<([Element; 3], u32), Fault> {
    let mut values = [Element::Int(0); 3];
    let mut reads = [0i64; 3];
    let mut read_count = 0;
    for (i, (value, port)) in values.iter_mut().zip(&mut work.srcs).take(work.arity).enumerate() {
        *value = match port {
            Port::Memory(cursor) => {
                let bits = read(pe, cursor.address(), cursor.dtype.bytes())?;
                if !cursor.held() {
                    reads[read_count] = cursor.address();
                    read_count += 1;
                }
                let value = Element::from_bits(bits, cursor.dtype);
                cursor.advance();
                value
            }
            Port::FabIn { queue, dtype } => Element::from_bits(take(pe, i, *queue), *dtype),
            Port::Fifo { fifo, dtype } => Element::from_bits(pop_fifo(pe, *fifo)?, *dtype),
            Port::Scalar(element) => *element,
            Port::FabOut { .. } | Port::Null => return Err(Fault("a source that can only be a destination".into())),
        };
    }
    Ok((values, memory_stall(&reads[..read_count], machine)))
}

/// Stores an element's result where that is not the fabric.
pub(crate) fn write_result(pe: &mut Pe, work: &mut VectorWork, result: Element) -> Result<(), Fault> {
    match &mut work.dst {
        Port::Memory(cursor) => {
            let (address, bytes) = (cursor.address(), cursor.dtype.bytes());
            pe.write(address, bytes, result.to_bits(cursor.dtype))
                .ok_or_else(|| outside(pe, address, bytes, "write"))?;
            cursor.advance();
        }
        Port::Fifo { fifo, dtype } => push_fifo(pe, *fifo, result.to_bits(*dtype))?,
        Port::FabOut { .. } | Port::Null => {}
        Port::FabIn { .. } | Port::Scalar(_) => return Err(Fault("a destination that can only be a source".into())),
    }
    Ok(())
}

/// Cycles beyond the first that reads take: more operands than ports, and two reads of the same bank.
///
/// Two reads conflict when their bank numbers are equal modulo `bank_conflict_modulo`; the same 64-bit word is read once.
pub(crate) fn memory_stall(reads: &[i64], machine: &Machine) -> u32 {
    let count = reads.len() as u32;
    let ports = count.div_ceil(machine.sram_reads_per_cycle).saturating_sub(1);
    let bank = |address: i64| (address / 8) as u32 % machine.sram_banks % machine.bank_conflict_modulo;
    let conflict =
        reads.iter().enumerate().any(|(i, &a)| reads[..i].iter().any(|&b| a / 8 != b / 8 && bank(a) == bank(b)));
    // A third operand has a cycle of its own anyway, in which the conflict is out of the way.
    ports.max(u32::from(conflict))
}

pub(crate) fn read(pe: &Pe, address: i64, bytes: u32) -> Result<u32, Fault> {
    pe.read(address, bytes).ok_or_else(|| outside(pe, address, bytes, "read"))
}

/// The message for an access that memory refuses.
pub(crate) fn outside(pe: &Pe, address: i64, bytes: u32, access: &str) -> Fault {
    if address >= 0 && address as usize + bytes as usize <= pe.memory.len() {
        return Fault(format!("{access} of {bytes} bytes at address {address}, which is not a multiple of {bytes}"));
    }
    Fault(format!("{access} of {bytes} bytes at address {address}, outside of the {} bytes of data", pe.memory.len()))
}

fn pop_fifo(pe: &mut Pe, fifo: u8) -> Result<u32, Fault> {
    let state = pe.fifos.get(fifo as usize).copied().ok_or_else(|| Fault(format!("no FIFO {fifo}")))?;
    let bits = read(pe, i64::from(state.address) + i64::from(state.head) * 4, 4)?;
    let slot = &mut pe.fifos[fifo as usize];
    slot.head = (state.head + 1) % state.words.max(1);
    slot.filled -= 1;
    Ok(bits)
}

fn push_fifo(pe: &mut Pe, fifo: u8, bits: u32) -> Result<(), Fault> {
    let state = pe.fifos.get(fifo as usize).copied().ok_or_else(|| Fault(format!("no FIFO {fifo}")))?;
    let slot = (u64::from(state.head) + u64::from(state.filled)) % u64::from(state.words.max(1));
    let address = i64::from(state.address) + slot as i64 * 4;
    pe.write(address, 4, bits).ok_or_else(|| outside(pe, address, 4, "write"))?;
    pe.fifos[fifo as usize].filled += 1;
    Ok(())
}
