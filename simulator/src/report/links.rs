//! Load of the links.

use super::totals::Totals;
use super::{HostLink, LinkDirection, Links};
use waferloom_fabric::{Direction, Extent, PortKind, Program};

const DIRECTIONS: [LinkDirection; 4] =
    [LinkDirection::West, LinkDirection::East, LinkDirection::North, LinkDirection::South];

/// Loads of the links between routers. What leaves the fabric is no part of it: [`host_link`] counts that.
pub(super) fn links(grid: Extent, totals: &Totals) -> Links {
    let cycles = totals.cycles.max(1) as f64;
    let (mut peak, mut peak_at, mut hops, mut count) = (0, None, 0u64, 0u64);
    let (mut ramp_peak, mut ramp_wavelets) = (0, 0u64);
    for (index, sent) in totals.links.iter().enumerate() {
        let at = grid.coord(index);
        for (direction, &wavelets) in Direction::ALL[..4].iter().zip(sent) {
            if direction.neighbour(at, grid).is_none() {
                continue;
            }
            count += 1;
            hops += wavelets;
            if wavelets > peak {
                peak = wavelets;
                peak_at = Some((at, DIRECTIONS[*direction as usize]));
            }
        }
        ramp_peak = ramp_peak.max(sent[Direction::Ramp as usize]);
        ramp_wavelets += sent[Direction::Ramp as usize];
    }
    Links {
        peak_load: peak as f64 / cycles,
        mean_load: hops as f64 / count.max(1) as f64 / cycles,
        peak_pe: peak_at.map(|(at, _)| [at.x, at.y]),
        peak_direction: peak_at.map(|(_, direction)| direction),
        wavelet_hops: hops,
        ramp_wavelets,
        peak_ramp_load: ramp_peak as f64 / cycles,
    }
}

/// What the ports carried. Every port carries the same in each run.
pub(super) fn host_link(program: &Program, totals: &Totals) -> HostLink {
    let carried = |kind| {
        let ports = program.ports.iter().filter(|p| p.kind == kind);
        totals.runs
            * u64::from(program.items)
            * ports.map(|p| u64::from(p.streams()) * p.stream_wavelets() as u64).sum::<u64>()
    };
    let (sent, received) = (carried(PortKind::Input), carried(PortKind::Output));
    let most = program.machine.host_wavelets_per_cycle * totals.cycles.max(1) as f64;
    HostLink { sent_wavelets: sent, received_wavelets: received, load: sent.max(received) as f64 / most }
}
